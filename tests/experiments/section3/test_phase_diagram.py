"""Section 3: short runs, measures and figures of the diagrams, and claims on made-up results."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from drawing import drawn
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from test_phase_boundary import found

import Section3main as section3
import visualization
from experiments.section3 import exact_optimum, noisy_averages, phase_boundary, phase_diagram
from experiments.section3.phase_diagram import QUICK, QUICK_THREE, THREE, Result, Settings, run
from losses.exact import expected_loss
from sweeps.claims import (
    BEST_KNOWN,
    EXACT,
    IN_PART,
    REPRODUCED,
    TRAINING_LIMITED,
    same_claims,
    seen_text,
    verdict,
    verdict_text,
)
from theory import phases


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


# What a quick run returns


@pytest.fixture(scope="module")
def quick():
    """The section's results, with a study on a small grid."""
    optima = [
        exact_optimum.run(settings, progress=False)
        for settings in section3.EXPERIMENTS["optima"].quick
    ]
    studied = [
        noisy_averages.study(replace(settings, points=2, steps=10))
        for settings in (QUICK, QUICK_THREE)
    ]
    return SimpleNamespace(
        optima=optima,
        diagrams=[run(settings, progress=False) for settings in (QUICK, QUICK_THREE)],
        boundary=phase_boundary.run(phase_boundary.Settings(densities=(0.6, 0.1)), progress=False),
        coarse_optima=[
            exact_optimum.run(exact_optimum.Settings(n, 2), progress=False) for n in (2, 3)
        ],
        longer=[
            run(replace(settings, steps=10), progress=False)
            for settings in noisy_averages.longer(replace(QUICK_THREE, points=2))
        ],
        study_two=[run(settings, progress=False) for settings in studied[0]],
        study_three=[run(settings, progress=False) for settings in studied[1]],
    )


def test_run(quick):
    runs = [(6, result, optimum) for result, optimum in zip(quick.diagrams, quick.optima)]
    for study, optimum in zip((quick.study_two, quick.study_three), quick.coarse_optima):
        runs += [(2, result, optimum) for result in study]
    assert len(runs) == 2 + 2 * len(noisy_averages.CHANGES)
    for points, result, optimum in runs:
        hidden, features = optimum.W.shape[1:]
        assert result.W.shape == (points**2, 10, hidden, features)
        assert torch.equal(result.density, optimum.density) and torch.equal(
            result.ratio, optimum.ratio
        )
        # Settling goes downhill from where training ended.
        assert (result.settled <= result.loss * (1 + 1e-9)).all()
        assert (optimum.loss[:, None] <= result.settled * (1 + 1e-6)).all()
        assert (result.lowest_loss <= result.settled.amin(dim=1) * (1 + 1e-9)).all()
        distribution = phases.grid_distribution(features, result.density, result.ratio)
        lowest_loss = expected_loss(result.lowest_W, result.lowest_b, distribution)
        torch.testing.assert_close(lowest_loss, result.lowest_loss, rtol=1e-12, atol=0)
        assert not phase_diagram.below_optimum(result, optimum).any()


def test_run_is_a_function_of_the_seed():
    first, again, other = (
        run(Settings(points=2, steps=5), seed=seed, progress=False) for seed in (3, 3, 4)
    )
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, again))
    assert not torch.equal(first.W, other.W)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("features", [1, 4, 2.0, "2"])
def test_bad_settings_are_refused(features):
    with pytest.raises(ValueError, match="features: expected 2 "):
        Settings(features=features)


def test_figures_and_claims_of_a_quick_run(quick):
    figures = section3.figures(quick)
    drawn_names = [name.removeprefix("section3-") for name in sorted(figures)]
    assert drawn_names == ["boundary", "longer", "n2", "n3", "study"]
    for figure in figures.values():
        figure.canvas.draw()
    claims = section3.claims(quick)
    assert [claim.id for claim in claims] == ["3.1", "3.2", "3.3", "3.4", "3.5"]
    same_claims([claims])
    for claim in claims:
        assert "{" not in seen_text([claim])


