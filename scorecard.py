"""The scorecard: every claim of the paper, and our own, beside our numbers, one table.

    python scorecard.py                 # all sections, cached results where there are any
    python scorecard.py --quick         # from small settings: says that all runs, not that claims hold
    python scorecard.py --seeds 10      # each number as median [lowest, highest] over ten seeds
    python scorecard.py --seeds 10 --markdown SCORECARD.md --json scorecard.json      # what is committed
    python scorecard.py --sections 5 A  # of some sections alone, A: Autoencodersmain.py

Takes the options of the sections; computes what is not finished.
"""

import importlib
import json
import sys
from functools import partial

from sweeps import claims, command_line
from sweeps.files import claimed, write
from sweeps.sections import claims_over_seeds

# section -> of computing one seed on 2 cores
MINUTES = {"2": 0.5, "3": 1, "4": 8, "5": 1, "6": 0.7, "7": 1.5, "8": 1, "A": 2}
SEEN = {  # where a claim does not hold with every seed: what was seen instead
    "2.3": "the count grows, but in these seeds the best restart represents one or two features less at a density "
    "than at a higher one, among the sparsest; where some features are in superposition and some are not, the "
    "least important are, in all seeds",
    "3.3": "where features are sparse the change is as the paper says; between two tricritical densities the "
    "second feature grows out of zero continuously, which an expansion of the exact loss gives by formula",
    "3.4": "the best restart gives back all four regions, the average three; in the fourth, restarts scatter "
    "over pairings of nearly the same loss",
    "3.5": "where it fails the best of ten restarts is the best known solution of n=3 at a little less than 99 % "
    "of the points; none is below it",
    "4.2": "at n=400, m=30 digons alone make a peak after 4,000 steps, pentagons do in some seeds after 40,000; "
    "at n=100, m=10 triangles, pentagons and square antiprisms do in most seeds, tetrahedra in none; "
    "models of the searches do not count, as their n/m fixes the level",
    "4.3": "wherever nearly all features are in polytopes, nearly all of these are digons; of the others "
    "pentagons are there in numbers, and square antiprisms in a few seeds",
    "4.5": "where it fails pentagons are in seven of ten models; every other polytope is in eight or more, with "
    "every seed",
    "4.6": "four of the five polytopes lead somewhere in the periodic table, tetrahedra nowhere; triangles and "
    "tetrahedra are trained where the table has others, ahead by less than two percent",
    "4.7": "all as the paper says but for its number, which falls as density grows",
    "4.10": "side by side where features are sparse; at the higher density two of the pairs have collapsed into "
    "one direction each",
    "4.11": "where it fails one run of eight misses it; cosines within a set are far below those across all the same",
    "4.12": "the collapses are the paper's, one by one, each where the losses of two solutions cross, but at "
    "higher densities",
    "5.1": "the loss drops suddenly, and dimensionalities end at sharp levels; but features get there together "
    "and gradually, next to none by itself",
    "7.2": "most of the paper's patterns at its densities; but three features share two neurons only from below "
    "0.5, nine features in five neurons beat eight at the sparse end, and not every feature is a pair of "
    "neurons by 0.04",
    "8.2": "neurons turn from monosemantic to polysemantic, with both kinds in one model between; that the most "
    "important features are on monosemantic neurons is a tendency, at some densities no more than chance",
    "A.4": "where it fails neither run at the weakest penalty finds the dictionary of the octahedron that the "
    "objective prefers; at all other penalties, and for pairs at every one, it is found",
}


def sections():
    """The sections that exist, in order, by what the ids of their claims begin with."""
    paths = [
        *sorted(command_line.HOME.glob("Section[0-9]main.py")),
        *command_line.HOME.glob("Autoencodersmain.py"),
    ]
    return {
        path.stem.removeprefix("Section")[0]: importlib.import_module(path.stem) for path in paths
    }


