"""The cache, the command line and the table of claims, with a small section made up for the purpose."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

import sweeps
from claims import Claim, table

NAME = "Section9main"
CODE = "def run(x):\n    return x + 1\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of small modules in place of the repository's."""
    home = tmp_path / "home"
    home.mkdir()
    for name, code in ((NAME, CODE), ("training", "STEPS = 1\n"), ("claims", "A = 1\n"), ("Section8main", "B = 1\n")):
        (home / f"{name}.py").write_text(code)
    monkeypatch.setattr(sweeps, "HOME", home)
    return home


class Section:
    """A section whose run is counted."""

    def __init__(self, home):
        self.__doc__ = "Section 9: a section made up."
        self.__file__ = str(home / f"{NAME}.py")
        self.SETTINGS, self.QUICK = {"steps": 100}, {"steps": 2}
        self.runs = []

    def run(self, settings, seed, device, progress):
        self.runs.append((settings, seed, device))
        return {"losses": torch.arange(settings["steps"], dtype=torch.float64) + seed, "W": torch.ones(2, 3).mT}

    def figures(self, results):
        def save(path, dpi, format):
            with open(path, "w") as file:
                file.write(f"{len(results['losses'])} losses at {dpi} dpi, {format}")

        return {"section9-losses": SimpleNamespace(savefig=save)}

    def claims(self, results):
        steps = len(results["losses"])
        return [Claim("9.1", "Steps are many.", "100", str(steps), steps == 100)]


def counted(value):
    """A computation of a result, and the list of its calls."""
    calls = []

    def compute():
        calls.append(value)
        return {"losses": torch.tensor(value)}

    return compute, calls


# Cached results


def test_cached_computes_once(home, tmp_path):
    compute, calls = counted([1.5, 2.5])
    first = sweeps.cached(NAME, {"seed": 0}, compute, tmp_path / "results")
    again = sweeps.cached(NAME, {"seed": 0}, compute, tmp_path / "results")
    assert len(calls) == 1
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    assert again["losses"].tolist() == [1.5, 2.5]
    (path,) = (tmp_path / "results").iterdir()
    assert path.name.startswith(f"{NAME}-") and path.suffix == ".safetensors"


def test_fresh_computes_anew(home, tmp_path):
    sweeps.cached(NAME, {}, counted([1.0])[0], tmp_path)
    assert sweeps.cached(NAME, {}, counted([2.0])[0], tmp_path)["losses"].item() == 1
    assert sweeps.cached(NAME, {}, counted([3.0])[0], tmp_path, fresh=True)["losses"].item() == 3
    assert sweeps.cached(NAME, {}, counted([4.0])[0], tmp_path)["losses"].item() == 3


@pytest.mark.parametrize(
    "other",
    [
        {"settings": {"steps": 2, "lr": 0.1}, "seed": 1, "device": "cpu"},
        {"settings": {"steps": 3, "lr": 0.1}, "seed": 0, "device": "cpu"},
        {"settings": {"steps": 2, "lr": 0.1}, "seed": 0, "device": "cuda"},
    ],
    ids=["seed", "setting", "device"],
)
def test_each_configuration_has_its_own_file(home, tmp_path, other):
    configuration = {"settings": {"steps": 2, "lr": 0.1}, "seed": 0, "device": "cpu"}
    reordered = {"device": "cpu", "seed": 0, "settings": {"lr": 0.1, "steps": 2}}
    folder = tmp_path / "results"
    sweeps.cached(NAME, configuration, counted([1.0])[0], folder)
    assert sweeps.cached(NAME, other, counted([2.0])[0], folder)["losses"].item() == 2
    assert sweeps.cached(NAME, reordered, counted([3.0])[0], folder)["losses"].item() == 1
    assert len(list(folder.iterdir())) == 2


def test_cached_file_says_what_it_is(home, tmp_path):
    sweeps.cached(NAME, {"seed": 7}, counted([1.0])[0], tmp_path / "results")
    (path,) = (tmp_path / "results").iterdir()
    with safe_open(path, "pt") as file:
        configuration = json.loads(file.metadata()["configuration"])
    assert configuration == {"seed": 7, "code": sweeps.code_digest(NAME)}


