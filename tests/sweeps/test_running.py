"""Sweeps of a made-up section: resumed, parallel, interrupted, on a cluster; the command line."""

import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import joblib
import made_up
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import Settings
from matplotlib import pyplot as plt
from matplotlib.animation import FuncAnimation
from safetensors.torch import load
from tqdm import tqdm

from sweeps import command_line, running, section_main, sweep
from sweeps.cells import Cell
from sweeps.figures import save_figure
from sweeps.sections import section_cells, section_results

SCRIPT = Path(made_up.__file__)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(command_line.HOME)}


def main(made_up_settings, *arguments):
    """The command line of the made-up section."""
    return section_main(
        made_up.section(made_up_settings), [str(argument) for argument in arguments]
    )


def started(made_up_settings, *arguments):
    """The same in processes of its own."""
    environment = ENVIRONMENT | {"MADE_UP": json.dumps(asdict(made_up_settings))}
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env=environment, cwd=command_line.HOME, start_new_session=True,
        # A shell may have left Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def tensors(out):
    """The tensors of every file of a sweep."""
    return {
        path.name: load(path.read_bytes()) for path in sorted(out.glob("results/*.safetensors"))
    }


def runs(log):
    """(cell, seed) of every run of the made-up experiment, in order."""
    lines = (
        [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
        if log.exists()
        else []
    )
    return [(int(cell), int(seed)) for cell, seed, *_ in lines]


def ended(process, seconds=60):
    """Exit status and what it has printed on stdout and stderr."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


VERDICTS = "Of the paper's 1 claim: 1 reproduced. Of our own 1 claim: 1 does not hold."


# What is run


def test_a_section_writes_figures_and_prints_claims(tmp_path, capsys):
    assert main(Settings(cells=2), "--out", tmp_path, "--jobs", 1) == 0
    printed = capsys.readouterr()
    assert "Claim 9.1, reproduced: Values are drawn" in printed.out
    assert printed.out.endswith(VERDICTS + "\n")
    assert [path.name for path in tmp_path.rglob("*.png")] == ["section9.png"]
    assert (
        (tmp_path / "figures" / "section9.png")
        .read_text(encoding="utf-8")
        .endswith("at 120 dpi, png")
    )
    assert len(tensors(tmp_path)) == 4


def test_figures_as_svg(tmp_path, capsys):
    assert main(Settings(cells=2), "--out", tmp_path, "--jobs", 1, "--format", "svg") == 0
    (path,) = (tmp_path / "figures").glob("section9.*")
    assert path.name == "section9.svg" and path.read_text(encoding="utf-8").endswith("svg")
    with pytest.raises(SystemExit) as refused:
        main(Settings(cells=2), "--out", tmp_path, "--format", "pdf")
    assert refused.value.code == 2 and "--format" in capsys.readouterr().err


def test_svg_has_the_same_bytes_each_time_and_an_animation_is_a_gif(tmp_path):
    def save(folder):
        figure, ax = plt.subplots()
        ax.plot([0, 1], label="curve")
        ax.legend()
        save_figure(figure, tmp_path / folder, "one", "svg")
        save_figure(
            FuncAnimation(figure, lambda frame: None, frames=2), tmp_path / folder, "moving", "svg"
        )
        plt.close(figure)
        return (tmp_path / folder / "one.svg").read_bytes()

    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    assert save("first") == save("second")
    assert (
        b"<svg" in save("first")
        and b"dc:date" not in save("first")
        and b"<text" not in save("first")
    )
    assert (tmp_path / "first" / "moving.gif").read_bytes().startswith(b"GIF")


def test_results_come_by_name_shards_joined_and_several_settings_in_a_tuple(tmp_path):
    section = made_up.section(Settings(cells=3))
    parser = command_line.argument_parser(__file__, "")
    arguments = command_line.parse_arguments(parser, ["--out", str(tmp_path), "--seed", "5"])
    sweep(section_cells(section, arguments, 5), tmp_path / "results", jobs=1)
    results = section_results(section, arguments, 5)
    assert vars(results).keys() == {"one", "two"}
    parts = [made_up.run(shard, seed=5) for shard in made_up.shards(Settings(cells=3))]
    torch.testing.assert_close(results.one, made_up.joined(parts), rtol=0, atol=0)
    assert [two.values.shape for two in results.two] == [(3, 3), (3, 5)]


def test_quick_runs_quick_settings(tmp_path, capsys):
    assert main(Settings(cells=100), "--out", tmp_path, "--quick", "--jobs", 1) == 0
    assert len(tensors(tmp_path)) == 3


def test_several_seeds(tmp_path, capsys, log):
    assert (
        main(Settings(log=str(log)), "--out", tmp_path, "--seed", 3, "--seeds", 3, "--jobs", 1) == 0
    )
    assert {seed for _, seed in runs(log)} == {3, 4, 5}
    printed = capsys.readouterr().out
    assert " ".join(printed.split()).endswith(
        "Of the paper's 1 claim with 3 seeds: 1 reproduced. "
        "Of our own 1 claim with 3 seeds: 1 does not hold."
    )
    values = sorted(made_up.run(Settings(), seed=seed).values[0, 0].item() for seed in (3, 4, 5))
    assert "The value is {1:.4g} [{0:.4g}, {2:.4g}].".format(*values) in printed
    first = made_up.run(Settings(), seed=3).values.tolist()
    assert (tmp_path / "figures" / "section9.png").read_text(
        encoding="utf-8"
    ) == f"{first} at 120 dpi, png"


def test_what_is_drawn_alone_is_of_the_first_seed(tmp_path, log):
    section = made_up.section(Settings(log=str(log)))
    section.EXPERIMENTS["two"] = section.EXPERIMENTS["two"]._replace(drawn=True)
    section.claims = lambda results: [made_up.of_one_number("9.1", len(vars(results)))]
    assert section_main(section, ["--out", str(tmp_path), "--seeds", "2", "--jobs", "1"]) == 0
    assert [len([run for run in runs(log) if run[1] == seed]) for seed in (0, 1)] == [2, 1]


def test_what_is_finished_is_not_run_again(tmp_path, log):
    for _ in range(2):
        assert main(Settings(cells=2, log=str(log)), "--out", tmp_path, "--jobs", 1) == 0
    assert sorted(runs(log)) == [(0, 0), (0, 0), (1, 0), (1, 0)]  # two runs of two shards
    assert main(Settings(cells=2, log=str(log)), "--out", tmp_path, "--jobs", 1, "--seeds", 2) == 0
    assert len(runs(log)) == 8
    (next((tmp_path / "results").iterdir())).unlink()
    assert main(Settings(cells=2, log=str(log)), "--out", tmp_path, "--jobs", 1, "--seeds", 2) == 0
    assert len(runs(log)) == 9


def test_what_takes_most_steps_is_run_first(tmp_path, log):
    cells = [
        Cell(made_up, Settings(cell=cell, steps=10 * cell, log=str(log)), 0, "cpu")
        for cell in (2, 0, 3, 1)
    ]
    sweep(cells, tmp_path, jobs=1)
    assert runs(log) == [(3, 0), (2, 0), (1, 0), (0, 0)]


def test_fresh_runs_all_again(tmp_path, log):
    for _ in range(2):
        assert main(Settings(log=str(log)), "--out", tmp_path, "--jobs", 1, "--fresh") == 0
    assert len(runs(log)) == 4


def test_without_chance_it_is_run_once(tmp_path, log, monkeypatch):
    monkeypatch.setattr(made_up, "SEEDED", False, raising=False)
    assert (
        main(Settings(log=str(log)), "--out", tmp_path, "--jobs", 1, "--seed", 2, "--seeds", 3) == 0
    )
    assert runs(log) == [(0, 0), (0, 0)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_section_runs_in_any_thread(tmp_path, jobs):
    """Handlers of signals can be set in the main thread alone."""
    arguments = "--out", tmp_path, "--jobs", jobs
    with ThreadPoolExecutor() as threads:
        assert threads.submit(main, Settings(cells=2), *arguments).result() == 0
    assert len(tensors(tmp_path)) == 4


def test_handlers_are_as_before_after_a_run(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(Settings(), "--out", tmp_path, "--jobs", 1) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_figures_are_closed_after_saving_and_others_stay_open(tmp_path):
    section = made_up.section(Settings())
    section.figures = lambda results: {"one": plt.figure()}
    other = plt.figure()
    assert section_main(section, ["--out", str(tmp_path), "--jobs", "1"]) == 0
    assert plt.get_fignums() == [other.number]


def test_results_do_not_depend_on_the_number_of_processes(tmp_path, log, capsys):
    printed = []
    for jobs in (1, 2):
        torch.set_num_threads(2)
        arguments = "--out", tmp_path / str(jobs), "--jobs", jobs, "--seeds", 2
        assert main(Settings(cells=3, numbers=200, log=str(log)), *arguments) == 0
        printed.append(capsys.readouterr().out)
    torch.testing.assert_close(tensors(tmp_path / "1"), tensors(tmp_path / "2"), rtol=0, atol=0)
    assert printed[0] == printed[1]
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    assert {threads for *_, threads in lines} == {"1"}
    assert len({process for _, _, process, _ in lines}) == 3


def test_one_bar_over_all_cells_that_goes_away(tmp_path, capsys):
    main(Settings(cells=2), "--out", tmp_path, "--jobs", 1)
    capsys.readouterr()
    main(Settings(cells=2, seconds=0.15), "--out", tmp_path, "--jobs", 1, "--seeds", 2)
    shown = capsys.readouterr().err.split("\r")
    assert "0/8" in shown[1] and any("4/8 [00:00<00:00" in state for state in shown)
    assert shown[-1] == "" and not shown[-2].strip()


def test_two_processes_on_one_sweep(tmp_path, log):
    both = [
        started(Settings(cells=12, seconds=0.05, log=str(log)), "--out", tmp_path, "--jobs", 1)
        for _ in range(2)
    ]
    (status, table, _), (other_status, other_table, _) = map(ended, both)
    assert status == other_status == 0
    assert table == other_table and VERDICTS in table
    assert len(runs(log)) == 24  # two runs of twelve shards, each once
    assert len(tensors(tmp_path)) == 24
    assert len({line.split()[2] for line in log.read_text(encoding="utf-8").splitlines()}) == 2


# Faults


def living(group):
    """Processes of a group that have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return found


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "jobs, stop", [(1, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGTERM)]
)
def test_interrupted(tmp_path, log, jobs, stop):
    made_up_settings = Settings(cells=20, seconds=0.2, log=str(log))
    arguments = "--out", tmp_path, "--jobs", jobs
    process = started(made_up_settings, *arguments, "--fresh")
    until(lambda: len(list(tmp_path.glob("results/*.safetensors"))) >= 3)
    os.killpg(process.pid, stop) if stop == signal.SIGINT else process.send_signal(stop)
    status, out, err = ended(
        process, seconds=5
    )  # half a second, where no other tests run beside it
    assert status == 130 and out == ""
    last = err.split("\r")[-1].splitlines()
    kept = tensors(tmp_path)
    again = f"python tests/made_up.py --out {tmp_path} --jobs {jobs}"
    assert last == [
        f"interrupted; {len(kept)} of 40 cells are finished and kept; to continue: {again}"
    ]
    until(lambda: not living(process.pid), seconds=3)
    before = len(runs(log))
    assert main(made_up_settings, *arguments) == 0
    assert len(runs(log)) - before == 40 - len(kept)


