"""Section 3, superposition as a phase change: what becomes of the last feature as density and importance change.

    python Section3main.py              # the paper's settings, about 3 minutes on 2 cores
    python Section3main.py --quick      # the same path, small, in seconds
    python Section3main.py --seed 3 --out /tmp/section3

Phase diagrams of n=2, m=1 and n=3, m=2: the named solutions, the exact optimum, trained models
averaged as the paper does, the best of the restarts, and the share of restarts that end in the
global optimum. Saves the figures under figures/ and prints claims 3.1 to 3.5.
"""

import sys

import torch

import theory
import visualization
from claims import Claim
from expected_loss import expected_loss
from models import ReLUOutputModel
from sweeps import section_main
from training import best_restart, train

CASES = {"n2": (2, 1), "n3": (3, 2)}  # features, hidden dimensions
STUDY = {  # what is changed, one at a time, in the training of the diagrams
    "as in the diagrams": {},
    "learning rate 0.01": {"lr": 0.01},
    "learning rate 0.5": {"lr": 0.5},
    "initial weights 0.03": {"init_scale": 0.03},
    "initial weights 1": {"init_scale": 1.0},
    "more noise: batch of 8": {"batch_size": 8},
    "no noise: exact loss": {"exact": True},
}
TRAINING = {"steps": 500, "batch_size": 64, "lr": 0.1, "init_scale": 0.3}
SETTINGS = {
    "points": 40,  # on either axis of a diagram
    "restarts": 10,
    "n2": TRAINING,
    "n3": TRAINING | {"lr": 0.2},
    "random_starts": 8,
    "boundary_densities": [round(1 - 0.025 * k, 3) for k in range(25)] + [0.3, 0.2, 0.1, 0.05, 0.02, 0.01],
    "study_points": 12,
    "study": STUDY,
}
QUICK = SETTINGS | {
    "points": 6,
    "n2": SETTINGS["n2"] | {"steps": 100},
    "n3": SETTINGS["n3"] | {"steps": 100},
    "random_starts": 4,
    "boundary_densities": [1.0, 0.65, 0.01],
    "study_points": 4,
    "study": {name: STUDY[name] for name in ("as in the diagrams", "no noise: exact loss")},
}


def run(settings, seed=0, device="cpu", progress=True):
    """Trained models, exact optima and the boundary of the phase change, as a dict of tensors.

    For each of CASES: "{case}/density" and "/ratio" (points,), a flattened square grid; trained
    models "/W" (points, restarts, hidden, features), "/loss" and "/settled" (points, restarts), the
    exact loss as trained and at the bottom of the basin they ended in; the exact optimum
    "/optimum/W" and "/loss". The same on a coarser grid for each change of the settings in STUDY,
    under "study/{name}/{case}". The boundary of n=2 as `theory.boundary` has it, under "boundary/".
    """
    results = {}
    for case in CASES:
        shared = {"settings": settings, "seed": seed, "device": device, "progress": progress}
        results |= _prefixed(case, diagrams(case, settings["points"], [settings[case]], **shared)[0])
        changed = [settings[case] | change for change in settings["study"].values()]
        for name, studied in zip(settings["study"], diagrams(case, settings["study_points"], changed, **shared)):
            results |= _prefixed(f"study/{name}/{case}", studied)
    density = torch.tensor(settings["boundary_densities"], dtype=torch.float64)
    return results | _prefixed("boundary", theory.boundary(density, progress=progress)._asdict())


def diagrams(case, points, trainings, *, settings, seed=0, device="cpu", progress=True):
    """The exact optimum on a square grid of density and importance, and models trained in each of several ways.

    -> one dict of tensors for each training
    """
    features, hidden = CASES[case]
    density, ratio = grid(points)
    if case == "n2":
        optimum = theory.scanned_optimum(density, ratio, progress=progress)
    else:
        starts = settings["random_starts"]
        optimum = theory.descended_optimum(
            features, hidden, density, ratio, random_starts=starts, seed=seed, progress=progress
        )
    known = {"density": density, "ratio": ratio, "optimum/W": optimum.W, "optimum/loss": optimum.loss}
    return [
        known
        | trained_models(
            features,
            hidden,
            density,
            ratio,
            settings["restarts"],
            seed=seed,
            device=device,
            progress=progress,
            **training,
        )
        for training in trainings
    ]


def _prefixed(prefix, tensors):
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def grid(points):
    """Density from 1 to 0.01 and relative importance from 0.1 to 10, logarithmic: two tensors (points^2,)."""
    density = torch.logspace(0, -2, points, dtype=torch.float64)
    ratio = torch.logspace(-1, 1, points, dtype=torch.float64)
    return density.repeat_interleave(points), ratio.repeat(points)


