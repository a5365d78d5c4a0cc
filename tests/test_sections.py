"""The sections and the scorecard through their command lines, with quick settings."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from PIL import Image

import Autoencodersmain
import scorecard
import Section2main as section2
import Section3main as section3
import Section4main as section4
import Section5main as section5
import Section6main as section6
import Section7main as section7
import Section8main as section8
import Variationsmain
from sweeps.claims import OUR_WORDS

HOME = Path(scorecard.__file__).parent
CLAIMS = {  # section -> its claims
    section2: ["2.1", "2.2", "2.3", "2.4", "2.5"],
    section3: ["3.1", "3.2", "3.3", "3.4", "3.5"],
    section4: [f"4.{k}" for k in range(1, 13)],
    section5: ["5.1", "5.2"],
    section6: ["6.1", "6.2"],
    section7: ["7.1", "7.2"],
    section8: ["8.1", "8.2", "8.3"],
    Autoencodersmain: [f"A.{k}" for k in range(1, 7)],
    Variationsmain: ["V.1", "V.2", "V.3", "V.4", "V.5", "V.6", "V.7"],
}
FIGURES = {
    section2: "first introduction n20 n80 pentagon represented",
    section3: "boundary longer n2 n3 study",
    section4: "collapse dense grey long map pairs perturbed predicted sets study table uniform",
    section5: "jumps octahedron plateau stages",
    section6: "training vulnerability",
    section7: "alignment neurons steps",
    section8: "motif neurons sides",
    Autoencodersmain: "found preferred",
    Variationsmain: "ablations computations dropout-polytopes dropout gelu-neurons gelu-phases "
    "gelu graded unequal values",
}
each_section = pytest.mark.parametrize("section", CLAIMS, ids=lambda section: section.__name__)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A folder, and section -> exit status of its quick run into it."""
    folder = tmp_path_factory.mktemp("out")
    return folder, {
        section: section.main(["--quick", "--jobs", "1", "--out", str(folder)])
        for section in CLAIMS
    }


def claim_ids(table):
    """What the headings of claims begin with."""
    return re.findall(r"^Claim (\w\.\d+), ", table, flags=re.MULTILINE)


def assert_describes(text):
    """A sentence that a screen reader can read instead of the figure."""
    assert re.fullmatch(r"[A-Z][^$\\\n]{50,500}\.", text) and "nan" not in text, text


@each_section
def test_quick_run(section, quick, capsys, monkeypatch):
    """It ends well and draws all figures, each with a sentence; a second run computes nothing."""
    folder, status = quick
    assert status[section] == 0
    begin = (
        section.__name__.lower().removesuffix("main").removesuffix("s")
    )  # as in section4-map, autoencoder-found
    drawn = sorted((folder / "figures").glob(f"{begin}-*"))
    assert [path.stem for path in drawn] == [f"{begin}-{name}" for name in FIGURES[section].split()]
    for path in drawn:
        pixels = plt.imread(path)  # an image, or this fails
        assert pixels.shape[1] > (800 if path.suffix == ".png" else 400) and pixels.std() > 0.01
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert_describes(image.text["Description"])
    for experiment in section.EXPERIMENTS.values():
        monkeypatch.setattr(
            experiment.module, "run", lambda *_, **__: pytest.fail("computed again")
        )
    monkeypatch.setattr(section, "figures", lambda results: {})
    assert section.main(["--quick", "--jobs", "1", "--out", str(folder)]) == 0
    assert claim_ids(capsys.readouterr().out) == CLAIMS[section]


def test_scorecard_has_all_claims(quick, capsys, tmp_path):
    folder, _ = quick
    file = tmp_path / "scorecard.json"
    assert (
        scorecard.main(["--quick", "--jobs", "1", "--out", str(folder), "--json", str(file)]) == 0
    )
    every_claim = [claim for ids in CLAIMS.values() for claim in ids]
    assert claim_ids(capsys.readouterr().out) == every_claim
    entries = json.loads(file.read_text(encoding="utf-8"))
    assert [entry["id"] for entry in entries] == every_claim
    for entry in entries:
        assert entry["statement"] and entry["paper"] and entry["seen"]
        assert entry["verdict"] in OUR_WORDS
        for finding in entry["findings"]:
            assert len(finding["holds"]) == len(finding["evidence"]) == 1
            assert finding["sentence"].endswith(".")
            assert finding["numbers"], finding["sentence"]
            assert all(len(values) == 1 for values in finding["numbers"].values())


@pytest.mark.parametrize("script", [*(section.__name__ for section in CLAIMS), "scorecard"])
def test_script_refuses_bad_arguments(script):
    command = [sys.executable, HOME / f"{script}.py", "--quick", "--seed", "one"]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert run.returncode == 2
    assert "--seed: expected a whole number" in run.stderr and run.stdout == ""


@pytest.mark.parametrize("script", ["Section2main", "Autoencodersmain", "scorecard", "zoo"])
def test_interrupted_while_torch_is_imported(script, tmp_path):
    """Ctrl-C ends a script without a traceback."""
    torch = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    (tmp_path / "torch.py").write_text(torch, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, HOME / f"{script}.py"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == -signal.SIGINT