def test_cached_keeps_gradients_and_strides_out(home, tmp_path):
    W = torch.arange(6.0).view(2, 3).requires_grad_()
    for _ in range(2):
        results = sweeps.cached(NAME, {}, lambda: {"W": W.mT}, tmp_path / "results")
        assert results["W"].tolist() == [[0, 3], [1, 4], [2, 5]] and not results["W"].requires_grad


def test_a_failed_computation_is_not_cached(home, tmp_path):
    def fail():
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        sweeps.cached(NAME, {}, fail, tmp_path / "results")
    assert sweeps.cached(NAME, {}, counted([1.0])[0], tmp_path / "results")["losses"].item() == 1


EDITS = {  # edit of a file -> whether the digest of NAME changes
    "comment": (NAME, "# why\n" + CODE, False),
    "layout": (NAME, "def run( x ):\n\n    return (x\n       + 1)\n", False),
    "code": (NAME, CODE.replace("1", "2"), True),
    "shared module": ("training", "STEPS = 2\n", True),
    "comment of a shared module": ("training", "STEPS = 1  # one\n", False),
    "new shared module": ("theory", "C = 1\n", True),
    "presentation": ("claims", "A = 2\n", False),
    "another section": ("Section8main", "B = 2\n", False),
}


@pytest.mark.parametrize("module, code, changes", EDITS.values(), ids=EDITS)
def test_code_digest(home, tmp_path, module, code, changes):
    before = sweeps.code_digest(NAME)
    assert sweeps.code_digest(NAME) == before
    sweeps.cached(NAME, {}, counted([1.0])[0], tmp_path / "results")
    (home / f"{module}.py").write_text(code)
    assert (sweeps.code_digest(NAME) != before) == changes
    assert sweeps.cached(NAME, {}, counted([2.0])[0], tmp_path / "results")["losses"].item() == (2 if changes else 1)


# Files


def test_atomically_writes_the_file_and_its_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    for text in ("first", "second"):

        def write(temporary, text=text):
            assert temporary != str(path)
            with open(temporary, "w") as file:
                file.write(text)

        sweeps.atomically(path, write)
        assert path.read_text() == text and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, "kept"])
def test_an_interrupted_write_leaves_nothing(tmp_path, error, before):
    path = tmp_path / "file.txt"
    if before:
        path.write_text(before)

    def write(temporary):
        with open(temporary, "w") as file:
            file.write("half")
        raise error

    with pytest.raises(error):
        sweeps.atomically(path, write)
    assert list(tmp_path.iterdir()) == ([path] if before else [])
    assert not before or path.read_text() == before


# The command line


def test_default_arguments(home):
    arguments = sweeps.parse_arguments("A section.", [])
    expected = {"quick": False, "seed": 0, "device": "cpu", "out": home, "fresh": False}
    assert vars(arguments) == expected
    assert sweeps.parse_arguments("A section.", ["--quick"]).out == home / "results" / "quick"


def test_given_arguments(tmp_path):
    given = ["--quick", "--fresh", "--seed", "2147483647", "--device", "cpu", "--out", str(tmp_path / "new")]
    arguments = vars(sweeps.parse_arguments("A section.", given))
    assert arguments == {"quick": True, "fresh": True, "seed": 2**31 - 1, "device": "cpu", "out": tmp_path / "new"}


SEED_EXPECTED = "--seed: expected a whole number from 0 to 2147483647, got '{}'"
BAD_ARGUMENTS = {
    "seed no number": (["--seed", "one"], SEED_EXPECTED.format("one")),
    "seed not whole": (["--seed", "1.5"], SEED_EXPECTED.format("1.5")),
    "seed negative": (["--seed=-1"], SEED_EXPECTED.format("-1")),
    "seed too large": (["--seed", "2147483648"], SEED_EXPECTED.format("2147483648")),
    "seed empty": (["--seed", ""], SEED_EXPECTED.format("")),
    "seed missing": (["--seed"], "--seed: expected one argument"),
    "device unknown": (["--device", "tpu"], "--device: invalid choice: 'tpu' (choose from"),
    "unknown option": (["--fast"], "unrecognized arguments: --fast"),
    "stray word": (["quick"], "unrecognized arguments: quick"),
}


