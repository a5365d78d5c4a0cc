"""Section 4: all figures on ideal Results, and the list of experiments."""

from types import SimpleNamespace

from drawing import drawn
from test_collapsing_pairs import ideal as ideal_collapse
from test_correlated_sets import ideal as ideal_sets
from test_pairs_in_the_plane import ideal as ideal_pairs
from test_perturbed_pentagon import ideal as ideal_perturbed
from test_predicted_polytopes import ideal as ideal_prediction
from test_started_as_polytopes import ideal as ideal_starts
from test_uniform_superposition import DIGONS, SWEEP, product, searches, sweep

import Section4main as section4
from experiments.section4 import dense_minima


def test_figures():
    """The map and the study from the sweeps of the searches, which are as good as others."""
    uniform = sweep(SWEEP)
    results = SimpleNamespace(
        uniform=uniform,
        long=uniform,
        searches=searches(),
        predicted=ideal_prediction(),
        started=ideal_starts(),
        perturbed=ideal_perturbed(),
        pairs=tuple(ideal_pairs(k) for k in range(3)),
        sets=ideal_sets(),
        collapse=ideal_collapse(),
    )
    results.study = results.searches[:2]
    few = sweep([W[:, :12] for W in (product(*["dedicated dimension"] * 6), DIGONS)])
    results.map = few, sweep([product("square antiprism"), DIGONS])
    results.dense = dense_minima.run(dense_minima.QUICK)
    figures = section4.figures(results)
    assert sorted(figures) == [
        "section4-collapse",
        "section4-dense",
        "section4-grey",
        "section4-long",
        "section4-map",
        "section4-pairs",
        "section4-perturbed",
        "section4-predicted",
        "section4-sets",
        "section4-study",
        "section4-table",
        "section4-uniform",
    ]
    for figure in figures.values():
        drawn(lambda figure=figure: figure)


def test_every_experiment_has_settings_of_its_own_kind():
    for name, (module, settings, quick, _) in section4.EXPERIMENTS.items():
        assert isinstance(settings, tuple) == isinstance(quick, tuple), name
        of_kind = settings if isinstance(settings, tuple) else (settings,)
        small = quick if isinstance(quick, tuple) else (quick,)
        assert all(isinstance(each, module.Settings) for each in (*of_kind, *small))
    for name in ("searches", "pairs"):  # one for one
        _, settings, quick, _ = section4.EXPERIMENTS[name]
        assert len(settings) == len(quick)
