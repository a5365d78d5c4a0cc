"""The names that the package gives at its top."""

import theory


def test_public_names_are_those_of_the_modules():
    modules = {
        name: getattr(theory, name).__module__ for name in theory.__all__ if name != "POLYTOPES"
    }
    assert all(module.startswith("theory.") for module in modules.values())
    assert theory.POLYTOPES["digon"].dimensionality == 1 / 2
    pair = theory.POLYTOPES["digon"].vertices
    assert theory.tegum_factors(pair) == [theory.Factor((0, 1), 1, "digon")]
