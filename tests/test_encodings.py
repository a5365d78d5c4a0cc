"""The tests refuse text that is read or written in the encoding of the locale, in every process."""

import os
import subprocess
import sys

import pytest

READ = "from pathlib import Path\nPath({file!r}).read_text()\n"


def test_a_process_that_names_no_encoding_fails(tmp_path):
    file = tmp_path / "text"
    file.write_text("α", encoding="utf-8")
    command = [sys.executable, "-c", READ.format(file=str(file))]
    run = subprocess.run(command, capture_output=True)
    assert run.returncode == 1 and b"EncodingWarning" in run.stderr


@pytest.mark.skipif(not sys.flags.warn_default_encoding, reason="Python does not report it")
def test_this_process_fails_too(tmp_path):
    file = tmp_path / "text"
    file.write_text("α", encoding="utf-8")
    with pytest.raises(EncodingWarning):
        file.read_text()


def test_the_modules_of_others_do_not_fail():
    run = subprocess.run([sys.executable, "-c", "import torch, matplotlib.pyplot"], env=os.environ)
    assert run.returncode == 0