@pytest.mark.parametrize("argv, message", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_arguments(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        sweeps.parse_arguments("A section.", argv)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("inside", ["", "folder"])
def test_out_must_be_a_folder(tmp_path, capsys, inside):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        sweeps.parse_arguments("A section.", ["--out", str(tmp_path / "file" / inside)])
    assert stop.value.code == 2
    assert "--out: expected a folder, got" in capsys.readouterr().err


def test_cuda_must_be_there(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert sweeps.parse_arguments("A section.", ["--device", "cuda"]).device == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        sweeps.parse_arguments("A section.", ["--device", "cuda"])
    assert stop.value.code == 2
    assert "--device: expected a machine with CUDA" in capsys.readouterr().err


# A section


def test_section_main(home, tmp_path, capsys):
    section, out = Section(home), tmp_path / "out"
    argv = ["--quick", "--seed", "3", "--out", str(out)]
    assert sweeps.section_main(section, argv) == 0
    printed = capsys.readouterr().out
    assert section.runs == [({"steps": 2}, 3, "cpu")]
    assert (out / "figures" / "section9-losses.png").read_text() == "2 losses at 110 dpi, png"
    assert "Steps are many." in printed and "0 of 1 claims hold" in printed
    files = sorted(path.relative_to(out).parts[0] for path in out.rglob("*.*"))
    assert files == ["figures", "results"]

    assert sweeps.section_main(section, argv) == 0  # from the cache
    assert len(section.runs) == 1 and capsys.readouterr().out == printed
    assert sweeps.section_main(section, [*argv, "--fresh"]) == 0
    assert len(section.runs) == 2
    assert sweeps.section_main(section, ["--out", str(out)]) == 0  # other settings and seed
    assert section.runs[2] == ({"steps": 100}, 0, "cpu")
    assert "1 of 1 claims hold" in capsys.readouterr().out


def test_section_results_are_those_of_the_arguments(home, tmp_path):
    section = Section(home)
    for seed in (1, 2, 1):
        arguments = sweeps.parse_arguments("", ["--quick", "--seed", str(seed), "--out", str(tmp_path / "out")])
        assert sweeps.section_results(section, arguments)["losses"].tolist() == [seed, seed + 1]
    assert [seed for _, seed, _ in section.runs] == [1, 2]


def test_help_tells_what_the_section_is(home, capsys):
    with pytest.raises(SystemExit) as stop:
        sweeps.section_main(Section(home), ["--help"])
    assert stop.value.code == 0
    assert "Section 9: a section made up." in capsys.readouterr().out


# Claims


def test_table():
    claims = [
        Claim("2.1", "Sparse features go into superposition.", "all of them", "20 of 20", True),
        Claim("2.2", "Dense ones do not.", "two dimensions", "3", False),
    ]
    lines = table(claims, widths=(20, 11, 8)).splitlines()
    assert lines == [
        "claim  statement             paper        measured  holds",
        "-----  --------------------  -----------  --------  -----",
        "2.1    Sparse features go    all of them  20 of 20  yes",
        "       into superposition.",
        "2.2    Dense ones do not.    two          3         NO",
        "                             dimensions",
        "",
        "1 of 2 claims hold",
    ]


def test_table_loses_no_word():
    long = " ".join(f"word{k}" for k in range(60))
    lines = table([Claim("3.14", long, long, "", True)]).splitlines()[2:-2]
    assert sorted(" ".join(lines).split()) == sorted([*long.split(), *long.split(), "3.14", "yes"])
    assert max(map(len, lines)) <= 5 + 44 + 30 + 44 + 5 + 4 * 2


def test_table_of_no_claims():
    assert table([]).splitlines()[-1] == "0 of 0 claims hold"