def trained_models(features, hidden, density, ratio, restarts, *, seed, device, progress, init_scale, **settings):
    """Restarts at every point of a diagram, trained on samples, and their exact losses."""
    distribution = theory.grid_distribution(features, density, ratio).with_restarts(restarts)
    model = ReLUOutputModel(distribution.instances, features, hidden, seed=seed, device=device, init_scale=init_scale)
    train(model, distribution.to(device), seed=seed, progress=progress, **settings)
    W, b = model.W.detach().cpu().double(), model.b.detach().cpu().double()
    settled = theory.descend(W, b, distribution, steps=200, lr=1e-2, progress=progress)[1]
    return {
        "W": W.unflatten(0, (-1, restarts)),
        "loss": expected_loss(W, b, distribution).view(-1, restarts),
        "settled": settled.view(-1, restarts),
    }


# What the diagrams show of the last feature: norm and interference, each (points,)


def named(results, case):
    """In the best named solution."""
    density, ratio = results[f"{case}/density"], results[f"{case}/ratio"]
    return theory.last_feature(theory.best_named(results[f"{case}/W"].shape[-1], density, ratio)[1])


def optimal(results, case):
    """In the exact optimum."""
    return theory.last_feature(results[f"{case}/optimum/W"])


def averaged(results, case):
    """Mean of all restarts but the worst, as the paper averages them."""
    W, loss = results[f"{case}/W"], results[f"{case}/loss"]
    kept = torch.ones_like(loss).scatter_(1, loss.argmax(dim=1, keepdim=True), 0)
    values = (v.view_as(loss) for v in theory.last_feature(W.flatten(0, 1)))
    return tuple((v * kept).sum(dim=1) / kept.sum(dim=1) for v in values)


def best(results, case):
    """In the best restart."""
    return theory.last_feature(best_weights(results, case))


def best_weights(results, case):
    """W of the restart of lowest loss: (points, hidden, features)."""
    W, loss = results[f"{case}/W"], results[f"{case}/loss"]
    return W.flatten(0, 1)[best_restart(loss.flatten(), loss.shape[1])]


DIAGRAMS = {
    "named solutions": named,
    "exact optimum": optimal,
    "trained: mean of all but the worst": averaged,
    "trained: best restart": best,
}


# Numbers


def in_global_optimum(results, case):
    """Restarts whose basin is that of the global optimum: (points, restarts)."""
    return results[f"{case}/settled"] <= results[f"{case}/optimum/loss"][:, None] * (1 + theory.SAME_LOSS)


def agreement(results, case, first, second=optimal):
    """Share of points at which two diagrams show the same phase."""
    return (theory.phase(*first(results, case)) == theory.phase(*second(results, case))).double().mean().item()


def phase_shares(results, case, diagram):
    """Share of points in each of theory.PHASES."""
    return torch.bincount(theory.phase(*diagram(results, case)), minlength=3) / len(results[f"{case}/density"])


def excess(results, case):
    """Share of the loss above the optimum, over all models, that local minima cost; the rest is noise within basins."""
    loss, settled = results[f"{case}/loss"], results[f"{case}/settled"]
    scale = theory.ignored_loss(1, results[f"{case}/density"])[:, None]
    minima, noise = (settled - results[f"{case}/optimum/loss"][:, None]) / scale, (loss - settled) / scale
    return (minima.sum() / (minima.sum() + noise.sum()).clamp(min=1e-12)).item()


def study(results):
    """For each change in STUDY, in each case: share in the global optimum, agreement of the mean and of the best.

    -> {name: tensor (cases, 3)}
    """
    names = [name for name in STUDY if f"study/{name}/n2/W" in results]
    return {name: torch.tensor([_success(results, f"study/{name}/{case}") for case in CASES]) for name in names}


def _success(results, case):
    reached = in_global_optimum(results, case).double().mean().item()
    return reached, agreement(results, case, averaged), agreement(results, case, best)


def figures(results):
    """All figures of the section by name."""
    return {
        **{f"section3-{case}": diagrams_figure(results, case) for case in CASES},
        "section3-boundary": boundary_figure(results),
        "section3-study": study_figure(results),
    }


def diagrams_figure(results, case):
    """The five diagrams of one of CASES."""
    return visualization.phase_diagrams(
        results[f"{case}/density"],
        results[f"{case}/ratio"],
        {title: values(results, case) for title, values in DIAGRAMS.items()},
        in_global_optimum(results, case).double().mean(dim=1),
    )