def test_a_worker_that_is_killed(tmp_path, log, capsys):
    made_up_settings = Settings(cells=8, log=str(log), fault="kill once")
    assert main(made_up_settings, "--out", tmp_path, "--jobs", 2) == 1
    line = capsys.readouterr().err.split("\r")[-1]
    assert line.startswith("a worker process was killed") and line.count("\n") == 1
    assert "of 16 cells are finished and kept; to continue: python" in line
    before = len(runs(log))
    kept = len(list(tmp_path.glob("results/*.safetensors")))
    assert main(made_up_settings, "--out", tmp_path, "--jobs", 2) == 0
    assert len(runs(log)) - before == 16 - kept
    assert sorted({path.suffix for path in (tmp_path / "results").iterdir()}) == [".safetensors"]


@contextmanager
def largest_file(size):
    """No file can grow above a size, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk(tmp_path, capsys, jobs):
    # The limit holds for processes that start under it.
    joblib.externals.loky.get_reusable_executor().shutdown()
    arguments = "--out", tmp_path, "--jobs", jobs
    with largest_file(200):
        assert main(Settings(cells=2), *arguments) == 1
    joblib.externals.loky.get_reusable_executor().shutdown()
    line = capsys.readouterr().err.split("\r")[-1]
    assert (
        "File too large: " in line
        and str(tmp_path / "results" / "made_up-") in line
        and line.count("\n") == 1
    )
    assert "0 of 4 cells are finished and kept; to continue: python" in line
    left = [path.suffix for path in (tmp_path / "results").iterdir()]
    assert set(left) <= {".lock"}  # the claim of a process that was ended with the one that failed
    assert main(Settings(cells=2), *arguments) == 0
    assert {path.suffix for path in (tmp_path / "results").iterdir()} == {".safetensors"}


def test_a_full_disk_when_the_figures_are_saved(tmp_path, capsys):
    main(Settings(cells=9), "--out", tmp_path, "--jobs", 1)
    (tmp_path / "figures" / "section9.png").write_text("before", encoding="utf-8")
    with largest_file(200):
        assert main(Settings(cells=9), "--out", tmp_path, "--jobs", 1) == 1
    assert "File too large: " in capsys.readouterr().err.split("\r")[-1]
    assert [
        (path.name, path.read_text(encoding="utf-8")) for path in (tmp_path / "figures").iterdir()
    ] == [("section9.png", "before")]


def test_numbers_that_are_not_finite_end_the_sweep(tmp_path, capsys):
    assert main(Settings(cells=2, fault="nan"), "--out", tmp_path, "--jobs", 1, "--seed", 4) == 1
    printed = capsys.readouterr()
    expected = "made_up, seed 4: Result.values: expected finite numbers, got 1 that are not; "
    line = printed.err.split("\r")[-1]
    assert (
        line.startswith(expected)
        and "of 4 cells are finished and kept; to continue: " in line
        and printed.out == ""
    )


def test_a_claim_that_is_not_finite_is_not_reported(tmp_path, capsys, monkeypatch):
    section = made_up.section(Settings())
    section.claims = lambda results: [made_up.of_one_number("9.1", float("nan"))]
    assert section_main(section, ["--out", str(tmp_path), "--jobs", "1"]) == 1
    printed = capsys.readouterr()
    assert (
        "numbers['number']: expected a finite number, got nan" in printed.err and printed.out == ""
    )


def test_a_mistake_of_ours_is_shown_as_what_it_is(tmp_path):
    with pytest.raises(KeyError, match="bug"):
        main(Settings(cells=2, fault="bug"), "--out", tmp_path, "--jobs", 1)


def test_damaged_files_are_computed_again(tmp_path, capsys):
    main(Settings(cells=3), "--out", tmp_path, "--jobs", 1)
    first = capsys.readouterr().out
    before = tensors(tmp_path)
    one, other, *_ = sorted((tmp_path / "results").iterdir())
    one.write_bytes(one.read_bytes()[:100])
    other.write_bytes(b"")
    assert main(Settings(cells=3), "--out", tmp_path, "--jobs", 1) == 0
    printed = capsys.readouterr()
    assert printed.out == first
    assert {line.split(":")[0] for line in printed.err.splitlines()[:2]} == {str(one), str(other)}
    for damaged in (one, other):
        Path(f"{damaged}.damaged").unlink()
    torch.testing.assert_close(tensors(tmp_path), before, rtol=0, atol=0)


def killed_after(seconds, made_up_settings, *arguments):
    """Kill a sweep with all its processes after a time; return whether it was still running."""
    child = os.fork()
    if child == 0:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        tqdm.set_lock(
            threading.RLock()
        )  # its own is shared with the parent, which would wait for one killed with it
        os._exit(main(made_up_settings, *arguments))
    time.sleep(seconds)
    os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_at_twenty_random_moments(tmp_path, capsys):
    made_up_settings = Settings(cells=60, seconds=0.004)
    begun = time.monotonic()
    assert main(made_up_settings, "--out", tmp_path / "whole", "--jobs", 1, "--seeds", 2) == 0
    whole = time.monotonic() - begun
    table = capsys.readouterr().out
    arguments = "--out", tmp_path / "killed", "--jobs", 1, "--seeds", 2
    moments = random.Random(0)
    kills = sum(
        killed_after(moments.uniform(0, whole / 16), made_up_settings, *arguments)
        for _ in range(20)
    )
    half_way = len(list(tmp_path.glob("killed/results/*.safetensors")))
    assert kills == 20 and 0 < half_way < 240
    assert main(made_up_settings, *arguments) == 0
    assert capsys.readouterr().out == table
    torch.testing.assert_close(
        tensors(tmp_path / "killed"), tensors(tmp_path / "whole"), rtol=0, atol=0
    )
    figures = [
        (tmp_path / name / "figures" / "section9.png").read_bytes() for name in ("killed", "whole")
    ]
    assert figures[0] == figures[1]


def test_killed_with_all_its_processes(tmp_path, log, capsys):
    made_up_settings = Settings(cells=10, seconds=0.1, log=str(log))
    arguments = "--out", tmp_path / "killed", "--jobs", 2
    process = started(made_up_settings, *arguments)
    until(lambda: len(list(tmp_path.glob("killed/results/*.safetensors"))) >= 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = len(list(tmp_path.glob("killed/results/*.safetensors")))
    until(lambda: not living(process.pid), seconds=3)
    before = len(runs(log))
    assert main(made_up_settings, *arguments) == 0
    assert len(runs(log)) - before == 20 - kept
    table = capsys.readouterr().out
    assert main(made_up_settings, "--out", tmp_path / "whole", "--jobs", 2) == 0
    assert capsys.readouterr().out == table
    torch.testing.assert_close(
        tensors(tmp_path / "killed"), tensors(tmp_path / "whole"), rtol=0, atol=0
    )


# The command line


def refused(capsys, *arguments):
    """The line that says why a command line is refused, before anything is run."""
    with pytest.raises(SystemExit) as end:
        main(Settings(fault="bug", cells=2), *arguments)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("made_up.py: error: ")
    return printed.err


def no_whole_number(low, high):
    return lambda text: (
        not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high)
    )


JUNK = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "1" * 5000, "\0"]),
)
COUNTS = {"--seed": (0, 2**31 - 1), "--seeds": (1, 1000), "--jobs": (1, 1024)}


@settings(max_examples=500, deadline=None)
@given(data=st.data(), option=st.sampled_from(sorted(COUNTS)))
def test_what_is_no_count(data, option):
    value = data.draw(JUNK.filter(no_whole_number(*COUNTS[option])))
    with pytest.MonkeyPatch.context() as patch:
        assert option in refused(Captured(patch), f"{option}={value}")


@settings(max_examples=300, deadline=None)
@given(value=JUNK.filter(lambda text: text not in ("cpu", "cuda")))
def test_what_is_no_device(value):
    with pytest.MonkeyPatch.context() as patch:
        assert "--device" in refused(Captured(patch), f"--device={value}")


@settings(max_examples=300, deadline=None)
@given(value=JUNK)
def test_what_is_no_scheduler(tmp_path_factory, value):
    with pytest.MonkeyPatch.context() as patch:
        line = refused(
            Captured(patch),
            "--out",
            tmp_path_factory.getbasetemp() / "junk",
            f"--scheduler={value}",
        )
        assert "--scheduler: expected tcp://HOST:PORT" in line


@settings(max_examples=300, deadline=None)
@given(value=JUNK.map(lambda text: text.lstrip("/")))
def test_what_is_no_folder(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "a file"
    file.touch()
    with pytest.MonkeyPatch.context() as patch:
        assert "--out" in refused(Captured(patch), f"--out={file}/{value}")


@settings(max_examples=300, deadline=None)
@given(value=st.text(max_size=30).filter(lambda text: text != "--" and not text.startswith("-h")))
def test_what_is_no_option(value):
    with pytest.MonkeyPatch.context() as patch:
        refused(Captured(patch), "--seed=x", value)
        refused(Captured(patch), "--quick", f"--x{value}")


class Captured:
    """As the fixture capsys, which property tests cannot use."""

    def __init__(self, patch):
        self.out, self.err = io.StringIO(), io.StringIO()
        patch.setattr(sys, "stdout", self.out)
        patch.setattr(sys, "stderr", self.err)

    def readouterr(self):
        return SimpleNamespace(out=self.out.getvalue(), err=self.err.getvalue())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--seed", "-1"], "argument --seed: expected"),
        (
            ["--seed", "2147483647", "--seeds", "2"],
            "argument --seeds: expected seeds up to 2147483647, got 2 from 2147483647",
        ),
        (["--seeds", "0"], "argument --seeds: expected a whole number from 1 to 1000, got '0'"),
        (["--out", ""], "argument --out: expected a name, got ''"),
        (
            ["--out", "/proc/nowhere"],
            "argument --out: expected a folder that can be written, got '/proc/nowhere'",
        ),
        (["--fresh=1"], "--fresh"),
        (
            ["--scheduler", "localhost:8786"],
            "argument --scheduler: expected tcp://HOST:PORT, got 'localhost:8786'",
        ),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_what_a_refusal_says(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(capsys):
    assert "argument --device: expected a machine with CUDA" in refused(capsys, "--device", "cuda")


def test_a_read_only_folder_is_found_out_before_computing(tmp_path, capsys):
    folder = tmp_path / "read-only"
    folder.mkdir()
    reachable = [
        tmp_path,
        *(parent for parent in tmp_path.parents if parent.name.startswith("pytest")),
    ]
    modes = {path: path.stat().st_mode for path in reachable}
    try:
        for path in reachable:
            path.chmod(0o755)
        folder.chmod(0o555)
        if os.getuid() == 0:  # whom no mode stops
            os.seteuid(65534)
        line = refused(capsys, "--out", folder)
    finally:
        os.seteuid(os.getuid())
        for path, mode in modes.items():
            path.chmod(mode)
    assert (
        f"expected a folder that can be written, got '{folder}'" in line
        and "Permission denied" in line
    )


def test_a_folder_that_is_not_there_is_made(tmp_path):
    assert main(Settings(), "--out", tmp_path / "a" / "b", "--jobs", 1) == 0
    assert (tmp_path / "a" / "b" / "results").is_dir()


def test_bad_arguments_end_a_script_with_one_line():
    status, out, err = ended(started(Settings(), "--seeds", "many"))
    assert (status, out) == (2, "")
    expected = "argument --seeds: expected a whole number from 1 to 1000, got 'many'"
    assert err == f"made_up.py: error: {expected}\n"


# On a Dask cluster


@pytest.fixture
def cluster():
    from distributed import LocalCluster

    options = {
        "processes": True,
        "dashboard_address": None,
        "host": "127.0.0.1",
        "silence_logs": 50,
    }
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        yield cluster


def test_a_cluster_of_which_a_worker_is_killed(tmp_path, log, capsys, cluster):
    made_up_settings = Settings(cells=6, seconds=0.05, log=str(log), fault="kill once")
    arguments = "--out", tmp_path / "cluster", "--scheduler", cluster.scheduler_address
    assert main(made_up_settings, *arguments) == 0
    table = capsys.readouterr().out
    processes = {line.split()[2] for line in log.read_text(encoding="utf-8").splitlines()}
    assert len(processes) >= 2 and str(os.getpid()) not in processes
    assert Path(f"{log}.killed").exists()
    ran = len(runs(log))
    assert 13 <= ran <= 16  # twelve cells; those that a killed worker had begun, again
    assert main(made_up_settings, *arguments) == 0
    assert len(runs(log)) == ran and capsys.readouterr().out == table
    assert main(made_up_settings, "--out", tmp_path / "here", "--jobs", 1) == 0
    assert capsys.readouterr().out == table
    torch.testing.assert_close(
        tensors(tmp_path / "cluster"), tensors(tmp_path / "here"), rtol=0, atol=0
    )


def test_faults_on_a_cluster(tmp_path, capsys, cluster, monkeypatch):
    arguments = "--out", tmp_path, "--scheduler", cluster.scheduler_address
    assert main(Settings(cells=2, fault="nan"), *arguments) == 1
    assert (
        "made_up, seed 0: Result.values: expected finite" in capsys.readouterr().err.split("\r")[-1]
    )
    monkeypatch.setattr(running, "CLUSTER_SECONDS", 1)
    assert main(Settings(seconds=3), *arguments) == 1
    assert "has finished no cell within 1 seconds" in capsys.readouterr().err.split("\r")[-1]


def test_a_scheduler_that_does_not_answer(tmp_path, capsys):
    begun = time.monotonic()
    with pytest.raises(SystemExit) as end:
        main(Settings(), "--out", tmp_path, "--scheduler", "tcp://127.0.0.1:1")
    assert end.value.code == 2 and time.monotonic() - begun < 8
    line = capsys.readouterr().err
    assert (
        "argument --scheduler: expected a Dask scheduler that answers, got 'tcp://127.0.0.1:1'"
        in line
    )
    assert line.count("\n") == 1


def test_without_distributed(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = refused(capsys, "--out", tmp_path, "--scheduler", "tcp://127.0.0.1:8786")
    assert (
        "expected the package distributed, found none: pip install -r requirements-dask.txt" in line
    )