def test_section_studies_the_diagrams_settings_on_one_grid():
    experiments = section3.EXPERIMENTS
    coarse = section3.COARSE
    for name, settings, n in (("study_two", Settings(), 2), ("study_three", THREE, 3)):
        studied = experiments[name].settings
        optima = experiments["coarse_optima"].settings
        assert studied == noisy_averages.study(replace(settings, points=coarse))
        assert exact_optimum.Settings(n, coarse) in optima
    assert experiments["longer"].settings == noisy_averages.longer(replace(THREE, points=coarse))
    for settings, optimum in zip(experiments["diagrams"].settings, experiments["optima"].settings):
        assert (settings.features, settings.points) == (optimum.features, optimum.points)
        assert settings.restarts == 20


# Claims


def ideal_diagram(features, points=6, restarts=3):
    """Every restart ends in the best named solution, nearly, and that is the optimum too."""
    density, ratio = phases.grid(points)
    lowest, W = phases.best_named(features, density, ratio)
    loss = phases.named_losses(features, density, ratio).gather(1, lowest[:, None])
    result = Result(
        density,
        ratio,
        W[:, None].repeat(1, restarts, 1, 1),
        loss * torch.linspace(1.0001, 1.0003, restarts, dtype=torch.float64),
        loss.repeat(1, restarts),
        W,
        0 * W[:, 0],
        loss[:, 0],
    )
    return result, exact_optimum.Result(density, ratio, W, 0 * W[:, 0], loss[:, 0])


def ideal():
    """Results as the paper describes them."""
    diagrams, optima = zip(*(ideal_diagram(features) for features in (2, 3)))
    result, optimum = ideal_diagram(3)
    return SimpleNamespace(
        diagrams=diagrams,
        optima=optima,
        boundary=found(),
        longer=[spoil(result, [0, 1])] * 3 + [spoil(result, [0, 1], every=2)] * 2 + [result],
        coarse_optima=(None, optimum),
    )


def spoil(result, restarts, every=1):
    """Some restarts, at every so manieth point, end where the last feature is not represented."""
    W, loss, settled = (values.clone() for values in result[2:5])
    W[::every, restarts, :, -1] = 0
    loss[::every, restarts] *= 2
    settled[::every, restarts] *= 2
    return result._replace(W=W, loss=loss, settled=settled)


def noisy(result):
    """Two restarts in three are far off, though in the optimum's basin and in no local minimum."""
    return result._replace(W=spoil(result, [0, 1]).W)


def without_region(result, features, gone, instead):
    """Where one named solution is best, all restarts end in another."""
    region, _ = phases.best_named(features, result.density, result.ratio)
    W = result.W.clone()
    W[region == gone] = numbers(*phases.NAMED_SOLUTIONS[features][instead].W)
    return result._replace(W=W)


def settled_below(result):
    """One model has settled below the optimum."""
    loss = result.lowest_loss.clone()
    loss[7] *= 1 - 1e-5
    return result._replace(lowest_loss=loss)


def only_one_solution(result):
    return result._replace(W=numbers(*phases.NAMED_SOLUTIONS[3][3].W).expand_as(result.W))


def noise(result):
    return result._replace(
        W=torch.randn(result.W.shape, generator=torch.manual_seed(0), dtype=torch.float64)
    )


BEST_TWO, MEAN_TWO = ["3.1.0", "3.2.1", "3.5.1"], ["3.1.1", "3.5.2"]
BEST_THREE, MEAN_THREE = ["3.4.0", "3.5.4"], ["3.4.1", "3.5.5"]
BROKEN = {  # name -> features of the diagram that is not ideal, its change, the findings that fail
    "the worst restart in a local minimum": (2, lambda r: spoil(r, [1]), []),
    "two restarts of n=2 in local minima": (2, lambda r: spoil(r, [0, 1]), ["3.1.1"]),
    "two restarts of n=3 in local minima": (3, lambda r: spoil(r, [0, 1]), ["3.4.1"]),
    "two noisy restarts of n=2": (2, noisy, [*BEST_TWO, *MEAN_TWO]),
    "two noisy restarts of n=3": (3, noisy, [*BEST_THREE, *MEAN_THREE]),
    "all of n=2 in local minima": (2, lambda r: spoil(r, [0, 1, 2]), [*BEST_TWO, *MEAN_TWO]),
    "all of n=3 in local minima": (3, lambda r: spoil(r, [0, 1, 2]), [*BEST_THREE, *MEAN_THREE]),
    "a phase of n=2 is missing": (
        2, lambda r: without_region(r, 2, 0, 2), [*BEST_TWO, *MEAN_TWO],
    ),
    "a solution of n=3 is missing": (
        3, lambda r: without_region(r, 3, 1, 2), [*BEST_THREE, *MEAN_THREE],
    ),
    "another solution of n=3 of the same phase": (
        3, lambda r: without_region(r, 3, 1, 3), ["3.4.0"],
    ),
    "one solution of n=3": (3, only_one_solution, [*BEST_THREE, *MEAN_THREE]),
    "noise for n=2": (2, noise, [*BEST_TWO, *MEAN_TWO]),
    "noise for n=3": (3, noise, [*BEST_THREE, *MEAN_THREE]),
    "a model of n=2 below the optimum": (2, settled_below, ["3.5.0"]),
    "a model of n=3 below the optimum": (3, settled_below, ["3.5.3"]),
}  # fmt: skip


