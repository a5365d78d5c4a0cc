"""Sweeps: how a section's experiments are asked for, run once, and kept.

A section is a module SectionNmain with

    SETTINGS, QUICK                        dicts of plain numbers and lists: the paper's settings, and a small set
    run(settings, seed, device, progress)  -> results, a dict of tensors
    figures(results)                       -> dict of name -> matplotlib Figure
    claims(results)                        -> list of Claim

Results are cached under results/, one safetensors file each, under a key made of everything that
decides them: the settings, the seed, the device and the code.
"""

import argparse
import ast
import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import claims

HOME = Path(__file__).resolve().parent
PRESENTATION = ("claims.py", "visualization.py", "scorecard.py", "sweeps.py")  # changes no number


def section_main(section, argv=None):
    """The command line of a section: run or load its experiments, save its figures, print its claims -> 0.

    Bad arguments end the program with status 2 and a line that says what was expected.
    """
    arguments = parse_arguments(section.__doc__, argv)
    results = section_results(section, arguments)
    for name, figure in section.figures(results).items():
        save_figure(figure, arguments.out / "figures" / f"{name}.png")
    print(claims.table(section.claims(results)))
    return 0


def section_results(section, arguments):
    """The results of a section for a parsed command line, from the cache unless --fresh."""
    settings = section.QUICK if arguments.quick else section.SETTINGS
    configuration = {"settings": settings, "seed": arguments.seed, "device": arguments.device}

    def compute():
        return section.run(settings, seed=arguments.seed, device=arguments.device, progress=True)

    name = Path(section.__file__).stem
    return cached(name, configuration, compute, arguments.out / "results", fresh=arguments.fresh)


def parse_arguments(description, argv=None):
    """The options that every section and the scorecard share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same path with small settings, in seconds")
    parser.add_argument("--seed", type=_seed, default=0, help="seed of weights and samples (default 0)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default cpu)")
    parser.add_argument("--out", type=Path, help="folder for figures/ and results/ (default: here; results/quick)")
    parser.add_argument("--fresh", action="store_true", help="run anew where a cached result exists")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("argument --device: expected a machine with CUDA for 'cuda', found none")
    arguments.out = arguments.out or (HOME / "results" / "quick" if arguments.quick else HOME)
    if any(folder.exists() and not folder.is_dir() for folder in (arguments.out, *arguments.out.parents)):
        parser.error(f"argument --out: expected a folder, got {arguments.out}")
    return arguments


def cached(name, configuration, compute, folder, fresh=False):
    """compute() -> dict of tensors, or what it returned before for the same configuration and code."""
    text = json.dumps({"code": code_digest(name), **configuration}, sort_keys=True)
    path = Path(folder) / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
    if path.exists() and not fresh:
        return load_file(path)
    results = {key: value.detach().cpu().contiguous().clone() for key, value in compute().items()}
    atomically(path, lambda temporary: save_file(results, temporary, metadata={"configuration": text}))
    return results


def code_digest(section):
    """A digest of the code that a section's numbers come from; comments and layout do not count."""
    modules = {path for path in HOME.glob("*.py") if not path.name.startswith("Section")}
    modules = {path for path in modules if path.name not in PRESENTATION} | {HOME / f"{section}.py"}
    trees = [ast.dump(ast.parse(path.read_text())) for path in sorted(modules)]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()


def save_figure(figure, path):
    """The figure as a PNG of 110 dots an inch, about 1,200 pixels wide."""
    atomically(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))


def atomically(path, write):
    """write(temporary path), then rename: an interrupted run leaves nothing half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _seed(text):
    seed = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= seed < 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**31 - 1}, got {text!r}")
    return seed
