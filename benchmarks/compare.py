"""Times training against the usual loop of other replications, and against bare matrix products.

    python benchmarks/compare.py                  # the whole table, about 20 minutes on 2 cores
    python benchmarks/compare.py --only steps     # one group: losses, steps, own, exact, instances
    python benchmarks/compare.py --write          # keep the table as benchmarks/speed.md, too

All contenders of a row run in turn, so that a busy machine slows them alike. Figures are medians,
and ratios are ratios of medians. The columns keep apart what is code and what is settings:

    usual         the usual loop with its settings: all instances in one einsum over (batch,
                  instance, feature), two random draws a step, autograd, AdamW at 1e-3, 10,000 steps
                  of batch 1,024, no restarts
    usual, ours   the usual loop with our settings: our restarts, steps and batch
    ours          `train` with our settings, restarts and the choice of the best included
    floor         the matrix products of ours alone, in the same blocks

A row "to the losses" compares our test losses with the usual loop's on the same fresh rows: the
mean of their ratios over densities and seeds, and the largest mean over seeds of any density.
"""

import argparse
import resource
import sys
import time
from pathlib import Path
from statistics import median

import torch
from torch.nn.functional import gelu

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from features import FeatureDistribution
from losses import sampled
from losses.exact import expected_loss
from models import ReLUOutputModel
from theory import phases
from training import sampled_loss, train, train_best