def missed(results):
    """The claims and places of the findings that do not hold."""
    return [
        f"{claim.id}.{place}"
        for claim in section3.claims(results)
        for place, finding in enumerate(claim.findings)
        if not finding.holds
    ]


def test_all_findings_hold_on_ideal_results():
    assert missed(ideal()) == []
    claims = section3.claims(ideal())
    assert all(verdict([claim]) == REPRODUCED for claim in claims)
    evidence = {f.evidence for claim in claims[:3] for f in claim.findings}
    assert evidence == {BEST_KNOWN, EXACT}


@pytest.mark.parametrize("features, change, failing", BROKEN.values(), ids=BROKEN)
def test_findings_fail_on_broken_results(features, change, failing):
    results = ideal()
    results.diagrams = [change(r) if r.W.shape[-1] == features else r for r in results.diagrams]
    assert missed(results) == sorted(failing)


def test_an_average_of_models_in_local_minima_is_open_and_no_refutation():
    """The evidence is training-limited, as the models stay above the optimum once settled."""
    results = ideal()
    two, three = results.diagrams
    results.diagrams = [two, spoil(three, [0, 1])]
    claim = section3.claims(results)[3]
    assert [finding.evidence for finding in claim.findings[:2]] == [BEST_KNOWN, TRAINING_LIMITED]
    assert verdict([claim]) == IN_PART and verdict_text([claim]).endswith("(finding 2 open)")


def test_longer_training_has_to_help_at_the_higher_learning_rate():
    for order in ([0, 1, 2, 5, 4, 3], [3, 4, 5, 0, 1, 2]):
        results = ideal()
        results.longer = [results.longer[k] for k in order]
        assert missed(results) == ["3.4.2"]


def test_claims_fail_where_the_boundary_is_smooth():
    results = ideal()
    results.boundary = results.boundary._replace(kink=0 * results.boundary.kink)
    assert missed(results) == ["3.3.1", "3.3.3"]


def test_the_named_diagram_is_refuted_where_the_optimum_leaves_a_region():
    """Trained models agree with the optimum, which shows two of the three phases only."""
    results = ideal()
    changed = without_region(results.diagrams[0], 2, 0, 2)
    optimum = results.optima[0]._replace(W=changed.W[:, 0])
    results.diagrams = [changed, results.diagrams[1]]
    results.optima = [optimum, results.optima[1]]
    # Nothing reproduces the region that has gone.
    assert missed(results) == ["3.1.0", "3.1.1", "3.2.1", "3.2.2"]


def test_the_named_diagram_needs_three_phases(monkeypatch):
    """The ignored feature alone, in place of the named solution of lowest loss."""
    results = ideal()
    alone = numbers([1.0, 0.0]).expand_as(results.optima[0].W)
    one_phase = phases.last_feature(alone)
    monkeypatch.setattr(section3, "named_diagram", lambda result: one_phase)
    assert {"3.2.0", "3.2.1", "3.2.2"} <= set(missed(results))


def test_excess_by_hand():
    """Of the restarts but the worst, one of two stays at twice the optimum's loss."""
    result, optimum = ideal_diagram(2, points=3)
    assert phase_diagram.excess(result, optimum) == (0, 0)
    assert phase_diagram.excess(spoil(result, [0, 1]), optimum) == (0, pytest.approx(0.5))


