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

import scorecard
import Section2main as section2
import Section3main as section3
import Section4main as section4
import theory
from geometry import POLYTOPES

matplotlib.use("Agg")

HOME = Path(scorecard.__file__).parent
CLAIMS = {  # section -> its claims
    section2: ["2.1", "2.2", "2.3", "2.4", "2.5"],
    section3: ["3.1", "3.2", "3.3", "3.4", "3.5"],
    section4: ["4.1", "4.2", "4.3", "4.4"],
}
FIGURES = {
    section2: ["section2-introduction", "section2-n20", "section2-n80", "section2-represented"],
    section3: ["section3-boundary", "section3-n2", "section3-n3", "section3-study"],
    section4: ["section4-graphs", "section4-uniform"],
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
    assert results["W"].shape == (settings["points"], settings["hidden"], settings["features"])
    inverse_density = results["inverse_density"]
    assert inverse_density[0] == 1 and inverse_density[-1].item() == pytest.approx(settings["sparsest"])
    assert (inverse_density.log().diff() > 0).all() and inverse_density.log().diff(n=2).abs().max() < 1e-9


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


def results4(W):
    W = torch.stack(W)
    return {"W": W, "inverse_density": torch.logspace(0, 1.3, len(W), dtype=torch.float64)}


def random_weights(W):
    return torch.randn(W.shape, generator=torch.manual_seed(0), dtype=W.dtype)


BROKEN4 = {  # weights at each density and the claims that fail
    "digons only": ([DIGONS] * 12, ["4.1", "4.2"]),
    "no plateau of digons": (IDEAL4[:5] + [IDEAL4[9]] * 6 + IDEAL4[5:6] + IDEAL4[10:], ["4.1"]),
    "no tetrahedra": ([w for k, w in enumerate(IDEAL4) if k != 3], ["4.2"]),
    "a dimension unused": ([*IDEAL4[:11], product("digon", "pentagon")], ["4.4"]),
    "no polytopes": ([random_weights(w) for w in IDEAL4], ["4.1", "4.2", "4.3", "4.4"]),
}


def test_section4_claims_hold_on_ideal_results():
    assert_fails_only(section4, results4(IDEAL4))


@pytest.mark.parametrize("W, failing", BROKEN4.values(), ids=BROKEN4)
def test_section4_claims_fail_on_broken_results(W, failing):
    assert_fails_only(section4, results4(W), *failing)


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