SEVEN = (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FIFTY = tuple(20 ** (-k / 49) for k in range(50))
FORTY_ONE = tuple(1 / 1.1 * 8 ** (-k / 40) for k in range(41))
USUAL = {"steps": 10_000, "batch_size": 1024}
LOSSES = {  # features -> our settings of the rows to the losses
    20: {"restarts": 8, "steps": 400, "batch_size": 128, "lr": 3e-2},
    80: {"restarts": 1, "steps": 2000, "batch_size": 256, "lr": 2e-2},
    400: {"restarts": 1, "steps": 2500, "batch_size": 256, "lr": 5e-3, "init_scale": 0.01},
}
TABLE = Path(__file__).resolve().parent / "speed.md"


class GELUModel(ReLUOutputModel):
    """A model of one's own: x' = GELU(W^T W x + b), trained by autograd."""

    def decode(self, h):
        """Compute the output from the hidden layer."""
        return gelu(h @ self.W + self.b[:, None])


def usual_step(model, x, importance, optimizer, activation):
    """One step of the usual loop on a batch x (batch, instances, features)."""
    optimizer.zero_grad()
    h = torch.einsum("...if,ihf->...ih", x, model.W)
    x_prime = activation(torch.einsum("...ih,ihf->...if", h, model.W) + model.b)
    (importance * (x - x_prime) ** 2).mean(dim=(0, 2)).sum().backward()
    optimizer.step()


def usual_loop(distribution, hidden, seed, steps, batch_size, model_class=ReLUOutputModel):
    """Train a model by the loop of the paper's own notebook, as most replications keep it."""
    generator = torch.Generator().manual_seed(seed)
    model = model_class(distribution.instances, distribution.features, hidden, seed=seed)
    activation = gelu if model_class is GELUModel else torch.relu
    torch.nn.init.xavier_normal_(model.W, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    density = distribution.density.float()
    importance = distribution.importance.float()
    shape = (batch_size, distribution.instances, distribution.features)
    for _ in range(steps):
        active = torch.rand(shape, generator=generator) <= density
        usual_step(
            model,
            torch.where(active, torch.rand(shape, generator=generator), 0),
            importance,
            optimizer,
            activation,
        )
    return model


def seconds(function, *arguments, **settings):
    """Return the seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = function(*arguments, **settings)
    return time.perf_counter() - start, result


def products(distribution, hidden, steps, batch_size):
    """The five products of each step of ours, on the blocks of ours, and nothing else."""
    model = ReLUOutputModel(distribution.instances, distribution.features, hidden)
    buffers = [block.buffers for block in sampled.sampled_blocks(model, distribution, batch_size)]
    for at in buffers:
        for tensor in (at.x, at.g, at.E, at.h, at.dh):
            tensor.uniform_(-1, 1)
    for _ in range(steps):
        for at in buffers:
            sampled.product(at.E, at.x.mT, out=at.h)
            torch.bmm(at.h.mT, at.D, out=at.z)
            torch.bmm(at.h, at.g, out=at.dD)
            torch.bmm(at.D, at.g.mT, out=at.dh)
            sampled.product(at.dh, at.x, out=at.dE)


def setting(densities, features, decay=1.0):
    """Return the distribution of one instance a density, importances falling by a factor."""
    return FeatureDistribution(torch.tensor(densities)[:, None], decay ** torch.arange(features))


# Groups of rows: each yields a name and figures, in a unit, by column


def losses(seeds):
    """Seconds to the usual loop's test losses."""
    for name, distribution, hidden in (
        ("n=20, m=5, seven densities", setting(SEVEN, 20, 0.7), 5),
        ("n=80, m=20, seven densities", setting(SEVEN, 80, 0.9), 20),
    ):
        ours = LOSSES[distribution.features]
        rounds = []
        ratios = []
        for seed in range(seeds):
            usual, theirs = seconds(usual_loop, distribution, hidden, seed, **USUAL)
            *others, model = our_columns(distribution, hidden, seed, ours)
            rounds.append((usual, *others))
            ratios.append(loss_ratios(model, theirs, distribution))
        yield (
            f"{name}: to the losses",
            "s",
            [median(times) for times in zip(*rounds)],
            compared(torch.stack(ratios)),
        )
    yield many_features()


def many_features(shorter=5, timed=20, every=slice(4, None, 10)):
    """Compare losses at n=400, m=30.

    The usual loop is timed over some steps, and trained at five of the 50 densities only, for 2,000
    of its 10,000 steps.
    """
    distribution = setting(FIFTY, 400)
    hidden = 30
    name = "n=400, m=30, 50 densities: to the losses"
    usual, _ = seconds(usual_loop, distribution, hidden, 0, timed, USUAL["batch_size"])
    *others, model = our_columns(distribution, hidden, 0, LOSSES[400])
    few = distribution.select(every)
    trained = USUAL["steps"] // shorter
    theirs = usual_loop(few, hidden, 0, trained, USUAL["batch_size"])
    note = compared(loss_ratios(model.select(every), theirs, few)[None])
    note += f" (after {trained:,} steps, at five densities; "
    note += f"its seconds extrapolated from {timed} steps)"
    return name, "s", [usual / timed * USUAL["steps"], *others], note


def our_columns(distribution, hidden, seed, ours):
    """Return seconds of the usual loop with our settings, of ours, of its products; our model."""
    mine, (model, _) = seconds(
        train_best, ReLUOutputModel, distribution, hidden, seed=seed, progress=False, **ours
    )
    repeated = distribution.with_restarts(ours["restarts"])
    part = max(20, ours["steps"] // 100)
    whole = ours["steps"] / part
    same, _ = seconds(usual_loop, repeated, hidden, seed, part, ours["batch_size"])
    floor, _ = seconds(products, repeated, hidden, part, ours["batch_size"])
    return same * whole, mine, floor * whole, model


def loss_ratios(model, theirs, distribution):
    """(instances,): test losses over the usual loop's, on the same fresh rows."""
    mine, usual = (
        sampled_loss(fitted, distribution, rows=2**16, seed=10**6) for fitted in (model, theirs)
    )
    return mine / usual


def compared(ratios):
    """Return the ratios of losses (seeds, instances) in words."""
    return f"losses {ratios.mean():.3f} of the usual loop's, at most {ratios.mean(dim=0).max():.3f}"


def steps(rounds=9):
    """Milliseconds of a step."""
    cases = {
        "n=20, m=5, 7 instances, batch 1,024": (setting(SEVEN, 20, 0.7), 5, 1024, 60),
        "n=20, m=5, 28 instances, batch 256": (
            setting(SEVEN, 20, 0.7).with_restarts(4),
            5,
            256,
            60,
        ),
        "n=100, m=10, 41 instances, batch 256": (setting(FORTY_ONE, 100), 10, 256, 12),
        "n=400, m=30, 50 instances, batch 1,024": (setting(FIFTY, 400), 30, 1024, 2),
    }
    for name, (distribution, hidden, batch_size, count) in cases.items():
        same = {"steps": count, "batch_size": batch_size}
        model = ReLUOutputModel(distribution.instances, distribution.features, hidden)
        contenders = (
            lambda: usual_loop(distribution, hidden, 0, **same),  # noqa: B023, called in this turn of the loop
            lambda: train(model, distribution, progress=False, **same),  # noqa: B023
            lambda: train(model, distribution, record=1, progress=False, **same),  # noqa: B023
            lambda: products(distribution, hidden, **same),  # noqa: B023
        )
        times = [[seconds(run)[0] / count * 1e3 for run in contenders] for _ in range(rounds + 1)][
            1:
        ]
        usual, ours, with_loss, floor = (median(column) for column in zip(*times))
        note = f"{with_loss:.3g} ms where its loss is recorded, "
        note += f"{with_loss / floor:.1f} times its products"
        yield f"one step, {name}", "ms", [None, usual, ours, floor], note


def own(rounds=5):
    """Milliseconds of a step of a model of one's own, and seconds to the usual loop's losses."""
    cases = {
        "n=20, m=5, 7 instances, batch 1,024": (setting(SEVEN, 20, 0.7), 5, 1024, 20),
        "n=100, m=10, 41 instances, batch 256": (setting(FORTY_ONE, 100), 10, 256, 6),
    }
    for name, (distribution, hidden, batch_size, count) in cases.items():
        same = {"steps": count, "batch_size": batch_size}
        model = GELUModel(distribution.instances, distribution.features, hidden)
        times = []
        for _ in range(rounds + 1):
            usual, _ = seconds(usual_loop, distribution, hidden, 0, model_class=GELUModel, **same)
            ours, _ = seconds(train, model, distribution, progress=False, **same)
            times.append((usual / count * 1e3, ours / count * 1e3))
        usual, ours = (median(column) for column in zip(*times[1:]))
        yield f"one step of GELU, {name}", "ms", [None, usual, ours, None], "by autograd"
    distribution = setting(SEVEN, 20, 0.7)
    settings = LOSSES[20]
    usual, theirs = seconds(usual_loop, distribution, 5, 0, model_class=GELUModel, **USUAL)
    ours, (model, _) = seconds(
        train_best, GELUModel, distribution, 5, seed=0, progress=False, **settings
    )
    note = compared(loss_ratios(model, theirs, distribution)[None])
    yield "GELU, n=20, m=5, seven densities: to the losses", "s", [usual, None, ours, None], note


def exact(rounds=5):
    """Microseconds a model and step of exact descents, as the phase diagrams use them."""
    for name, features, hidden, points, count in (
        ("n=2, m=1", 2, 1, 40, 200),
        ("n=3, m=2", 3, 2, 20, 100),
    ):
        distribution = phases.grid_distribution(features, *phases.grid(points)).with_restarts(10)
        start = ReLUOutputModel(
            distribution.instances, features, hidden, dtype=torch.float64, init_scale=0.3
        )
        train(
            start, distribution, exact=True, steps=100, lr=0.05, progress=False
        )  # part of the way, as in a descent
        works = accurate_descent, exact_descent
        times = [
            [seconds(work, start, distribution, count)[0] for work in works]
            for _ in range(rounds + 1)
        ][1:]
        accurate_time, our_time = (
            median(c) / count / distribution.instances * 1e6 for c in zip(*times)
        )
        note = "first column: with loss and gradient to 1e-9 at each step"
        yield (
            f"exact descent, {name}: a model and step",
            "µs",
            [accurate_time, None, our_time, None],
            note,
        )
    took, _ = seconds(million_models)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield (
        "1,048,576 models n=2, m=1, exact, 300 steps",
        "s",
        [None, None, took, None],
        f"peak memory {memory:.2f} GB",
    )


def exact_descent(start, distribution, steps):
    """Descend as `train` does."""
    train(start.select(slice(None)), distribution, exact=True, steps=steps, lr=1e-3, progress=False)


def accurate_descent(start, distribution, steps):
    """The same on the loss and gradient that are good to 1e-9 at every step."""
    model = start.select(slice(None))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        expected_loss(model.W, model.b, distribution).sum().backward()
        optimizer.step()


def million_models():
    """The largest diagram published: 256 x 256 points, 16 restarts."""
    distribution = phases.grid_distribution(2, *phases.grid(256))
    settings = {
        "restarts": 16,
        "exact": True,
        "steps": 300,
        "lr": 0.05,
        "init_scale": 0.3,
        "progress": False,
    }
    return train_best(ReLUOutputModel, distribution, 1, **settings)


def instances(rounds=5):
    """Microseconds an instance of a step, from few instances to many."""
    for features, hidden, batch_size in ((20, 5, 256), (2, 1, 64)):
        figures = []
        for count in (100, 1000, 10_000, 100_000):
            distribution = FeatureDistribution(0.1, features=features, instances=count)
            model = ReLUOutputModel(count, features, hidden)
            count_of_steps = max(1, 20_000 // count)
            train(model, distribution, steps=1, batch_size=batch_size, progress=False)
            times = [
                seconds(
                    train,
                    model,
                    distribution,
                    steps=count_of_steps,
                    batch_size=batch_size,
                    progress=False,
                )[0]
                for _ in range(rounds)
            ]
            figures.append(f"{count:,}: {median(times) / (count_of_steps + 1) / count * 1e6:.2f}")
        name = f"a step of one instance, n={features}, m={hidden}, batch {batch_size}"
        yield name, "µs", [None] * 4, "; ".join(figures)


GROUPS = {"losses": losses, "steps": steps, "own": own, "exact": exact, "instances": instances}


def row(name, unit, figures, note):
    """A line of the Markdown table."""
    usual, same, ours, floor = figures
    cells = ["" if value is None else f"{value:.3g} {unit}" for value in figures]
    ratios = []
    if ours is not None:
        ratios = [f"{value / ours:.1f}" for value in (usual, same) if value is not None]
    over_floor = "" if floor is None or ours is None else f"{ours / floor:.1f}"
    return "| " + " | ".join([name, *cells, " / ".join(ratios), over_floor, note]) + " |"


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=GROUPS, help="one group of rows")
    parser.add_argument(
        "--seeds", type=int, default=3, help="seeds of the rows to the losses (default 3)"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the table as benchmarks/speed.md"
    )
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("argument --write: expected the whole table, got --only")
    lines = [
        f"{torch.get_num_threads()} threads, torch {torch.__version__}",
        "",
        "| work | usual | usual, our settings | ours | products | times faster | over products | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name in [arguments.only] if arguments.only else GROUPS:
        for figures in GROUPS[name](arguments.seeds) if name == "losses" else GROUPS[name]():
            lines.append(row(*figures))
            print(lines[-1], flush=True)
    if arguments.write:
        TABLE.write_text(
            "\n".join(("# What `python benchmarks/compare.py` measured", "", *lines, "")),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