def test_the_average_is_that_of_ten_restarts():
    """Eleven restarts and more serve the best restart alone."""
    result, _ = ideal_diagram(2, points=3, restarts=12)
    spoilt = spoil(result, [10, 11])
    assert phase_diagram.averaged_restarts(spoilt).W.shape[1] == phase_diagram.AVERAGED
    for ours, theirs in zip(
        phase_diagram.averaged_diagram(spoilt), phase_diagram.averaged_diagram(result)
    ):
        torch.testing.assert_close(ours, theirs)


# Numbers


def test_regions_by_hand():
    """The optimum has left a part of the region of W = [1, 0], and some restarts a further part."""
    result, optimum = ideal_diagram(2, points=8)
    region, _ = phases.best_named(2, result.density, result.ratio)
    points = (region == 0).nonzero()[:, 0]
    pair = numbers(*phases.NAMED_SOLUTIONS[2][2].W)
    W = optimum.W.clone()
    W[points[:2]] = pair
    shares = phase_diagram.regions(result, optimum._replace(W=W))
    assert shares.optimum.tolist() == pytest.approx([1 - 2 / len(points), 1, 1])
    assert shares.best.tolist() == shares.mean.tolist() == [1, 1, 1]  # of what the optimum has left
    spoilt = result.W.clone()
    spoilt[points[2]] = pair  # in all restarts
    spoilt[points[3], 1:] = pair  # in all restarts but the best
    shares = phase_diagram.regions(result._replace(W=spoilt), optimum._replace(W=W))
    left = len(points) - 2
    assert shares.best.tolist() == pytest.approx([1 - 1 / left, 1, 1])
    # At the second point the last feature has norm 1/2 on average, so it is not represented.
    assert shares.mean.tolist() == pytest.approx([1 - 1 / left, 1, 1])


def test_models_below_the_optimum_take_its_place():
    result, optimum = ideal_diagram(3, points=3)
    assert not phase_diagram.below_optimum(result, optimum).any()
    assert torch.equal(phase_diagram.best_known(result, optimum).loss, optimum.loss)
    lower = settled_below(result)._replace(lowest_W=result.lowest_W + 1)
    assert phase_diagram.below_optimum(lower, optimum).nonzero().tolist() == [[7]]
    known = phase_diagram.best_known(lower, optimum)
    assert torch.equal(known.loss, lower.lowest_loss)
    assert torch.equal(known.W[7], lower.lowest_W[7]) and torch.equal(known.W[:7], optimum.W[:7])
    hardly = result._replace(lowest_loss=optimum.loss * (1 - 1e-7))
    assert not phase_diagram.below_optimum(hardly, optimum).any()


def test_averaged_discards_the_worst_restart():
    """The last feature has norms 1, 0.6 and 0; the restart of highest loss does not count."""
    W = numbers([[0.0, 1.0]], [[0.8, 0.6]], [[1.0, 0.0]]).expand(3, 3, 1, 2)
    loss = numbers([1, 2, 3], [1, 3, 2], [3, 1, 2])
    result = Result(
        torch.ones(3), torch.ones(3), W, loss, loss, W[:, 0], torch.zeros(3, 2), loss[:, 0]
    )
    norm, superposition = phase_diagram.averaged_diagram(result)
    assert norm.tolist() == pytest.approx([0.8, 0.5, 0.3])
    assert superposition.tolist() == pytest.approx([0.32, 0, 0.32])  # 0, 0.64 and 0
    assert phase_diagram.best_diagram(result).norm.tolist() == pytest.approx([1, 1, 0.6])
    assert phase_diagram.best_weights(result)[2].tolist() == [[0.8, 0.6]]


def test_agreement_counts_points():
    result, optimum = ideal_diagram(2, points=4)
    exact = phases.last_feature(optimum.W)
    assert phase_diagram.agreement(phase_diagram.best_diagram(result), exact) == 1
    ignored = (phases.phase(*exact) == 0).double().mean().item()
    spoilt = phase_diagram.best_diagram(spoil(result, [0, 1, 2]))
    assert 0 < ignored < 1 and phase_diagram.agreement(spoilt, exact) == pytest.approx(ignored)
    assert phase_diagram.phase_shares(spoilt).tolist() == [1, 0, 0]
    assert sum(phase_diagram.phase_shares(exact).tolist()) == pytest.approx(1)


