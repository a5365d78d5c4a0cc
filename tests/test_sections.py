"""The sections: their command lines with the quick settings, and their claims on results made up for the purpose."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt
from safetensors.torch import load_file

import nonuniform
import scorecard
import Section2main as section2
import Section3main as section3
import Section4main as section4
import theory
from features import FeatureDistribution
from geometry import POLYTOPES
from models import ReLUOutputModel

matplotlib.use("Agg")

HOME = Path(scorecard.__file__).parent
CLAIMS = {  # section -> its claims
    section2: ["2.1", "2.2", "2.3", "2.4", "2.5"],
    section3: ["3.1", "3.2", "3.3", "3.4", "3.5"],
    section4: [f"4.{k}" for k in range(1, 13)],
}
FIGURES = {
    section2: ["section2-introduction", "section2-n20", "section2-n80", "section2-represented"],
    section3: ["section3-boundary", "section3-n2", "section3-n3", "section3-study"],
    section4: [
        "section4-collapse",
        "section4-long",
        "section4-map",
        "section4-pairs",
        "section4-perturbed",
        "section4-predicted",
        "section4-sets",
        "section4-study",
        "section4-uniform",
    ],
}
each_section = pytest.mark.parametrize("section", CLAIMS, ids=lambda section: section.__name__)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def printed(main, *argv):
    """Exit status and standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        status = main([str(word) for word in argv])
    return status, out.getvalue()


def claim_ids(table):
    """The first column of a table of claims."""
    return re.findall(r"^(\d+\.\d+) ", table, flags=re.MULTILINE)


# The command line


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="session")
def quick(out):
    """section -> exit status and output of its quick run; each is run once."""
    return {section: printed(section.main, "--quick", "--out", out) for section in CLAIMS}


def cached(section, out):
    (path,) = (out / "results").glob(f"{section.__name__}-*.safetensors")
    return load_file(path)


@each_section
def test_quick_run(section, quick, out):
    status, table = quick[section]
    assert status == 0
    assert claim_ids(table) == CLAIMS[section]
    number = section.__name__[len("Section")]
    drawn = sorted((out / "figures").glob(f"section{number}-*"))
    assert [path.name for path in drawn] == [f"{name}.png" for name in FIGURES[section]]
    for path in drawn:
        pixels = plt.imread(path)  # a PNG, or this fails
        assert pixels.shape[1] > 800 and pixels.std() > 0.01


@each_section
def test_second_run_is_from_the_cache(section, quick, out, monkeypatch):
    monkeypatch.setattr(section, "run", lambda *_, **__: pytest.fail("computed again"))
    monkeypatch.setattr(section, "figures", lambda results: {})
    assert printed(section.main, "--quick", "--out", out) == quick[section]


@each_section
def test_fresh_runs_again(section, quick, out, tmp_path, monkeypatch):
    results, runs = cached(section, out), []

    def run(settings, **arguments):
        runs.append((settings, arguments))
        return results

    monkeypatch.setattr(section, "run", run)
    monkeypatch.setattr(section, "figures", lambda results: {})
    for options in ([], [], ["--fresh"], ["--seed", 3]):
        printed(section.main, "--quick", "--out", tmp_path, *options)
    # the second time from the cache
    assert [arguments["seed"] for _, arguments in runs] == [0, 0, 3]
    assert all(settings is section.QUICK for settings, _ in runs)


