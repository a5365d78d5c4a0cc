"""Features of unequal density: the rule against oracles, a short run, the figure and the claim."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from drawing import drawn

from experiments.variations import unequal_density
from experiments.variations.pair_arrangements import (
    arrangement_losses,
    arrangement_weights,
    arrangements,
    by_product,
    pattern,
)
from experiments.variations.rare_partner import onset, unit_onset
from experiments.variations.unequal_density import (
    QUICK,
    Models,
    Result,
    Settings,
    by_the_rule,
    densest_left_out,
    densest_with_rarest,
    figure,
    fresh_found,
    mixed_pairs,
    product_agrees,
    random_features,
    run,
    two_classes,
    zipf,
)
from experiments.variations.unequal_density_claim import claim
from features import FeatureDistribution
from losses import expected_loss
from models import ReLUOutputModel
from sweeps.claims import checked, seen_text

FULL = Settings()


@pytest.fixture(scope="module")
def quick():
    return run(QUICK, progress=False)


# The rule


def test_a_pair_of_unit_norms_by_samples():
    """The cost (1 + r) s_1 s_2 / 6 is the mean error of rows."""
    inputs = FeatureDistribution(torch.tensor([[0.8, 0.3]]), torch.tensor([[1.0, 0.4]]))
    model = ReLUOutputModel.from_weights(torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 2))
    x = inputs.sample(2**18, torch.Generator().manual_seed(0))
    sampled = model.loss(x, inputs.importance).item()
    pair = arrangements(2, 1)[arrangements(2, 1).all(dim=(1, 2))]
    (exact,) = arrangement_losses(inputs.density, inputs.importance, pair).flatten().tolist()
    assert exact == pytest.approx(1.4 * 0.8 * 0.3 / 6)
    assert sampled == pytest.approx(exact, rel=0.02)


def test_arrangement_losses_are_exact():
    """Each arrangement's loss is that of its weights, with biases at the mean or zero."""
    table = arrangements(4, 2)
    u, v = torch.rand(2, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inputs = FeatureDistribution((0.1 + 0.9 * u).expand(len(table), 4), 0.2 + v)
    W = torch.stack([arrangement_weights(each, 2) for each in table])
    b = torch.where(table.diagonal(dim1=1, dim2=2), 0, inputs.density / 2)
    given = arrangement_losses(inputs.density[:1], inputs.importance[:1], table)[0]
    torch.testing.assert_close(given, expected_loss(W, b, inputs))
    assert (pattern(W) == table).all()


def test_the_lowest_arrangement_by_another_count():
    """All ways to put five features into two dimensions of at most two places, one by one."""
    u, v = torch.rand(2, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    density, importance = 0.05 + 0.9 * u, 0.2 + v
    s, importances = density[0].tolist(), importance[0].tolist()

    def cost(places):
        total = 0.0
        for dimension in range(3):
            members = [i for i, place in enumerate(places) if place == dimension]
            if dimension == 0:
                total += sum(importances[i] * (s[i] / 3 - s[i] ** 2 / 4) for i in members)
            elif len(members) == 2:
                i, j = members
                total += (importances[i] + importances[j]) * s[i] * s[j] / 6
            elif len(members) > 2:
                return float("inf")
        return total

    lowest = min(cost(places) for places in product(range(3), repeat=5))
    found = arrangement_losses(density, importance, arrangements(5, 2)).min().item()
    assert found == pytest.approx(lowest)


def test_number_of_arrangements():
    """Two dimensions of four features hold two, three or four of them: 6, 12 or 3 ways."""
    stored = arrangements(4, 2).diagonal(dim1=1, dim2=2).sum(dim=1)
    assert [int((stored == count).sum()) for count in (2, 3, 4)] == [6, 12, 3]
    assert len(arrangements(8, 4)) == 70 + 560 + 1260 + 840 + 105


def test_by_product():
    density = torch.tensor([[0.5, 0.1, 0.2]])
    importance = torch.tensor([[1.0, 9.0, 1.0]])
    named = by_product(density, importance, torch.tensor([2]))
    assert named.tolist() == [[True, True, False]]


def test_onset_of_a_rare_feature_by_quadrature():
    """In the rare limit the loss over the norm w is an integral over both features' values."""
    partner = torch.tensor([0.3, 0.8], dtype=torch.float64)
    found = onset(partner, torch.tensor([100.0], dtype=torch.float64), 1.0, 80)[:, 0]
    x = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    dense, rare = x[:, None], x
    w = torch.linspace(0.3, 1.4, 56, dtype=torch.float64)[:, None, None]
    harm = (dense - (dense - w * rare).relu()).square().mean(dim=(1, 2))
    beside = (rare - w * (w * rare - dense).relu()).square().mean(dim=(1, 2))
    idle = (1 - w[:, 0, 0].square()).square() / 3
    needed = []
    for s in partner.tolist():
        gain = 1 / 3 - (1 - s) * idle - s * beside
        needed.append((s * harm / gain).where(gain > 0, torch.inf).min())
    torch.testing.assert_close(found, torch.stack(needed), rtol=0.02, atol=0)
    assert ((unit_onset(partner) / torch.stack(needed) - 1) >= -1e-4).all()


# Measures


def weights(*groups, hidden, features):
    """Return W of one model from its groups of features."""
    W = torch.zeros(hidden, features, dtype=torch.float64)
    for dimension, group in enumerate(groups):
        for sign, feature in zip((1, -1), group):
            W[dimension, feature] = sign
    return W


def test_who_is_paired_with_whom():
    W = torch.stack(
        [
            weights((0, 2), (1, 3), hidden=2, features=4),
            weights((0, 3), (1, 2), hidden=2, features=4),
            weights((0, 1), (2, 3), hidden=2, features=4),
            weights((1,), (2, 3), hidden=2, features=4),
        ]
    )
    assert mixed_pairs(W).tolist() == [True, True, False, False]
    assert densest_with_rarest(W).tolist() == [False, True, False, True]
    assert densest_left_out(W).tolist() == [False, False, False, True]


def test_rules_by_hand():
    """Two dense features each take a rare one, in either order, and never each other."""
    inputs = FeatureDistribution(torch.tensor([[0.5, 0.5, 0.05, 0.05]] * 3))
    W = torch.stack(
        [
            weights((0, 2), (1, 3), hidden=2, features=4),
            weights((0, 3), (1, 2), hidden=2, features=4),
            weights((0, 1), (2, 3), hidden=2, features=4),
        ]
    )
    agreement = by_the_rule(models_of(inputs, W))
    assert agreement.pairs.tolist() == [True, True, False]
    assert agreement.stored.tolist() == [True, True, True]
    three = weights((0,), (2, 3), hidden=2, features=4)[None].expand(3, 2, 4)
    assert not product_agrees(models_of(inputs, three)).any()


# The run


def test_run(quick):
    """Losses are those of the weights, and no random start is better than the best model."""
    for models in (quick.classes, quick.zipf, quick.drawn):
        inputs = FeatureDistribution(models.density, models.importance)
        torch.testing.assert_close(models.loss, expected_loss(models.W, models.b, inputs))
        assert (models.loss[:, None] <= models.fresh_loss).all()
        assert fresh_found(models).shape == models.fresh_loss.shape
    assert mixed_pairs(quick.classes.W)[1:].all()


def test_a_run_is_that_of_its_seed(quick):
    small = replace(QUICK, steps=5, onset_steps=1, drawn=2)
    one, same, other = (run(small, seed=seed, progress=False) for seed in (3, 3, 4))
    assert torch.equal(one.drawn.W, same.drawn.W)
    assert torch.equal(one.classes.W, same.classes.W)
    assert not torch.equal(one.drawn.density, other.drawn.density)
    assert not torch.equal(one.classes.fresh_loss, other.classes.fresh_loss)


@pytest.mark.parametrize(
    "change",
    [
        {"features": 7},
        {"features": 12},
        {"hidden": 9},
        {"ratios": (0.5, 2)},
        {"dense": (1.5,)},
        {"highest": (0,)},
        {"exponents": (-1,)},
        {"restarts": 0},
    ],
    ids=lambda change: next(iter(change)) + str(next(iter(change.values()))),
)
def test_settings_refuse(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Settings(**change)


def test_figure_and_claim_of_a_short_run(quick):
    shown = drawn(figure, quick)
    assert len(shown.axes) == 3
    assert seen_text([checked(claim(quick))])
    assert "of how often rules name the stored features" in shown.get_label()


# The claim


def models_of(inputs, W, excess=2.0):
    loss = torch.ones(len(W), dtype=torch.float64)
    b = torch.zeros(W.shape[0], W.shape[2])
    return Models(inputs.density, inputs.importance, W, b, loss, excess * loss[:, None], W)


def ideal_models(inputs, hidden):
    table = arrangements(inputs.features, hidden)
    best = arrangement_losses(inputs.density, inputs.importance, table).argmin(dim=1)
    return models_of(
        inputs, torch.stack([arrangement_weights(table[k], hidden) for k in best.tolist()])
    )


def ideal():
    """A result of the full settings' shapes that has every effect."""
    partner = torch.tensor(FULL.partners, dtype=torch.float64)
    ratio = torch.tensor(FULL.ratios, dtype=torch.float64)
    needed = unit_onset(partner)[:, None] * (1 + 0.5 / ratio)
    mixed = weights(*((i, i + 4) for i in range(4)), hidden=4, features=8)
    classes = two_classes(FULL)
    return Result(
        models_of(classes, mixed.expand(classes.instances, 4, 8)),
        ideal_models(zipf(FULL), 4),
        ideal_models(random_features(FULL, 0), 3),
        partner,
        ratio,
        needed,
        2 * needed,
    )


def holds(result):
    return [finding.holds for finding in checked(claim(result)).findings]


def test_the_claim_can_be_met():
    result = ideal()
    assert holds(result) == [True] * 6
    assert "the densest feature of all is left out" in seen_text([claim(result)])


def within_classes(result):
    W = weights((0, 1), (2, 3), (4, 5), (6, 7), hidden=4, features=8)
    return result._replace(classes=result.classes._replace(W=W.expand_as(result.classes.W)))


def neighbours_paired(result):
    W = weights((0, 1), (2, 3), (4, 5), (6, 7), hidden=4, features=8)
    return result._replace(zipf=result.zipf._replace(W=W.expand_as(result.zipf.W)))


def by_product_alone(result):
    """Models that store the features of the largest density times importance, two by two."""
    drawn = result.drawn
    order = (drawn.density * drawn.importance).argsort(dim=1, descending=True)[:, :6].tolist()
    W = torch.stack([weights(o[:2], o[2:4], o[4:], hidden=3, features=8) for o in order])
    return result._replace(drawn=drawn._replace(W=W))


def all_found(result):
    return result._replace(
        zipf=result.zipf._replace(fresh_loss=result.zipf.loss[:, None]),
        drawn=result.drawn._replace(fresh_loss=result.drawn.loss[:, None]),
    )


FAILURES = {  # finding that fails -> results without its effect
    0: lambda result: result._replace(
        onset=result.onset[:, :1].expand_as(result.onset), small_onset=9 * result.onset
    ),
    1: within_classes,
    2: neighbours_paired,
    3: by_product_alone,
    4: all_found,
    5: lambda result: result._replace(small_onset=result.onset),
}


@pytest.mark.parametrize("finding", FAILURES)
def test_each_finding_can_fail(finding):
    assert holds(FAILURES[finding](ideal())) == [k != finding for k in range(6)]


def test_an_onset_that_rises_with_rarity_fails():
    result = ideal()
    risen = result._replace(onset=result.onset * result.ratio, small_onset=1e3 * result.onset)
    assert not holds(risen)[0]


def test_noise_fails():
    generator = torch.Generator().manual_seed(0)

    def noisy(models):
        W = torch.randn(models.W.shape, dtype=torch.float64, generator=generator)
        return models._replace(W=0.5 * W)

    result = ideal()
    result = result._replace(
        classes=noisy(result.classes), zipf=noisy(result.zipf), drawn=noisy(result.drawn)
    )
    assert holds(result)[1:4] == [False] * 3


def test_quick_is_the_same_path():
    assert unequal_density.NOTEBOOK.features == FULL.features
    assert set(QUICK.ratios) <= set(FULL.ratios)