def boundary_figure(results):
    """Where the phase change of n=2, m=1 is, and of which order."""
    boundary = {name: results[f"boundary/{name}"] for name in theory.Boundary._fields}
    return visualization.boundary_figure(**boundary, named=theory.named_boundary(boundary["density"]))


def study_figure(results):
    """What training settings do to the diagrams."""
    return visualization.study_figure(study(results), ["$n=2$, $m=1$", "$n=3$, $m=2$"])


# Claims


def claims(results):
    """Claims 3.1 to 3.5."""
    return [
        _claim_phases(results),
        _claim_named(results),
        _claim_first_order(results),
        _claim_four_solutions(results),
        _claim_exact(results),
    ]


def _percent(shares):
    return " / ".join(f"{share:.0%}" for share in shares)


def _claim_phases(results):
    shares = {name: phase_shares(results, "n2", diagram) for name, diagram in (("mean", averaged), ("best", best))}
    agree = {name: agreement(results, "n2", diagram) for name, diagram in (("mean", averaged), ("best", best))}
    return Claim(
        "3.1", "n=2, m=1: three phases, in the mean of all restarts but the worst and in the best restart", "yes",
        "; ".join(
            f"{name}: {_percent(shares[name])} of points not represented / in superposition / dedicated, "
            f"{agree[name]:.1%} as the exact optimum" for name in shares
        ),
        all(bool((shares[name] > 0.03).all()) and agree[name] > 0.9 for name in shares),
    )  # fmt: skip


def _claim_named(results):
    shares, agree = phase_shares(results, "n2", named), agreement(results, "n2", named, best)
    return Claim(
        "3.2", "the diagram of the named solutions has the same three regions", "yes",
        f"{_percent(shares)} of points; {agree:.1%} as the best restart", bool((shares > 0.03).all()) and agree > 0.9,
    )  # fmt: skip


def _claim_first_order(results):
    density, before, after, kink = (results[f"boundary/{name}"] for name in ("density", "before", "after", "kink"))
    jumps, sharp = kink > 0, before <= theory.ONSET
    smallest = (after - before)[jumps].min().item() if jumps.any() else 0.0
    return Claim(
        "3.3", "the change is first order: the losses of two solutions cross, the optimal loss has a kink", "yes",
        f"at {int(jumps.sum())} of {len(density)} densities |w_2| jumps, by {smallest:.2f} at least, with a kink of "
        f"{kink.min():.2f} to {kink.max():.2f}; out of zero at densities {_ranges(density, jumps & sharp)}, "
        f"after a smooth rise at {_ranges(density, jumps & ~sharp)}",
        bool(jumps.all()),
    )  # fmt: skip


def _ranges(density, chosen):
    """The densities chosen, as ranges of neighbours in the list."""
    runs, previous = [], False
    for value, now in zip(density.tolist(), chosen.tolist()):
        if now and previous:
            runs[-1][1] = value
        elif now:
            runs.append([value, value])
        previous = now
    return ", ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for high, low in runs) or "none"


def _claim_four_solutions(results):
    found = theory.nearest_named(best_weights(results, "n3"))
    shares = torch.bincount(found, minlength=4) / len(found)
    of_best, of_mean = (agreement(results, "n3", named, diagram) for diagram in (best, averaged))
    return Claim(
        "3.4", "n=3, m=2: the same with four solutions", "yes",
        f"best restart most like each named solution at {_percent(shares)} of points, in the named diagram's phase at "
        f"{of_best:.1%}, mean of all but the worst at {of_mean:.1%}",
        bool((shares > 0.03).all()) and of_best > 0.9,
    )  # fmt: skip


def _claim_exact(results):
    measured, holds = [], True
    for case in CASES:
        of_mean, of_best = (agreement(results, case, diagram) for diagram in (averaged, best))
        reached = in_global_optimum(results, case).double().mean(dim=1)
        differs = theory.phase(*averaged(results, case)) != theory.phase(*optimal(results, case))
        explained = (reached[differs] < 1).double().mean().item() if differs.any() else 1.0
        by_minima = excess(results, case)
        measured.append(
            f"{case}: like the exact optimum at {of_best:.1%} of points (best restart), {of_mean:.1%} (mean); "
            f"{reached.mean():.0%} of restarts in its basin; local minima are {by_minima:.0%} of the "
            f"excess loss and present at {explained:.0%} of the points where the mean differs"
        )
        holds &= of_best >= 0.99 and (of_mean >= 0.95 or explained >= 0.95)
    return Claim(
        "3.5", "(ours) trained models agree with the exact optimum; local minima explain the noise of averages", "-",
        "; ".join(measured), holds,
    )  # fmt: skip


def main(argv=None):
    return section_main(sys.modules[__name__], argv)


if __name__ == "__main__":
    sys.exit(main())
