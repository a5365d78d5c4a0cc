"""Other values of features: polygons and pairs against samples, a short run, ideal and broken."""

import math

import pytest
import torch
from drawing import drawn

from experiments.variations import feature_values
from experiments.variations.feature_values import KINDS, QUICK, Result, Settings, figure, run
from experiments.variations.feature_values_claim import claim
from experiments.variations.rare_polygons import (
    limit_loss,
    mean_and_square,
    polygon_limit,
    tail_moments,
    threshold_polygon,
)
from features import FeatureDistribution
from geometry import dimensions_per_feature
from losses import expected_loss
from sweeps.claims import BEST_KNOWN, TRAINING_LIMITED
from theory.vertices import polygon

UNIT, THREE, HALF, ONE = range(4)
by_kind = pytest.mark.parametrize("name", KINDS)


def double(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


# Known answers


@by_kind
def test_tail_moments_are_those_of_drawn_values(name):
    values = KINDS[name]
    drawn_values = FeatureDistribution(double(1.0), features=1, values=values).sample(
        2**16, torch.Generator().manual_seed(0), torch.float64
    )[0, :, 0]
    for threshold in (-1.0, 0.4, 0.7, 1.5, 4.0):
        tail = drawn_values > threshold
        found = tail_moments(values, double(threshold))
        for k in range(3):
            sampled = (tail * drawn_values**k).mean().item()
            assert found[k].item() == pytest.approx(sampled, abs=0.05, rel=0.02)
    mean, square = mean_and_square(values)
    assert mean == pytest.approx(drawn_values.mean().item(), rel=0.02)
    assert square == pytest.approx(drawn_values.square().mean().item(), rel=0.02)


@by_kind
def test_the_limit_is_that_of_the_exact_loss(name):
    """At a density of 1e-7 the exact loss of five features is what one active feature makes of it.

    The empty row adds nothing, as b < 0.
    """
    values = KINDS[name]
    c, b = double(1.4, 0.7), double(-0.3, -0.1)
    W = c.sqrt()[:, None, None] * polygon(5)
    inputs = FeatureDistribution(torch.full((2, 5), 1e-7, dtype=torch.float64), values=values)
    exact = expected_loss(W, b[:, None].expand(-1, 5), inputs)
    ignored = 5 * feature_values.ignored_loss(values, double(1e-7))
    torch.testing.assert_close(limit_loss(5, c, b, values), exact / ignored, rtol=1e-4, atol=0)


@pytest.mark.parametrize("vertices", [4, 5, 12, 40])
def test_one_value_is_returned_without_loss(vertices):
    """From the neighbours' outputs by hand, c cos + b = 0, and from the search."""
    c, b = threshold_polygon(vertices, KINDS["always 1"])
    outputs = (c * (polygon(vertices).T @ polygon(vertices))[0] + b).relu()
    torch.testing.assert_close(outputs, torch.eye(vertices, dtype=torch.float64)[0])
    limit = polygon_limit(vertices, KINDS["always 1"])
    assert limit.loss < 1e-10 and limit.norm.item() == pytest.approx(math.sqrt(c), rel=1e-3)


@by_kind
def test_pairs_of_a_square_lose_nothing(name):
    """Two antipodal pairs, c = 1 and b = 0, return rare features of any values as they are."""
    limit = polygon_limit(4, KINDS[name])
    assert limit.loss < 1e-9 and limit.norm.item() == pytest.approx(1, abs=1e-4)
    assert limit.bias.item() == pytest.approx(0, abs=1e-4)


def test_large_polygons_of_three_values_return_the_highest():
    for vertices in (9, 17):
        limit = polygon_limit(vertices, KINDS["1, 2 or 3"])
        assert limit.loss.item() == pytest.approx(5 / 14, abs=1e-9)


@by_kind
def test_no_finer_grid_is_lower(name):
    """A scan of scales and biases, ten times as many as the search begins with."""
    values = KINDS[name]
    highest = tail_highest(values)
    c, share = torch.meshgrid(
        torch.linspace(0.1, 5, 150, dtype=torch.float64),
        torch.linspace(0, 1, 100, dtype=torch.float64),
        indexing="ij",
    )
    scanned = limit_loss(7, c.flatten(), (-share * c * highest).flatten(), values).min()
    found = polygon_limit(7, values).loss
    assert scanned - 0.01 <= found <= scanned + 1e-9


def tail_highest(values):
    return values[-1] if isinstance(values, tuple) else values.high


@by_kind
def test_named_pairs_meet_a_dedicated_dimension_at_their_onset(name):
    values = KINDS[name]
    onset = feature_values.named_onset(values)
    inputs = FeatureDistribution(double(onset)[None], features=2, values=values).with_restarts(2)
    mean = onset * mean_and_square(values)[0]
    W = double(1, -1, 1, 0).view(2, 1, 2)
    losses = expected_loss(W, double(0, 0, 0, mean).view(2, 2), inputs)
    ignored = feature_values.ignored_loss(values, double(onset))
    torch.testing.assert_close(losses, ignored.expand(2), rtol=1e-9, atol=0)


def test_onsets_by_hand():
    onsets = [feature_values.named_onset(values) for values in KINDS.values()]
    assert onsets == pytest.approx([4 / 7, 21 / 44, 28 / 71, 1 / 3])


# Settings and run


@pytest.mark.parametrize(
    "wrong",
    [
        {"largest": 8},
        {"features": 3},
        {"densities": (0.1, 0.0)},
        {"pair_densities": (1.5,)},
        {"steps": 0},
        {"lr": -1.0},
        {"rows": 0},
    ],
    ids=str,
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.fixture(scope="module")
def short():
    return run(QUICK, progress=False)


def test_run(short):
    """Losses are exact for pairs, sound for models, and no higher than those of fresh starts."""
    assert (short.loss <= short.fresh_loss).all() and short.loss.max() < 1
    assert short.W.shape == (4, 2, 2, QUICK.features) and short.b.shape == (4, 2, QUICK.features)
    inputs = FeatureDistribution(short.density[:, None], features=QUICK.features, values=1)
    exact = expected_loss(short.W[ONE], short.b[ONE], inputs)
    ignored = QUICK.features * feature_values.ignored_loss((1.0,), short.density)
    torch.testing.assert_close(short.loss[ONE], exact / ignored, rtol=0.2, atol=0.01)
    named = feature_values.named_pair_loss(short)
    assert (short.pair_loss <= named + 0.01).all()


def test_run_depends_on_its_seed_alone(short):
    again = run(QUICK, progress=False)
    assert all(torch.equal(*fields) for fields in zip(short, again))
    other = run(QUICK, seed=1, progress=False)
    assert (other.W != short.W).any() and torch.equal(other.polygon_loss, short.polygon_loss)


# Measures, figure and claim


def polygon_model(vertices, features, norm):
    W = torch.zeros(2, features)
    W[:, :vertices] = norm * polygon(vertices)
    return W


def ideal(settings):
    """A Result of these settings in which every finding holds, made by hand."""
    vertices = torch.arange(4, settings.largest + 1)
    worth = torch.where(vertices == 7, 5.2, torch.where(vertices < 7, 4.1, 5.0))
    ranges = 1 - worth / vertices
    three = torch.where(vertices >= 9, 5 / 14, ranges)
    polygon_loss = torch.stack([ranges, three, ranges, torch.zeros(len(vertices))]).double()
    density = torch.tensor(settings.pair_densities, dtype=torch.float64)
    onset = double(0.7, 0.58, 0.44, 0.4)[:, None]
    pair = torch.where(density <= onset, -1.0, -0.4)
    pair_W = torch.stack([torch.ones_like(pair), pair], dim=-1).double()
    densities = torch.tensor(settings.densities, dtype=torch.float64)
    features = settings.features
    W = [polygon_model(count, features, 1.5) for count in (7, features, 7, features)]
    shape = (4, len(densities))
    last = double(5.2, 7.7, 5.9, 11.8)[:, None] / features
    first = double(3.6, 3.4, 3.2, 3.1)[:, None] / features
    loss = 1 - torch.where(densities >= 0.2, first, last)
    return Result(
        vertices,
        polygon_loss,
        torch.ones_like(polygon_loss),
        density,
        pair_W,
        torch.full(pair.shape, 0.1, dtype=torch.float64) * density,
        densities,
        torch.stack(W)[:, None].expand(*shape, -1, -1),
        torch.zeros(*shape, features),
        loss,
        loss + 0.01,
    )


IDEAL = ideal(Settings())


def changed(field, place, value):
    """The ideal Result with numbers of one field replaced."""
    tensor = getattr(IDEAL, field).clone()
    tensor[place] = value
    return IDEAL._replace(**{field: tensor})


ROWS = slice(None)
BROKEN = {  # what breaks -> the finding that fails, and the result
    "no pairs": (0, changed("pair_W", (HALF, ROWS, 1), -0.4)),
    "a loss of one value": (1, changed("polygon_loss", (ONE, 3), 0.01)),
    "a loss of three values": (2, changed("polygon_loss", (THREE, -1), 0.5)),
    "a polygon that saves much": (3, changed("polygon_loss", (UNIT, -1), 0.5)),
    "an octagon that saves most": (3, changed("polygon_loss", (HALF, 4), 0.34)),
    "a feature left out": (4, changed("W", (ONE, ROWS, ROWS, 0), 0.0)),
    "nine features of a range": (4, changed("W", (HALF, -1), polygon_model(9, 12, 1.5))),
    "one value ahead when dense": (5, changed("loss", (ONE, 0), 0.1)),
    "the paper's values close when rare": (5, changed("loss", (UNIT, -1), 0.5)),
    "training that finds little": (6, changed("fresh_loss", (ONE, -1), 0.6)),
}


def test_the_claim_can_be_met():
    judged = claim(IDEAL)
    assert all(finding.holds for finding in judged.findings)
    assert judged.findings[4].evidence == BEST_KNOWN


@pytest.mark.parametrize("broken", BROKEN)
def test_each_finding_can_fail(broken):
    expected, result = BROKEN[broken]
    findings = claim(result).findings
    assert [k for k, finding in enumerate(findings) if not finding.holds] == [expected]


def test_no_finding_holds_without_the_effect():
    """All kinds of values as the paper's: pairs from 0.7, and at most 5.2 features' worth."""
    alike = IDEAL._replace(
        **{
            field: getattr(IDEAL, field)[:1].expand_as(getattr(IDEAL, field))
            for field in ("polygon_loss", "pair_W", "W", "loss", "fresh_loss")
        }
    )
    holds = [finding.holds for finding in claim(alike).findings]
    assert holds == [False, False, False, True, False, False, False]


def test_models_worse_than_a_polygon_are_training_limited():
    worse = changed("loss", (UNIT, -1), 0.9)
    assert claim(worse).findings[4].evidence == TRAINING_LIMITED


def test_measures_by_hand():
    assert feature_values.best_onset(IDEAL) == [0.7, 0.58, 0.44, 0.4]
    assert feature_values.represented_features(IDEAL)[:, -1].tolist() == [7, 12, 7, 12]
    expected = dimensions_per_feature(IDEAL.W[:, 0])
    torch.testing.assert_close(feature_values.all_dimensions_per_feature(IDEAL)[:, 0], expected)
    torch.testing.assert_close(
        feature_values.saved(IDEAL, IDEAL.loss)[:, -1], double(5.2, 7.7, 5.9, 11.8)
    )


def test_figure_shows_all_kinds():
    shown = drawn(figure, IDEAL)
    assert len(shown.axes) == 3 and "0.7 for values uniform on [0, 1]" in shown.get_label()
    right = shown.axes[2].lines[ONE]
    assert right.get_ydata().tolist() == IDEAL.vertices.tolist()


def test_figure_of_a_short_run(short):
    drawn(figure, short)
    judged = claim(short)
    assert len(judged.findings) == 7