def main(argv=None):
    parser = command_line.argument_parser(__file__, __doc__)
    for option, what in (
        ("--json", "every claim with its numbers of each seed"),
        ("--markdown", "a summary and every number"),
    ):
        parser.add_argument(
            option, metavar="FILE", type=command_line.path, help=f"write {what} to a file, too"
        )
    every = sections()
    of = {"choices": every, "metavar": "N", "default": [*every]}
    parser.add_argument("--sections", nargs="+", help=f"of {', '.join(every)} (default: all)", **of)
    arguments = command_line.parse_arguments(parser, argv)
    of_name = {name: section for name, section in every.items() if name in arguments.sections}
    chosen = [*of_name.values()]
    files = {
        "--json": (arguments.json, as_json),
        "--markdown": (arguments.markdown, partial(as_markdown, of_name)),
    }
    files = {
        option: (file, written) for option, (file, written) in files.items() if file is not None
    }
    for option, (file, _) in files.items():
        check_file(parser, option, file)

    def report():
        by_seed = claims_over_seeds(chosen, arguments)
        print(claims.claims_table(by_seed))
        for file, written in files.values():
            with claimed(file):
                write(file, written(by_seed).encode())

    return command_line.run_and_report(chosen, arguments, report)


def as_json(by_seed):
    """[{"id", "statement", "paper", "holds": [a bool a seed], "numbers": {name: [a number a seed, or null]}}, ...]."""
    entries = [
        {
            "id": of_seeds[0].id,
            "statement": of_seeds[0].statement,
            "paper": of_seeds[0].paper,
            "holds": [bool(claim.holds) for claim in of_seeds],
            "numbers": claims.numbers_over_seeds(of_seeds),
        }
        for of_seeds in claims.same_claims(by_seed)
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(chosen, by_seed):
    """A summary of the claims of some of `sections`; then of each its command, and for each claim its numbers.

    A claim that does not hold with every seed has its sentence of SEEN.
    """
    every_claim = claims.same_claims(by_seed)
    seeds = "one seed" if len(by_seed) == 1 else f"{len(by_seed)} seeds"
    always = sum(all(claim.holds for claim in of_seeds) for of_seeds in every_claim)
    rows = [
        (f"[{c[0].id}](#claim-{c[0].id.replace('.', '')})", *c[0][1:3], claims.held(c))
        for c in every_claim
    ]
    parts = [
        f"""# Scorecard

Every claim of the paper, and some of our own (ours), beside what we measured at full settings with {seeds}. A claim
holds where the criterion beside its name in its section's script is met; the criterion says what would refute it.

{claims.github_table(rows, ("claim", "statement", "the paper", "holds"))}

{always} of {len(every_claim)} claims hold{"" if len(by_seed) == 1 else f" with each of {seeds}"}."""
    ]
    for name, section in chosen.items():
        parts.append(f"## {section.__doc__.partition(':')[0]}")
        parts.append(
            f"`python {section.__name__}.py`, {MINUTES[name]:g} minutes a seed on 2 cores."
        )
        parts += [
            _in_full(of_seeds) for of_seeds in every_claim if of_seeds[0].id.startswith(f"{name}.")
        ]
    return "\n\n".join(parts) + "\n"


def _in_full(of_seeds):
    """A claim under a heading of its own, with all of its numbers."""
    claim = of_seeds[0]
    missed = claim.id in SEEN and not all(other.holds for other in of_seeds)
    instead = f" Seen instead: {SEEN[claim.id]}." if missed else ""
    headers = ("", "ours") if len(of_seeds) == 1 else ("", "median", "lowest", "highest")
    rows = []
    for name, values in claims.numbers_over_seeds(of_seeds).items():
        *spread, of = claims.over_seeds(values)
        rows.append((name + of, *spread[: len(headers) - 1]))
    return f"""### Claim {claim.id}

{claims.escaped(claim.statement)}. The paper: {claims.escaped(claim.paper)}. Holds: {claims.held(of_seeds)}.{instead}

{claims.github_table(rows, headers)}"""


def check_file(parser, option, file):
    """Leave with status 2 where a file cannot be written."""
    try:
        with claimed(file):
            if file.is_dir():
                raise IsADirectoryError("it is a folder")
    except OSError as error:
        parser.error(
            f"argument {option}: expected a file that can be written, got {str(file)!r} ({error})"
        )


if __name__ == "__main__":
    sys.exit(main())
