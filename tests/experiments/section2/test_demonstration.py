"""Section 2: a short run, the measures and figures, and the claims on ideal and broken results."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from drawing import drawn
from matplotlib import pyplot as plt

import Section2main as section2
import visualization
from experiments.section2 import demonstration, introduction
from experiments.section2.demonstration import (
    LARGE,
    QUICK,
    QUICK_LARGE,
    Models,
    Result,
    Settings,
    Training,
    run,
)
from geometry import feature_norms, interference
from theory.polytopes import POLYTOPES

SIZES = [(Settings().hidden, Settings().features), (LARGE.hidden, LARGE.features)]


# What a quick run returns


@pytest.fixture(scope="module")
def quick():
    return [run(settings, progress=False) for settings in (QUICK, QUICK_LARGE)]


def test_run(quick):
    for result, (hidden, features) in zip(quick, SIZES):
        assert result.density.tolist() == pytest.approx(Settings().densities)
        for models in (result.linear, result.relu):
            assert models.W.shape == (7, hidden, features) and models.b.shape == (7, features)


def test_run_is_a_function_of_the_seed():
    training = Training(restarts=2, steps=5, batch_size=16, lr=0.03)
    short = replace(QUICK, linear=training, relu=training)
    first, again, other = (run(short, seed=seed, progress=False) for seed in (3, 3, 4))
    for models, repeated, changed_models in zip(first[1:], again[1:], other[1:]):
        assert torch.equal(models.W, repeated.W) and torch.equal(models.b, repeated.b)
        assert not torch.equal(models.W, changed_models.W)


def test_section_runs_both_sizes_and_the_introduction():
    assert section2.EXPERIMENTS["demonstration"].settings == (Settings(), LARGE)
    assert section2.EXPERIMENTS["demonstration"].quick == (QUICK, QUICK_LARGE)
    assert section2.EXPERIMENTS["introduction"].settings == introduction.Settings()


def test_figures_and_claims_of_a_quick_run(quick):
    results = SimpleNamespace(
        demonstration=quick, introduction=introduction.run(introduction.QUICK, progress=False)
    )
    figures = section2.figures(results)
    assert sorted(figures) == [
        "section2-introduction",
        "section2-n20",
        "section2-n80",
        "section2-represented",
    ]
    for figure in figures.values():
        figure.canvas.draw()
    claims = section2.claims(results)
    assert [claim.id for claim in claims] == ["2.1", "2.2", "2.3", "2.4", "2.5"]
    for value in (value for claim in claims for value in claim.numbers.values()):
        assert isinstance(value, (int, float)) and value == value


# Claims


def dedicated_and_pairs(hidden, features, pairs):
    """W with the most important features dedicated, and pairs in the remaining dimensions."""
    alone = hidden - pairs
    W = torch.eye(hidden, features)
    for k in range(pairs):
        W[alone + k] = 0
        W[alone + k, alone + 2 * k] = 1
        W[alone + k, alone + 2 * k + 1] = -1
    return W


def ideal():
    """Results as the paper describes them, at three densities, of n=20 and n=80."""
    density = torch.tensor([1.0, 0.1, 0.01])
    results = []
    for m, n in SIZES:
        linear = Models(
            dedicated_and_pairs(m, n, 0).repeat(3, 1, 1),
            torch.where(torch.arange(n) < m, 0, density[:, None] / 2),
        )
        sparse = torch.stack(
            [dedicated_and_pairs(m, n, pairs) for pairs in (0, m // 5, 3 * m // 5)]
        )
        results.append(Result(density, linear, Models(sparse, torch.zeros(3, n))))
    return results


def changed(result, kind, name, change):
    """The result with one of its tensors changed: kind "linear" or "relu", name "W" or "b"."""
    models = getattr(result, kind)
    return result._replace(**{kind: models._replace(**{name: change(getattr(models, name))})})


def assert_fails_only(results, *failing):
    claims = section2.claims(SimpleNamespace(demonstration=results))
    assert {claim.id: claim.holds for claim in claims} == {
        claim: claim not in failing for claim in ("2.1", "2.2", "2.3", "2.4", "2.5")
    }


def triangles(W):
    """Three features in two dimensions in place of the first pair."""
    W = W.clone()
    W[1, :2] = 0
    W[1, :2, :3] = POLYTOPES["triangle"].vertices
    W[1, :2, 3:] = 0
    W[1, :, 3:] = torch.nn.functional.pad(
        torch.eye(W.shape[1] - 2), (0, W.shape[2] - W.shape[1] - 1, 2, 0)
    )
    return W


def one_less(W):
    """Remove the last represented feature at the sparsest density."""
    last = int(W[2].norm(dim=0).nonzero().max())
    return torch.stack((W[0], W[2], W[2].index_fill(1, torch.tensor([last]), 0)))


def noise(W):
    """Random weights of the same sizes and norms about 1."""
    return torch.randn(W.shape, generator=torch.manual_seed(0)) / W.shape[1] ** 0.5


BROKEN = {  # name -> models and tensor that differ from the ideal, how, and the claims that fail
    "linear weights too small": ("linear", "W", lambda W: 0.9 * W, ["2.1"]),
    "linear features not the most important": ("linear", "W", lambda W: W.roll(1, dims=2), ["2.1"]),
    "linear features not orthogonal": (
        "linear", "W", lambda W: W + 0.2 * W.roll(1, dims=2), ["2.1"],
    ),
    "no bias": ("linear", "b", lambda b: 0 * b, ["2.1"]),
    "bias of represented features": ("linear", "b", lambda b: b[:, -1:].expand_as(b), ["2.1"]),
    "dense features not the most important": (
        "relu", "W", lambda W: torch.cat((W[:1].roll(1, dims=2), W[1:])), ["2.2"],
    ),
    "no growth": ("relu", "W", lambda W: W[[0, 1, 1]], ["2.3"]),
    "one feature less at the sparsest density": ("relu", "W", one_less, ["2.3"]),
    "the most important share first": (
        "relu", "W", lambda W: torch.cat((W[:1], W[1:].flip(2))), ["2.3"],
    ),
    "no superposition": ("relu", "W", lambda W: W[[0, 0, 0]], ["2.3", "2.4"]),
    "triangles first": ("relu", "W", triangles, ["2.3", "2.4"]),
    "noise": ("relu", "W", noise, ["2.2", "2.3", "2.4"]),
}  # fmt: skip


def test_claims_hold_on_ideal_results():
    assert_fails_only(ideal())


def test_claims_do_not_depend_on_the_hidden_basis():
    results = []
    for result in ideal():
        m = result.linear.W.shape[1]
        turn = torch.linalg.qr(torch.randn(m, m, generator=torch.manual_seed(0)))[0]
        for kind in ("linear", "relu"):
            result = changed(result, kind, "W", lambda W, turn=turn: turn @ W)
        results.append(result)
    assert_fails_only(results)


@pytest.mark.parametrize("kind, name, change, failing", BROKEN.values(), ids=BROKEN)
def test_claims_fail_on_broken_results(kind, name, change, failing):
    small, large = ideal()
    broken = [changed(result, kind, name, change) for result in (small, large)]
    assert_fails_only(broken, *failing, "2.5")
    # at n=80 alone it is the last claim that fails
    assert_fails_only([small, broken[1]], "2.5")


def test_numbers_of_ideal_claims():
    linear, dense, growth, pairs, again = section2.claims(SimpleNamespace(demonstration=ideal()))
    assert list(linear.numbers.values()) == list(dense.numbers.values()) * 3 == [0, 0, 0]
    assert list(growth.numbers.values()) == [5, 6, 8, 2, 2]
    assert list(pairs.numbers.values()) == [pytest.approx(0.1), 1, 1]
    assert list(again.numbers.values()) == [
        4,
        0,
        0,
        0,
        0,
        20,
        24,
        32,
        2,
        2,
        pytest.approx(0.1),
        4,
        4,
    ]


def test_without_superposition_there_is_no_density_of_the_first():
    small, large = ideal()
    without = changed(small, "relu", "W", lambda W: W[[0, 0, 0]])
    *_, pairs, _ = section2.claims(SimpleNamespace(demonstration=[without, large]))
    assert list(pairs.numbers.values()) == [0, 0]


# Numbers


def test_bias_errors_by_hand():
    """Biases of one represented feature and of two others, at two densities."""
    models = Models(torch.zeros(2, 1, 3), torch.tensor([[0.5, 0.5, 0.25], [0.0, 0.22, 0.18]]))
    errors = demonstration.bias_errors(models, torch.tensor([1.0, 0.4]))
    assert errors.most_important.tolist() == pytest.approx([1, 0])
    assert errors.rest.tolist() == pytest.approx([0.125**0.5, 0.1])


def test_top_projection_error_by_hand():
    W = torch.eye(2, 3).repeat(3, 1, 1)
    W[1, 1, 2] = 0.3
    W[2] = W[2].roll(1, dims=1)
    assert demonstration.top_projection_error(W).tolist() == pytest.approx([0, 0.3, 1])


def test_least_important_first_by_hand():
    none, one, two = (dedicated_and_pairs(2, 4, pairs) for pairs in (0, 1, 2))
    W = torch.stack((none, one, two, one.roll(1, dims=1), one.roll(2, dims=1)))
    # In the last two the dedicated feature is the second and the third of four.
    assert demonstration.least_important_first(W).tolist() == [True, True, False]


# Figures


def test_norm_bars_show_norm_and_superposition():
    norm = torch.tensor([0, 0.1, 1, 0, 1, 1, 0.9, 1, 1.0])
    superposition = torch.tensor([0, 0, 0, 0, 1, 0.2, 1, 1.2, 0.9])
    _, ax = plt.subplots()
    demonstration.norm_bars(norm, superposition, ax)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(norm.tolist())
    for bar, value in zip(ax.patches, superposition.clamp(0, 1).tolist()):
        assert bar.get_facecolor() == pytest.approx(visualization.SUPERPOSITION(value))
    assert ax.get_xlabel() and ax.get_ylabel()


def test_panels_show_each_density():
    small, _ = ideal()
    generator = torch.manual_seed(0)
    models = [
        Models(torch.randn(3, 5, 20, generator=generator), torch.rand(3, 20, generator=generator))
        for _ in "lr"
    ]
    figure = drawn(demonstration.panels_figure, Result(small.density, *models))
    W, b = (torch.cat((linear[:1], relu)) for linear, relu in zip(*models))
    heats = [ax for ax in figure.axes if ax.images]
    assert len(heats) == 4
    for k, ax in enumerate(heats):
        gram, biases = (torch.tensor(image.get_array()) for image in ax.images)
        torch.testing.assert_close(gram.float(), W[k].T @ W[k])
        torch.testing.assert_close(biases[:, 0].float(), b[k])
    bars = [ax.patches for ax in figure.axes if len(ax.patches) == 20]
    heights = torch.tensor([[bar.get_height() for bar in panel] for panel in bars])
    torch.testing.assert_close(heights, feature_norms(W).double())
    for panel, values in zip(bars, interference(W).clamp(0, 1).numpy()):
        colours = [pytest.approx(colour) for colour in visualization.SUPERPOSITION(values)]
        assert [bar.get_facecolor() for bar in panel] == colours
    titles = [ax.get_title() for ax in figure.axes]
    for title in (
        "linear, density 1",
        "ReLU, density 1",
        "ReLU, density 0.1",
        "ReLU, density 0.01",
    ):
        assert title in titles


def test_bars_stand_below_the_columns_of_their_features():
    """The same feature has the same horizontal position in the heat map and in the bars."""
    for features in (20, 80):
        models = Models(torch.ones(7, 5, features), torch.ones(7, features))
        figure = demonstration.panels_figure(Result(torch.ones(7), models, models))
        figure.canvas.draw()
        heats = [ax for ax in figure.axes if ax.images]
        bars = [ax for ax in figure.axes if ax.patches]
        assert len(heats) == len(bars) == 8
        for heat, norms in zip(heats, bars):
            for feature in (0, features - 1):
                column, bar = (ax.transData.transform((feature, 0))[0] for ax in (heat, norms))
                assert bar == pytest.approx(column, abs=0.5)  # pixels


def product(*names, features):
    W = torch.block_diag(*(POLYTOPES[name].vertices for name in names)).float()
    return torch.nn.functional.pad(W, (0, features - W.shape[1]))


def test_counts_show_what_is_represented_and_what_shares():
    """The counts of three models that are made of known polytopes."""
    names = (
        ["dedicated dimension"] * 4,
        ["digon", "digon", "triangle"],
        ["dedicated dimension", "tetrahedron"],
    )
    density = torch.tensor([1.0, 0.3, 0.1])
    results = []
    for features in (9, 7):
        models = Models(
            torch.stack([product(*model, features=features) for model in names]),
            torch.zeros(3, features),
        )
        results.append(Result(density, models, models))
    figure = drawn(demonstration.counts_figure, results)
    assert len(figure.axes) == 2
    for ax in figure.axes:
        for area, counts in zip(ax.collections, ([4, 7, 5], [0, 7, 4])):
            edge = area.get_paths()[0].vertices
            assert [edge[edge[:, 0] == x, 1].max() for x in density.numpy()] == counts
        assert ax.get_xlim() == pytest.approx((1.1, 0.1 / 1.1))  # sparser to the right