@pytest.mark.parametrize("script", [*(section.__name__ for section in CLAIMS), "scorecard"])
def test_script_refuses_bad_arguments(script):
    run = subprocess.run(
        [sys.executable, HOME / f"{script}.py", "--quick", "--seed", "one"], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "--seed: expected a whole number" in run.stderr and run.stdout == ""


@pytest.mark.parametrize("argv", [["--fast"], ["--device", "tpu"], ["--seed", "-1"], ["--out", __file__]], ids=str)
@each_section
def test_bad_arguments(section, argv, capsys):
    with pytest.raises(SystemExit) as stop:
        section.main(["--quick", *argv])
    assert stop.value.code == 2
    assert argv[0] in capsys.readouterr().err


# The scorecard


def test_scorecard_knows_all_sections():
    assert scorecard.sections() == list(CLAIMS)


def test_scorecard_prints_all_claims_from_the_cache(quick, out, monkeypatch):
    for section in CLAIMS:
        monkeypatch.setattr(section, "run", lambda *_, **__: pytest.fail("computed again"))
    status, table = printed(scorecard.main, "--quick", "--out", out)
    assert status == 0
    assert claim_ids(table) == [claim for ids in CLAIMS.values() for claim in ids]
    for _, of_section in quick.values():
        rows = of_section.splitlines()[2:-2]  # without the head and the count of claims that hold
        assert "\n".join(rows) in table


# What a quick run returns


def test_section2_results(quick, out):
    results = cached(section2, out)
    densities = len(section2.QUICK["densities"])
    for size, shape in section2.SIZES.items():
        for model in ("linear", "relu"):
            assert results[f"{size}/{model}/W"].shape == (densities, shape["hidden"], shape["features"])
            assert results[f"{size}/{model}/b"].shape == (densities, shape["features"])
    assert results["introduction/W"].shape == (3, 2, 5)
    assert results["introduction/importance"].tolist() == pytest.approx([0.9**k for k in range(5)])


def test_section3_results(quick, out):
    results, settings = cached(section3, out), section3.QUICK
    restarts = settings["restarts"]
    assert results["boundary/density"].tolist() == settings["boundary_densities"]
    for prefix in ("", *(f"study/{name}/" for name in settings["study"])):
        points = (settings["study_points"] if prefix else settings["points"]) ** 2
        for case, (features, hidden) in section3.CASES.items():
            of_case = {name: results[f"{prefix}{case}/{name}"] for name in ("W", "loss", "settled", "optimum/W")}
            assert of_case["W"].shape == (points, restarts, hidden, features)
            assert of_case["optimum/W"].shape == (points, hidden, features)
            # from where training ended it is downhill to the bottom of the basin
            assert (of_case["settled"] <= of_case["loss"] * (1 + 1e-9)).all()
        # nothing is below the global optimum
        optimum = results[f"{prefix}n2/optimum/loss"][:, None]
        assert (optimum <= results[f"{prefix}n2/settled"] * (1 + 1e-5)).all()


def test_section4_results(quick, out):
    results, settings = cached(section4, out), section4.QUICK
    runs = {name: (settings[name], 1) for name in ("uniform", "long")}
    restarts = settings["restarts"]
    runs |= {f"search/{polytope}": (settings["search"][polytope], restarts) for polytope in section4.PAPER_POLYTOPES}
    runs |= {f"study/{steps}": (settings["study"], restarts) for steps in settings["study_steps"]}
    runs |= {
        f"map/{features}": (settings["map"] | {"features": features}, 1) for features in settings["map"]["features"]
    }
    for name, (chosen, restarts) in runs.items():
        assert results[f"{name}/inverse_density"].tolist() == chosen["inverse_density"]
        models = len(chosen["inverse_density"]) * restarts
        assert results[f"{name}/W"].shape == (models, chosen["hidden"], chosen["features"])
        assert results[f"{name}/benefit"].shape == (models,)
        assert (results[f"{name}/benefit"] < chosen["features"] / chosen["hidden"]).all()  # perfect models save all
    hidden, features = settings["started"]["hidden"], settings["started"]["features"]
    assert results["started/W"].shape == (len(settings["started"]["inverse_density"]), 5, hidden, features)
    assert results["started/benefit"].shape == results["started/W"].shape[:2]
    predicted = section4.optima(results)
    assert sorted(predicted) == sorted(settings["predicted"]["polytopes"])
    assert all(len(values) == len(settings["predicted"]["inverse_density"]) for o in predicted.values() for values in o)


def test_benefit_of_known_models():
    """Nothing represented saves nothing; three dedicated dimensions save three of four losses, one each dimension."""
    distribution = FeatureDistribution(torch.tensor([[0.7], [0.2]]), features=4)
    W = torch.eye(3, 4).repeat(2, 1, 1)
    b = torch.tensor([[0, 0, 0, 0.35], [0, 0, 0, 0.1]])
    perfect = section4.benefit(ReLUOutputModel.from_weights(W, b), distribution)
    assert perfect.tolist() == pytest.approx([1, 1], rel=0.02)
    nothing = ReLUOutputModel.from_weights(0 * W, distribution.density.float() / 2)
    assert section4.benefit(nothing, distribution, rows=64).tolist() == [0, 0]


def test_section4_nonuniform_results(quick, out):
    results, settings = cached(section4, out), nonuniform.QUICK
    densities, points = len(settings["perturbed"]["densities"]), settings["perturbed"]["points"]
    ratio = results["perturbed/ratio"]
    assert ratio.shape == (densities, points) and results["perturbed/W"].shape == (densities, points, 3, 2, 5)
    assert ratio[:, 0].tolist() == pytest.approx([0.01] * densities) and ratio[:, -1].tolist() == pytest.approx(
        [10, 10]
    )
    found = results["perturbed/loss"].isfinite()
    geometry = nonuniform.geometry_of(results["perturbed/W"].flatten(0, 2)).view_as(found)
    assert found.any() and (geometry == torch.arange(3))[found].all()
    line = results["perturbed/crossing/line"].long()
    assert len(line) and (ratio[line, 0] <= results["perturbed/crossing/ratio"]).all()
    ratios = len(range(0, points, nonuniform.SAMPLED_EVERY))
    assert results["perturbed/random/W"].shape == (densities, ratios, settings["perturbed"]["random_starts"], 2, 5)
    assert results["perturbed/sampled/loss"].shape == (ratios,)
    for case, (features, *_) in nonuniform.PAIRS.items():
        assert results[f"pairs/{case}/W"].shape == (2, settings["pairs"]["runs"], 2, features)
        assert results[f"pairs/{case}/sampled/W"].shape == (2, 2, features)
    assert results["sets/W"].shape == (2, settings["sets"]["runs"], 10, 20)
    counts = nonuniform.collapsed_pairs(results["collapse/W"].flatten(0, 1)).view(-1, 4)
    assert (counts == torch.arange(4))[results["collapse/loss"].isfinite()].all()
    low, high, points = settings["collapse"]["densities"]
    assert results["collapse/density"][[0, -1]].tolist() == pytest.approx([low, high]) and len(counts) == points


def held(section, results):
    return {claim.id: bool(claim.holds) for claim in section.claims(results)}


def assert_fails_only(section, results, *failing):
    assert held(section, results) == {claim: claim not in failing for claim in CLAIMS[section]}


# Claims of Section 2


def dedicated_and_pairs(hidden, features, pairs):
    """W of the most important features in dimensions of their own, and pairs in the remaining dimensions."""
    alone = hidden - pairs
    W = torch.eye(hidden, features)
    for k in range(pairs):
        W[alone + k] = 0
        W[alone + k, alone + 2 * k], W[alone + k, alone + 2 * k + 1] = 1, -1
    return W


def ideal2():
    """Results as the paper describes them, at three densities."""
    densities = torch.tensor([1.0, 0.1, 0.01])
    results = {"densities": densities}
    for size, shape in section2.SIZES.items():
        m, n = shape["hidden"], shape["features"]
        W = dedicated_and_pairs(m, n, 0).expand(3, m, n).clone()
        b = torch.where(torch.arange(n) < m, 0, densities[:, None] / 2)
        sparse = [dedicated_and_pairs(m, n, pairs) for pairs in (0, m // 5, 3 * m // 5)]
        results |= {f"{size}/linear/W": W, f"{size}/linear/b": b, f"{size}/relu/W": torch.stack(sparse)}
    return results


def change2(results, name, change, sizes=("n20", "n80")):
    for size in sizes:
        results[f"{size}/{name}"] = change(results[f"{size}/{name}"])


def triangles(W):
    """Three features in two dimensions in place of the first pair."""
    W = W.clone()
    W[1, :2] = 0
    W[1, :2, :3] = POLYTOPES["triangle"].vertices
    W[1, :2, 3:] = 0
    W[1, :, 3:] = torch.nn.functional.pad(torch.eye(W.shape[1] - 2), (0, W.shape[2] - W.shape[1] - 1, 2, 0))
    return W


def first_dense(W):
    """At density 1 other features than the most important."""
    return torch.cat((W[:1].roll(1, dims=2), W[1:]))


BROKEN2 = {  # how results differ from ideal ones -> what changes, how, and the claims that fail
    "linear weights too small": ("linear/W", lambda W: 0.9 * W, ["2.1"]),
    "linear features not the most important": ("linear/W", lambda W: W.roll(1, dims=2), ["2.1"]),
    "linear features not orthogonal": ("linear/W", lambda W: W + 0.2 * W.roll(1, dims=2), ["2.1"]),
    "no bias": ("linear/b", lambda b: 0 * b, ["2.1"]),
    "bias of represented features": ("linear/b", lambda b: b[:, -1:].expand_as(b), ["2.1"]),
    "dense features not the most important": ("relu/W", first_dense, ["2.2"]),
    "no growth": ("relu/W", lambda W: W[[0, 1, 1]], ["2.3"]),
    "the most important share first": ("relu/W", lambda W: torch.cat((W[:1], W[1:].flip(2))), ["2.3"]),
    "no superposition": ("relu/W", lambda W: W[[0, 0, 0]], ["2.3", "2.4"]),
    "triangles first": ("relu/W", lambda W: triangles(W), ["2.3", "2.4"]),
}


def test_section2_claims_hold_on_ideal_results():
    assert_fails_only(section2, ideal2())


def test_section2_claims_do_not_depend_on_the_hidden_basis():
    results = ideal2()
    for size, shape in section2.SIZES.items():
        turn = torch.linalg.qr(torch.randn(shape["hidden"], shape["hidden"], generator=torch.manual_seed(0)))[0]
        change2(results, "linear/W", lambda W, turn=turn: turn @ W, [size])
        change2(results, "relu/W", lambda W, turn=turn: turn @ W, [size])
    assert_fails_only(section2, results)


@pytest.mark.parametrize("name, change, failing", BROKEN2.values(), ids=BROKEN2)
def test_section2_claims_fail_on_broken_results(name, change, failing):
    results = ideal2()
    change2(results, name, change)
    assert_fails_only(section2, results, *failing, "2.5")
    # at n=80 alone it is the last claim that fails
    results = ideal2()
    change2(results, name, change, ["n80"])
    assert_fails_only(section2, results, "2.5")


# Claims of Section 3


def ideal3(points=6, restarts=3):
    """Every restart in the named solution that is best, but for a little noise, and that is the optimum too."""
    results = {}
    for case, (features, _) in section3.CASES.items():
        density, ratio = section3.grid(points)
        lowest, W = theory.best_named(features, density, ratio)
        loss = theory.named_losses(features, density, ratio).gather(1, lowest[:, None])
        results |= {
            f"{case}/density": density,
            f"{case}/ratio": ratio,
            f"{case}/W": W[:, None].repeat(1, restarts, 1, 1),
            f"{case}/loss": loss * torch.linspace(1.0001, 1.0003, restarts, dtype=torch.float64),
            f"{case}/settled": loss.repeat(1, restarts),
            f"{case}/optimum/W": W,
            f"{case}/optimum/loss": loss[:, 0],
        }
    line = torch.tensor([1.0, 0.3, 0.01], dtype=torch.float64)
    boundary = theory.Boundary(line, line / 2, line / 2, 0 * line, 0 * line + 0.6, 0 * line + 0.5)
    return results | {f"boundary/{name}": value for name, value in boundary._asdict().items()}


def spoil(results, case, restarts):
    """Some restarts end in a local minimum, where the last feature is represented the less."""
    W, loss = results[f"{case}/W"], results[f"{case}/loss"]
    W[:, restarts, :, -1] = 0
    loss[:, restarts] *= 2
    results[f"{case}/settled"][:, restarts] *= 2
    return results


def without_jump(results, *densities):
    for k in densities:
        results["boundary/after"][k] = results["boundary/before"][k]
        results["boundary/kink"][k] = 0
    return results


def only_one_solution(results):
    results["n3/W"][:] = torch.tensor(theory.NAMED_SOLUTIONS[3][3].W, dtype=torch.float64)
    return results


BROKEN3 = {  # how results differ from ideal ones -> the change and the claims that fail
    "the worst restart in a local minimum": (lambda r: spoil(r, "n2", [1]), []),
    "two restarts in local minima": (lambda r: spoil(r, "n2", [0, 1]), ["3.1"]),
    "all of n=2 in local minima": (lambda r: spoil(r, "n2", [0, 1, 2]), ["3.1", "3.2", "3.5"]),
    "all of n=3 in local minima": (lambda r: spoil(r, "n3", [0, 1, 2]), ["3.4", "3.5"]),
    "one solution of n=3": (only_one_solution, ["3.4", "3.5"]),
    "a smooth change at one density": (lambda r: without_jump(r, 1), ["3.3"]),
}


def test_section3_claims_hold_on_ideal_results():
    assert_fails_only(section3, ideal3())


@pytest.mark.parametrize("change, failing", BROKEN3.values(), ids=BROKEN3)
def test_section3_claims_fail_on_broken_results(change, failing):
    assert_fails_only(section3, change(ideal3()), *failing)


def test_averaged_discards_the_worst_restart():
    """Norms of the last feature 1, 0.6 and 0; the restart of highest loss does not count, wherever it stands."""
    W = torch.tensor([[[0.0, 1.0]], [[0.8, 0.6]], [[1.0, 0.0]]], dtype=torch.float64)
    results = {
        "n2/W": W.expand(3, 3, 1, 2),
        "n2/loss": torch.tensor([[1, 2, 3], [1, 3, 2], [3, 1, 2]], dtype=torch.float64),
    }
    norm, superposition = section3.averaged(results, "n2")
    assert norm.tolist() == pytest.approx([0.8, 0.5, 0.3])
    assert superposition.tolist() == pytest.approx([0.32, 0, 0.32])  # 0, 0.64 and 0
    assert section3.best(results, "n2")[0].tolist() == pytest.approx([1, 1, 0.6])
    assert section3.best_weights(results, "n2")[2].tolist() == [[0.8, 0.6]]


def test_agreement_counts_points():
    results = ideal3(points=4)
    assert section3.agreement(results, "n2", section3.best) == 1
    phases = theory.phase(*section3.optimal(results, "n2"))
    ignored = (phases == 0).double().mean().item()
    results["n2/W"][:, :, :, -1] = 0
    assert 0 < ignored < 1 and section3.agreement(results, "n2", section3.best) == pytest.approx(ignored)
    assert section3.phase_shares(results, "n2", section3.best).tolist() == [1, 0, 0]
    assert sum(section3.phase_shares(results, "n2", section3.optimal).tolist()) == pytest.approx(1)


def test_global_optimum_and_excess():
    """One restart in six ends in a local minimum of double the loss; noise is a hundredth of the optimum."""
    loss = theory.ignored_loss(1, torch.tensor([1.0, 0.1], dtype=torch.float64))
    settled = loss[:, None] * torch.tensor([[1, 1.0005, 2], [1, 1, 1]], dtype=torch.float64)
    results = {
        "n2/density": torch.tensor([1.0, 0.1], dtype=torch.float64),
        "n2/optimum/loss": loss,
        "n2/settled": settled,
        "n2/loss": settled + 0.01 * loss[:, None],
    }
    assert section3.in_global_optimum(results, "n2").tolist() == [[True, True, False], [True, True, True]]
    assert section3.excess(results, "n2") == pytest.approx(1.0005 / (1.0005 + 6 * 0.01))  # of six models
    results["n2/loss"] = results["n2/settled"] = loss[:, None].expand(2, 3)
    assert section3.excess(results, "n2") == 0  # nothing to share out


def test_grid_covers_the_diagram():
    density, ratio = section3.grid(5)
    assert density.view(5, 5)[:, 0].tolist() == pytest.approx([1, 10**-0.5, 0.1, 10**-1.5, 0.01])
    assert ratio.view(5, 5)[0].tolist() == pytest.approx([0.1, 10**-0.5, 1, 10**0.5, 10])
    assert density[0] == density[4] and ratio[0] == ratio[5]  # importance varies fastest


# Claims of Section 4


def product(*names, features=18):
    """W (6, features) of polytopes in spaces of their own, features without weights after them."""
    W = torch.block_diag(*(POLYTOPES[name].vertices for name in names))
    return torch.nn.functional.pad(W, (0, features - W.shape[1], 0, 6 - W.shape[0]))


PAPER = section4.PAPER_POLYTOPES
DEDICATED, DIGONS = product(*["dedicated dimension"] * 6), product(*["digon"] * 6)
IDEAL4 = [
    *[DEDICATED] * 3,
    product("tetrahedron", "tetrahedron"),
    product("triangle", "triangle", "triangle"),
    *[DIGONS] * 4,
    product("pentagon", "pentagon", "pentagon"),
    product("square antiprism", "square antiprism"),
    product("digon", "pentagon", "square antiprism"),
]


def results4(W, found=PAPER):
    """Results in which both sweeps end in the same weights, searches find what is said, and it is all predicted."""
    inverse_density = torch.logspace(0, 1.3, len(W), dtype=torch.float64)
    sweep = {"W": torch.stack(W), "inverse_density": inverse_density, "benefit": torch.ones(len(W))}
    results = {f"{name}/{key}": value for name in ("uniform", "long") for key, value in sweep.items()}
    for polytope in PAPER:
        models = [product(polytope, "digon") if k < 10 * (polytope in found) else DEDICATED for k in range(10)]
        results |= {f"search/{polytope}/W": torch.stack(models), f"search/{polytope}/inverse_density": torch.ones(1)}
    results["predicted/inverse_density"] = inverse_density
    results["started/inverse_density"] = inverse_density[[3, 9]]
    results["started/benefit"] = torch.tensor([[1.5, 1.2, 1.1, 1.1, 1.1], [1.0, 1.1, 1.2, 1.5, 1.3]])
    results["started/predicted"] = results["started/benefit"]
    for name, best in {"dedicated dimension": 1, **dict(zip(PAPER, (3, 4, 6.5, 9.5, 11)))}.items():
        away = (torch.arange(len(W)) - best).abs()
        results[f"predicted/{name}"] = torch.ones(4, len(W), dtype=torch.float64)
        results[f"predicted/{name}"][0] = 1.5 - 0.0005 * away  # hardly less away from where it is best
    return results | ideal_nonuniform()


def random_weights(W):
    return torch.randn(W.shape, generator=torch.manual_seed(0), dtype=W.dtype)


BROKEN4 = {  # weights at each density and the claims that fail
    "digons only": ([DIGONS] * 12, ["4.1", "4.2", "4.6"]),
    "no plateau of digons": (IDEAL4[:5] + [IDEAL4[9]] * 6 + IDEAL4[5:6] + IDEAL4[10:], ["4.1", "4.6"]),
    "no tetrahedra": ([w for k, w in enumerate(IDEAL4) if k != 3], ["4.2", "4.6"]),
    "triangles before tetrahedra": ([*IDEAL4[:3], IDEAL4[4], IDEAL4[3], *IDEAL4[5:]], ["4.6"]),
    "a dimension unused": ([*IDEAL4[:11], product("digon", "pentagon")], ["4.4"]),
    "no polytopes": ([random_weights(w) for w in IDEAL4], ["4.1", "4.2", "4.3", "4.4", "4.6"]),
}


def test_section4_claims_hold_on_ideal_results():
    assert_fails_only(section4, results4(IDEAL4))


@pytest.mark.parametrize("W, failing", BROKEN4.values(), ids=BROKEN4)
def test_section4_claims_fail_on_broken_results(W, failing):
    assert_fails_only(section4, results4(W, found=()), *failing, "4.5")
    # a search finds what a sweep did not
    assert_fails_only(section4, results4(W), *(claim for claim in failing if claim != "4.2"))


def test_section4_claims_fail_where_a_search_fails_or_the_prediction_is_far_off():
    assert_fails_only(section4, results4(IDEAL4, found=PAPER[1:]), "4.5")
    results = results4(IDEAL4)
    results["predicted/tetrahedron"][0] -= 0.03  # 2 % worse than triangles where it is found
    assert_fails_only(section4, results, "4.6")
    results = results4(IDEAL4)
    results["started/benefit"][1, 2] = 1.6  # better than the pentagons that are predicted, but no longer digons
    results["started/predicted"] = results["started/predicted"].clone()
    results["started/predicted"][1, 2] = 1.2
    assert_fails_only(section4, results)
    results["started/predicted"][1, 2] = 1.6  # digons, and better
    assert_fails_only(section4, results, "4.6")


def test_a_search_counts_restarts():
    results = results4(IDEAL4)
    assert section4.found(results, "pentagon") == (10, 10)
    results["search/pentagon/W"][:3] = DIGONS
    assert section4.found(results, "pentagon") == (7, 10)
    assert held(section4, results)["4.5"] is False
    results["search/pentagon/W"][:1] = product("pentagon")
    assert held(section4, results)["4.5"] is True


def test_shares_and_windows():
    results = results4(IDEAL4)
    shares = section4.shares(results, "long")
    assert shares["tetrahedron"].tolist() == [0] * 3 + [1] + [0] * 8
    assert shares["digon"].tolist() == pytest.approx([0] * 5 + [1] * 4 + [0, 0, 2 / 15])
    assert sum(shares.values()).tolist() == pytest.approx([1] * 12)
    windows = section4.measured_windows(results, "long")
    at = results["long/inverse_density"].tolist()
    assert windows["dedicated dimension"] == (at[0], at[2]) and windows["digon"] == (at[5], at[11])
    assert "irregular" not in windows


STICKY = {  # D* at each density -> whether it sticks at both levels
    "plateaus at both": ([1.0, 1.0, 0.99, 0.7, 0.52, 0.51, 0.5, 0.495, 0.3], True),
    "within 3%": ([1.02, 0.98, 0.975, 0.7, 0.51, 0.49, 0.488, 0.4, 0.3], True),
    "not within 3%": ([1.04, 0.96, 1.0, 0.7, 0.52, 0.48, 0.52, 0.48, 0.3], False),
    "a plateau at 1 only": ([1.0, 1.0, 1.0, 0.7, 0.6, 0.55, 0.45, 0.4, 0.3], False),
    "a plateau at 1/2 only": ([1.0, 0.9, 0.8, 0.7, 0.5, 0.5, 0.5, 0.4, 0.3], False),
    "interrupted": ([1.0, 1.0, 1.0, 0.5, 0.7, 0.5, 0.7, 0.5, 0.3], False),
}


@pytest.mark.parametrize("per_feature, holds", STICKY.values(), ids=STICKY)
def test_sticky(per_feature, holds):
    inverse_density = torch.logspace(0, 1.3, 9, dtype=torch.float64)  # neighbours are 1.45 apart
    assert section4._claim_sticky(inverse_density, torch.tensor(per_feature)).holds == holds


@pytest.mark.parametrize(
    "chosen, expected",
    [
        ("......", (1, 1)),
        ("xxxxxx", (1, 6)),
        (".xx...", (2, 3)),
        ("x..xxx", (4, 6)),
        ("xx.xxx", (1, 2)),  # longest by ratio, as on a logarithmic axis
        ("....xx", (5, 6)),
    ],
)
def test_longest_range(chosen, expected):
    inverse_density = torch.arange(1.0, 7)
    assert section4.longest_range(inverse_density, torch.tensor([mark == "x" for mark in chosen])) == expected


# Claims of Section 4 on non-uniform superposition

PENTAGON, HEXAGON = (POLYTOPES[name].vertices for name in ("pentagon", "hexagon"))
SQUARE = POLYTOPES["digon"].vertices.new_tensor([[1, 0, -1, 0], [0, 1, 0, -1]])
ARRANGED = {  # case -> features as the paper has them, and otherwise
    "4.8": (SQUARE, SQUARE[:, [0, 2, 1, 3]]),
    "4.9": (SQUARE[:, [0, 2, 1, 3]], SQUARE),
    "4.10": (HEXAGON, HEXAGON[:, [0, 2, 1, 3, 4, 5]]),
}


def pairs_in_the_plane(collapsed):
    """Three pairs, side by side on a hexagon, of which some have collapsed."""
    W = HEXAGON.clone()
    W[:, 1 : 2 * collapsed : 2] = W[:, 0 : 2 * collapsed : 2]
    return W


def ideal_nonuniform():
    """Results as the paper describes them, with the geometries that descent would find."""
    results = {}
    ratio = torch.logspace(-2, 1, 25, dtype=torch.float64).expand(2, -1)
    loss = torch.stack((ratio**0.5, ratio / 0.4**0.5, 5 * torch.ones_like(ratio)), dim=-1)
    loss[:, :2, 0] = torch.inf  # no pentagon where the feature is a hundred times sparser
    best = torch.stack([PENTAGON, nonuniform.DROPPED])[loss[:, ::4].argmin(dim=2)]  # (densities, ratios, 2, 5)
    results["perturbed"] = {
        "density": torch.tensor([0.05, 0.1], dtype=torch.float64),
        "ratio": ratio,
        "W": torch.stack([PENTAGON, nonuniform.DROPPED, nonuniform.KEPT]).expand(2, 25, -1, -1, -1).clone(),
        "loss": loss,
        "crossing/line": torch.tensor([0, 1, 1]),
        "crossing/position": torch.tensor([12.8, 12.8, 21.6], dtype=torch.float64),
        "crossing/below": torch.tensor([1, 1, 0]),
        "crossing/above": torch.tensor([0, 0, 2]),
        "crossing/ratio": torch.tensor([0.4, 0.4, 5], dtype=torch.float64),
        "random/W": best[:, :, None].repeat(1, 1, 2, 1, 1),
        "random/loss": loss[:, ::4].amin(dim=2)[..., None].repeat(1, 1, 2),
        "sampled/W": best[0],
        "sampled/loss": 1.01 * loss[0, ::4].amin(dim=1),
    }
    results["pairs"] = {"density": torch.tensor([0.02, 0.2], dtype=torch.float64)}
    for case, (ideal, other) in ARRANGED.items():
        results["pairs"] |= {
            f"{case}/W": torch.stack([ideal, other, ideal]).repeat(2, 1, 1, 1),
            f"{case}/loss": torch.tensor([[0.01, 0.02, 0.01]] * 2, dtype=torch.float64),
            f"{case}/sampled/W": ideal.repeat(2, 1, 1),
        }
    turns = [torch.linalg.qr(torch.randn(10, 10, generator=torch.manual_seed(k)))[0] for k in range(4)]
    W = torch.stack([torch.cat((turns[0], turn), dim=1) for turn in turns[1:]])
    results["sets"] = {"density": torch.tensor([0.02, 0.5], dtype=torch.float64), "W": torch.stack((W, W))}
    density = 0.02 * 1.15 ** torch.arange(28, dtype=torch.float64)
    boundaries = torch.tensor(nonuniform.PAPER_COLLAPSES, dtype=torch.float64)
    counts = torch.bucketize(density, boundaries)
    apart = (counts[:, None] - torch.arange(4)).abs()
    pairs = FeatureDistribution(density[:, None], features=6, set_size=2, correlation="correlated")
    principal = theory.principal_components_loss(pairs, 2)
    results["collapse"] = {
        "density": density,
        "W": torch.stack([pairs_in_the_plane(k) for k in range(4)]).expand(28, -1, -1, -1).clone(),
        "loss": (principal * (density / 0.5).clamp(max=1))[:, None] * (1 + 0.1 * apart),
        "crossing/density": boundaries,
        "crossing/above": torch.tensor([1, 2, 3]),
        "sampled/W": torch.stack([pairs_in_the_plane(k) for k in counts[:: nonuniform.SAMPLED_EVERY].tolist()]),
        "sampled/loss": (1.01 * principal * (density / 0.5).clamp(max=1))[:: nonuniform.SAMPLED_EVERY],
    }
    return {f"{name}/{key}": value for name, part in results.items() for key, value in part.items()}


def shaken(W):
    """Every other pentagon is stretched: no smooth deformation."""
    W[:, ::2, 0] *= 1.3
    return W


def leaning(case):
    """The paper's arrangement at the first density only."""
    ideal, other = ARRANGED[case]
    return lambda W: torch.stack([torch.stack([ideal, other, ideal]), torch.stack([other, other, ideal])])


def change_of(value, *at):
    def change(tensor):
        tensor[at] = value
        return tensor

    return change


BROKEN_NONUNIFORM = {  # how results differ from ideal ones -> what changes, how, and the claim that fails
    "a crossing elsewhere": ("perturbed/crossing/ratio", change_of(0.27, 0), "4.7"),
    "no crossing": ("perturbed/crossing/line", change_of(1, 0), "4.7"),
    "a crossing that was not located": ("perturbed/crossing/ratio", change_of(torch.nan, 0), "4.7"),
    "a pentagon that jumps": ("perturbed/W", shaken, "4.7"),
    "other optima of correlated pairs": ("pairs/4.8/W", leaning("4.8"), "4.8"),
    "other optima of anticorrelated pairs": ("pairs/4.9/W", leaning("4.9"), "4.9"),
    "other optima of three pairs": ("pairs/4.10/W", leaning("4.10"), "4.10"),
    "another arrangement as good": ("pairs/4.9/loss", change_of(0.010001, 1, 1), "4.9"),
    "features not represented": ("pairs/4.8/W", lambda W: 0.4 * W, "4.8"),
    "features of a set not orthogonal": ("sets/W", lambda W: W + 0.4, "4.11"),
    "one set not represented": ("sets/W", lambda W: torch.cat((W[..., :10], 0.3 * W[..., 10:]), dim=3), "4.11"),
    "boundaries elsewhere": ("collapse/crossing/density", change_of(0.4, 2), "4.12"),
    "a number of pairs left out": ("collapse/loss", lambda loss: loss + torch.tensor([0, 9, 0, 0]), "4.12"),
}


@pytest.mark.parametrize("name, change, failing", BROKEN_NONUNIFORM.values(), ids=BROKEN_NONUNIFORM)
def test_nonuniform_claims_fail_on_broken_results(name, change, failing):
    results = results4(IDEAL4)
    results[name] = change(results[name])
    assert_fails_only(section4, results, failing)


def test_nonuniform_figures_of_ideal_results():
    for name, figure in nonuniform.figures(ideal_nonuniform()).items():
        figure.canvas.draw()
        assert name in FIGURES[section4]


def test_snap_and_lasts_by_hand():
    results = ideal_nonuniform()
    assert nonuniform.snap(results).tolist() == [0.4, 0.4]  # the sparser of two crossings at the second density
    ratio = results["perturbed/ratio"][0]
    assert nonuniform.lasts(results, "pentagon").tolist() == [pytest.approx([ratio[2].item(), 10])] * 2
    results["perturbed/crossing/below"][0] = 2
    assert torch.equal(nonuniform.snap(results).isnan(), torch.tensor([True, False]))


GEOMETRIES = {  # weights -> index of the geometry
    "pentagon": (PENTAGON, 0),
    "stretched pentagon": (torch.tensor([[1.3], [0.8]]) * PENTAGON, 0),
    "digons without feature 0": (nonuniform.DROPPED + 0.05 * PENTAGON, 1),
    "digons with it": (nonuniform.KEPT, 2),
    "four features that are not antipodal": (PENTAGON * torch.tensor([0, 1, 1, 1, 1]), 3),
    "one digon": (nonuniform.KEPT * torch.tensor([1, 1, 0, 0, 0]), 3),
}


@pytest.mark.parametrize("W, expected", GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometry_of(W, expected):
    assert nonuniform.geometry_of(W[None]).tolist() == [expected]


def test_meets_principal_is_interpolated():
    """A gap that shrinks in proportion to log density, from 4 % to none: 1 % at three quarters of the way."""
    density = torch.tensor([0.1, 0.2, 0.4, 0.8, 1.0], dtype=torch.float64)
    pairs = FeatureDistribution(density[:, None], features=6, set_size=2, correlation="correlated")
    below = torch.tensor([0.1, 0.06, 0.04, 0, 0], dtype=torch.float64)
    loss = (theory.principal_components_loss(pairs, 2) * (1 - below))[:, None].expand(-1, 4)
    results = {"collapse/density": density, "collapse/loss": loss}
    assert nonuniform.meets_principal(results) == pytest.approx(0.4 * 2**0.75)
    assert nonuniform.meets_principal({**results, "collapse/loss": loss / 2}) is torch.nan


def test_around_forgets_the_order_of_features():
    order = torch.tensor([0, 3, 1, 4, 2])
    torch.testing.assert_close(nonuniform.around(PENTAGON[:, order][None]), PENTAGON[None])