def test_in_the_basin_of_the_optimum():
    """One restart ends at double the optimum's loss, another within a thousandth of it."""
    result, optimum = ideal_diagram(2, points=2)
    result = result._replace(
        settled=optimum.loss[:, None] * numbers([1, 1.0005, 2], *[[1, 1, 1]] * 3)
    )
    reached = phase_diagram.in_optimum(result, optimum)
    assert reached.tolist() == [[True, True, False], *[[True] * 3] * 3]


# Figures

NORM = numbers(0, 0.1, 1, 0, 1, 1, 0.9, 1, 1)
SUPERPOSITION = numbers(0, 0, 0, 0, 1, 0.2, 1, 1.2, 0.9)


@pytest.mark.parametrize(
    "norm, superposition, colour",
    [
        (0, 0, visualization.BLANK),
        (0, 1, visualization.BLANK),
        (1, 0, visualization.DEDICATED),
        (1, 1, visualization.SHARED),
        (1.3, 2, visualization.SHARED),
        (1, -0.1, visualization.DEDICATED),
    ],
)
def test_phase_colours_at_the_corners(norm, superposition, colour):
    colours = phase_diagram.phase_colours(numbers([norm]), numbers([superposition]))
    assert colours.shape == (1, 1, 3)
    assert colours[0, 0] == pytest.approx(to_rgb(colour))


def test_phase_colours_between():
    half = phase_diagram.phase_colours(torch.tensor([0.5]), torch.tensor([0.0]))
    expected = [
        (a + b) / 2 for a, b in zip(to_rgb(visualization.BLANK), to_rgb(visualization.DEDICATED))
    ]
    assert half[0] == pytest.approx(expected)


def test_diagrams_show_each_point(monkeypatch):
    result, optimum = ideal_diagram(2, points=3)
    settled = result.settled * (1 + torch.linspace(0, 2, 27).view(9, 3) % 1)
    result = result._replace(settled=settled)
    monkeypatch.setattr(
        phase_diagram, "averaged_diagram", lambda result: phases.LastFeature(NORM, SUPERPOSITION)
    )
    figure = drawn(phase_diagram.figure, result, optimum)
    panels = {ax.get_title(): ax for ax in figure.axes}
    exact = phases.last_feature(optimum.W)
    shown = {
        "named solutions": exact,
        "global optimum": exact,
        "trained: mean of ten but the worst": (NORM, SUPERPOSITION),
        "trained: best restart": exact,
    }
    for title, (norm, superposition) in shown.items():
        (mesh,) = panels[title].collections
        colours = mesh.get_array()
        expected = phase_diagram.phase_colours(norm, superposition).tolist()
        for k in range(9):  # (importances, densities, 3)
            assert colours[k % 3, k // 3].tolist() == pytest.approx(expected[k]), (title, k)
        assert panels[title].get_xlim() == (1, 0.01) and panels[title].get_ylim() == (0.1, 10)
        assert panels[title].get_xscale() == panels[title].get_yscale() == "log"
    mesh = panels["restarts in the global optimum"].collections[0]
    share = phase_diagram.in_optimum(result, optimum).double().mean(dim=1)
    assert mesh.get_array().T.ravel().tolist() == pytest.approx(
        share.tolist()
    ) and mesh.get_clim() == (0, 1)
    assert 0 < share.mean() < 1 and "last feature" in panels


def test_phase_key_is_over_superposition_and_norm():
    _, ax = plt.subplots()
    phase_diagram.phase_key(ax)
    image = ax.images[0].get_array().tolist()  # rows from norm 0 up
    corners = {(0, 0): "BLANK", (0, -1): "BLANK", (-1, 0): "DEDICATED", (-1, -1): "SHARED"}
    assert ax.images[0].origin == "lower"
    for (row, column), colour in corners.items():
        assert image[row][column] == pytest.approx(to_rgb(getattr(visualization, colour)))
    assert "superposition" in ax.get_xlabel() and "norm" in ax.get_ylabel()
