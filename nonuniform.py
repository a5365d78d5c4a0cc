"""Non-uniform superposition, the second half of Section 4: what happens where features are not all alike.

One of five features in the plane has another density; features come in correlated or anticorrelated
sets. Up to six features the loss is exact, so these experiments are solved, not sampled, and one of
each is cross-checked by training on samples. Section4main runs this as a part of itself: claims 4.7
to 4.12.
"""

import torch

import theory
import visualization
from claims import Claim
from expected_loss import expected_loss
from features import FeatureDistribution
from geometry import (
    POLYTOPES,
    SAME_COSINE,
    collapsed_pairs,
    oriented,
    represented,
    set_cosines,
    side_by_side,
    unit_directions,
)
from models import ReLUOutputModel
from training import train, train_best

SAMPLED = {"restarts": 8, "steps": 1500, "batch_size": 256}
SETTINGS = {  # arguments of the experiments of the second half
    "perturbed": {
        "densities": [0.05, 0.02, 0.1, 0.2], "points": 61, "random_starts": 8, "steps": 300, "sampled": SAMPLED,
    },
    "pairs": {"densities": [0.02, 0.2], "runs": 32, "steps": 400, "sampled": SAMPLED},
    "sets": {"densities": [0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0], "runs": 8, "steps": 2000, "batch_size": 256},
    "collapse": {"densities": [0.02, 0.9, 25], "random_starts": 8, "steps": 250, "sampled": SAMPLED},
}  # fmt: skip
FEW = {"restarts": 2, "steps": 200, "batch_size": 64}
QUICK = {
    "perturbed": {"densities": [0.05, 0.1], "points": 9, "random_starts": 1, "steps": 40, "sampled": FEW},
    "pairs": {"densities": [0.02, 0.2], "runs": 3, "steps": 40, "sampled": FEW},
    "sets": {"densities": [0.05, 0.5], "runs": 2, "steps": 200, "batch_size": 64},
    "collapse": {"densities": [0.03, 0.9, 5], "random_starts": 2, "steps": 40, "sampled": FEW},
}  # fmt: skip
GEOMETRIES = ("pentagon", "digons without it", "digons with it")  # it: feature 0, of another density
DROPPED = torch.tensor([[0, 1, -1, 0, 0], [0, 0, 0, 1, -1]], dtype=torch.float64)  # digons without feature 0
KEPT = torch.tensor([[1, -1, 0, 0, 0], [0, 0, 0, 1, -1]], dtype=torch.float64)  # digons without another
NEAR_PAPER = 0.25  # a number read off a figure of the paper may be this far from ours, relative
SAMPLED_EVERY = 4  # of the points of a line, one in so many is trained on samples too
PRINCIPAL = 0.01  # a loss no further below the principal components', relative, has met it


def run(settings, seed=0, device="cpu", progress=True):
    """The second half of the section, as a dict of tensors: what `perturbed`, `pairs`, `sets` and `collapse` return.

    settings: for each of these its arguments. Exact losses are computed on the CPU; the device trains the samples.
    """
    shared = {"seed": seed, "device": device, "progress": progress}
    results = {}
    for name, experiment in EXPERIMENTS.items():
        results |= {f"{name}/{key}": value for key, value in experiment(**settings[name], **shared).items()}
    return results


def perturbed(densities, points, random_starts, steps, sampled, *, seed=0, device="cpu", progress=True):
    """n=5, m=2, the density of feature 0 from 1/100 to 10 times the others': the best exact solution of each geometry.

    densities: of the other features, the paper's first; points: ratios at each, up to a density of 1; random_starts:
    descents from small weights at one ratio in SAMPLED_EVERY; steps: of all descents; sampled: see `sampled_best`
    -> "density" (densities,), "ratio" (densities, points); of each of GEOMETRIES "W" (densities, points, geometries,
    2, 5) and "loss" (densities, points, geometries), infinite where there is none; theory.Crossings as "crossing/..."
    with "crossing/ratio"; at one ratio in SAMPLED_EVERY "random/W" and "random/loss" (densities, ratios, starts, ...),
    and for the paper's density "sampled/W" and "sampled/loss"
    """
    density = torch.tensor(densities, dtype=torch.float64)
    highest = (1 / density).clamp(max=10)
    ratio = 0.01 * (highest / 0.01)[:, None] ** torch.linspace(0, 1, points, dtype=torch.float64)
    inputs = _perturbed_inputs(density, ratio)
    W = torch.stack([POLYTOPES["pentagon"].vertices, DROPPED, KEPT])
    W += 0.01 * torch.randn(W.shape, generator=torch.Generator().manual_seed(seed), dtype=W.dtype)  # off the saddles
    W = W.expand(inputs.instances, -1, -1, -1)
    b = torch.zeros(*W.shape[:2], 5, dtype=torch.float64)
    b[:, 1, 0] = inputs.density[:, 0] / 2  # a feature that is not represented has its mean as bias
    along = {"distribution": inputs, "lines": len(density), "kind": geometry_of, "steps": steps}
    found = theory.best_of_kinds(W, b, kinds=3, lr=3e-2, worth=4, progress=progress, **along)
    crossings = theory.crossings(found, **along)
    some = inputs.select(torch.arange(inputs.instances).view(ratio.shape)[:, ::SAMPLED_EVERY].flatten())
    random = random_descents(some, random_starts, steps=steps, seed=seed, progress=progress)
    return {
        "density": density,
        "ratio": ratio,
        "W": found.W.unflatten(0, ratio.shape),
        "loss": found.loss.unflatten(0, ratio.shape),
        **{f"random/{name}": value.unflatten(0, (len(density), -1)) for name, value in random.items()},
        **{f"crossing/{name}": value for name, value in crossings._asdict().items()},
        "crossing/ratio": _between(ratio[crossings.line], crossings.position),
        **sampled_best(inputs.select(slice(0, points, SAMPLED_EVERY)), seed=seed, device=device, **sampled),
    }


def _small_weights(distribution, starts, seed, init_scale=0.1):
    """Random W (instances, starts, 2, features) to start from."""
    shape = distribution.instances * starts, distribution.features, 2
    model = ReLUOutputModel(*shape, seed=seed, dtype=torch.float64, init_scale=init_scale)
    return model.W.detach().unflatten(0, (-1, starts))


def _perturbed_inputs(density, ratio):
    """Five features of density (densities,), the first of ratio (densities, points) as much: one instance each."""
    table = density[:, None, None].repeat(1, ratio.shape[1], 5)
    table[..., 0] *= ratio
    return FeatureDistribution(table.flatten(0, 1).clamp(max=1))


def geometry_of(W):
    """Index of GEOMETRIES: all five features represented, or four in antipodal pairs and one not; 3 for neither."""
    shown = represented(W)
    directions = unit_directions(W)
    opposite = (directions.mT @ directions).amin(dim=2) < SAME_COSINE - 1
    digons = (shown.sum(dim=1) == 4) & (opposite | ~shown).all(dim=1)
    return torch.where(shown.all(dim=1), 0, torch.where(digons, 1 + shown[:, 0].int(), 3))


def random_descents(distribution, runs, *, steps, seed, progress):
    """Exact descents from small weights: "W" (instances, runs, 2, features) and "loss" (instances, runs)."""
    W = _small_weights(distribution, runs, seed).flatten(0, 1)
    repeated = distribution.with_restarts(runs)
    model, loss = theory.descend(W, 0 * W[:, 0], repeated, steps=steps, lr=0.1, progress=progress)
    return {"W": model.W.detach().unflatten(0, (-1, runs)), "loss": loss.view(-1, runs)}


def sampled_best(distribution, restarts, steps, batch_size, *, seed=0, device="cpu", progress=False):
    """The best of several models trained on samples, to check exact optima with.

    -> "sampled/W" (instances, 2, features) and their exact losses "sampled/loss" (instances,)
    """
    settings = {"restarts": restarts, "steps": steps, "batch_size": batch_size, "lr": 3e-2}
    inputs = distribution.to(device)
    model, _ = train_best(ReLUOutputModel, inputs, 2, seed=seed, progress=progress, **settings)
    W, b = model.W.detach().cpu().double(), model.b.detach().cpu().double()
    return {"sampled/W": W, "sampled/loss": expected_loss(W, b, distribution)}


def orthogonal(W):
    """Whether the members of every pair are orthogonal, all represented: (instances,), bool."""
    return (set_cosines(W, 2)[0].abs() < SAME_COSINE).all(dim=1) & represented(W).all(dim=1)


def antipodal(W):
    """Whether the members of every pair are antipodal, all represented: (instances,), bool."""
    return (set_cosines(W, 2)[0] < SAME_COSINE - 1).all(dim=1) & represented(W).all(dim=1)


PAIRS = {  # claim -> features, correlation, what the paper sees in W and its name
    "4.8": (4, "correlated", orthogonal, "orthogonal"),
    "4.9": (4, "anticorrelated", antipodal, "antipodal"),
    "4.10": (6, "correlated", lambda W: side_by_side(W, 2), "side by side"),
}


def pairs(densities, runs, steps, sampled, *, seed=0, device="cpu", progress=True):
    """Sets of two features in m=2, a case for each of PAIRS: several exact runs at each density.

    -> "density" (densities,); for each case, by the claim's id, "W" (densities, runs, 2, features), "loss" (densities,
    runs), and "sampled/W" and "sampled/loss" as `sampled_best` has them
    """
    density = torch.tensor(densities, dtype=torch.float64)
    results = {"density": density}
    for case, (features, correlation, *_) in PAIRS.items():
        inputs = FeatureDistribution(density[:, None], features=features, set_size=2, correlation=correlation)
        of_case = random_descents(inputs, runs, steps=steps, seed=seed, progress=progress)
        of_case |= sampled_best(inputs, seed=seed, device=device, **sampled)
        results |= {f"{case}/{name}": value for name, value in of_case.items()}
    return results


def sets(densities, runs, steps, batch_size, *, seed=0, device="cpu", progress=True):
    """Two sets of ten correlated features in m=10, trained on samples: "density", "W" (densities, runs, 10, 20)."""
    density = torch.tensor(densities, dtype=torch.float64)
    inputs = FeatureDistribution(density[:, None], features=20, set_size=10, correlation="correlated")
    model = ReLUOutputModel(len(density) * runs, 20, 10, seed=seed, device=device)
    repeated = inputs.with_restarts(runs).to(device)
    train(model, repeated, steps=steps, batch_size=batch_size, lr=1e-2, seed=seed, progress=progress)
    return {"density": density, "W": model.W.detach().cpu().unflatten(0, (-1, runs))}


def collapse(densities, random_starts, steps, sampled, *, seed=0, device="cpu", progress=True):
    """Three correlated pairs in m=2: the exact optimum over density, and the best of each number of collapsed pairs.

    densities: lowest, highest and how many, logarithmic
    -> "density" (points,); of 0 to 3 collapsed pairs "W" (points, 4, 2, 6) and "loss" (points, 4), infinite where there
    is none; "crossing/..." as theory.Crossings has it, with "crossing/density"; at one density in SAMPLED_EVERY
    "sampled/W" and "sampled/loss"
    """
    low, high, points = densities
    density = low * (high / low) ** torch.linspace(0, 1, points, dtype=torch.float64)
    inputs = FeatureDistribution(density[:, None], features=6, set_size=2, correlation="correlated")
    W = _small_weights(inputs, random_starts, seed, init_scale=0.3)
    along = {"distribution": inputs, "lines": 1, "kind": collapsed_pairs, "steps": steps}
    found = theory.best_of_kinds(W, 0 * W[:, :, 0], kinds=4, lr=0.1, worth=1.2, progress=progress, **along)
    crossings = theory.crossings(found, **along)
    return {
        "density": density,
        "W": found.W,
        "loss": found.loss,
        **{f"crossing/{name}": value for name, value in crossings._asdict().items()},
        "crossing/density": _between(density.expand(len(crossings.line), -1), crossings.position),
        **sampled_best(inputs.select(slice(0, None, SAMPLED_EVERY)), seed=seed, device=device, **sampled),
    }


def _between(line, position):
    """Values at fractional positions (crossings,) along logarithmic lines (crossings, points)."""
    below = position.nan_to_num(0).long().clamp(max=line.shape[1] - 2)[:, None]
    low, high = line.gather(1, below)[:, 0], line.gather(1, below + 1)[:, 0]
    return low * (high / low) ** (position - below[:, 0])


EXPERIMENTS = {"perturbed": perturbed, "pairs": pairs, "sets": sets, "collapse": collapse}


# What the second half shows


def snap(results):
    """Relative density of feature 0 at which digons without it give way to a pentagon: (densities,), NaN for none."""
    line, below, ratio = (results[f"perturbed/crossing/{name}"] for name in ("line", "below", "ratio"))
    found = torch.full_like(results["perturbed/density"], torch.nan)
    for k in ((below == 1) & (results["perturbed/crossing/above"] == 0)).nonzero()[:, 0].flip(0).tolist():
        found[line[k]] = ratio[k]  # the lowest of a density last
    return found


def lasts(results, geometry):
    """Lowest and highest relative density at which a geometry is a local minimum: (densities, 2), inf for none."""
    ratio = results["perturbed/ratio"]
    there = results["perturbed/loss"][..., GEOMETRIES.index(geometry)].isfinite()
    ends = torch.where(there, ratio, torch.inf).amin(dim=1), torch.where(there, ratio, -torch.inf).amax(dim=1)
    return torch.stack(ends, dim=1)


def pattern(results, case):
    """Which runs show what the paper sees: (densities, runs), bool; and which density's optimum does: (densities,)."""
    W, loss = results[f"pairs/{case}/W"], results[f"pairs/{case}/loss"]
    shown = PAIRS[case][2](W.flatten(0, 1)).view_as(loss)
    return shown, shown.gather(1, loss.argmin(dim=1, keepdim=True))[:, 0]


def set_overlaps(results):
    """Mean |cos| within a set and across sets, and the number of features represented: each (densities, runs)."""
    W = results["sets/W"]
    within, across = (cosines.abs().mean(dim=1).view(W.shape[:2]) for cosines in set_cosines(W.flatten(0, 1), 10))
    return within, across, represented(W.flatten(0, 1)).sum(dim=1).view(W.shape[:2])


def relative_to_principal(results):
    """The optimal loss over that of the first two principal components, (points,)."""
    density, loss = results["collapse/density"], results["collapse/loss"]
    inputs = FeatureDistribution(density[:, None], features=6, set_size=2, correlation="correlated")
    return loss.amin(dim=1) / theory.principal_components_loss(inputs, hidden=2)


def meets_principal(results):
    """Density from which on the optimal loss is within PRINCIPAL of the principal components', interpolated."""
    density, gap = results["collapse/density"], 1 - relative_to_principal(results) - PRINCIPAL
    apart = (gap > 0).nonzero()[:, 0]
    if not len(apart) or apart[-1] == len(gap) - 1:
        return density[0].item() if not len(apart) else torch.nan
    last = apart[-1]
    share = gap[last] / (gap[last] - gap[last + 1])
    return (density[last] * (density[last + 1] / density[last]) ** share).item()


def figures(results):
    """The figures of the second half by name."""
    return {
        "section4-perturbed": perturbed_figure(results),
        "section4-pairs": pairs_figure(results),
        "section4-sets": sets_figure(results),
        "section4-collapse": collapse_figure(results),
    }


def perturbed_figure(results):
    """Digons and pentagons over the density of one feature, and where their losses cross."""
    ratio, loss = results["perturbed/ratio"], results["perturbed/loss"]
    W, lowest = results["perturbed/W"][0], loss[0]
    digons = 1 + lowest[:, 1:].argmin(dim=1)  # with feature 0 or without it
    solutions = {}
    for name, kind, (right, up) in (("digons", digons, (1, 3)), ("pentagons", torch.zeros_like(digons), (0, 1))):
        there = lowest.gather(1, kind[:, None])[:, 0].isfinite()
        chosen = W[torch.arange(len(kind)), kind][there]
        solutions[name] = ratio[0][there], oriented(chosen, right, up), (kind == lowest.argmin(dim=1))[there]
    runs = results["perturbed/random/loss"]
    geometry = geometry_of(results["perturbed/random/W"].flatten(0, 2)).view_as(runs)
    density = results["perturbed/density"]
    return visualization.perturbed_figure(solutions, density, ratio, loss, snap(results), runs, geometry)


def pairs_figure(results, runs=3):
    """The optimum and the first runs of each case at each density, oriented alike, with their losses."""
    rows = {}
    for case, (_, correlation, _, name) in PAIRS.items():
        shares, panels, titles = pattern(results, case)[0].double().mean(dim=1), [], []
        for k, density in enumerate(results["pairs/density"].tolist()):
            W, loss = results[f"pairs/{case}/W"][k], results[f"pairs/{case}/loss"][k]
            chosen = torch.cat((loss.argmin()[None], torch.arange(min(runs, len(loss)))))
            panels.append(oriented(W[chosen]))
            of_ignored = (loss / ignored_loss(correlation, density))[chosen].tolist()
            names = [f"density {density:g}\noptimum", *(f"\nrun {run}" for run in range(runs))]
            titles += [f"{which}: {loss:.2f}" for which, loss in zip(names, of_ignored)]
        label = f"{correlation}:\n{name} in\n{' and '.join(f'{share:.0%}' for share in shares)}"
        rows[label] = torch.cat(panels), titles
    note = "above: exact loss, in features that are not represented; dot and ring: the members of a set"
    return visualization.set_arrows(rows, note)


def ignored_loss(correlation, density):
    """Loss of one member of a set of two that is not represented: its variance."""
    inputs = FeatureDistribution(density, features=2, set_size=2, correlation=correlation)
    _, own, shared = inputs.moments()
    return (own + shared)[0, 0].item()


def sets_figure(results, shown=(0.02, 0.2, 0.7)):
    """W^T W of two sets of ten at some densities, and the cosines within and across sets over density."""
    density, W = results["sets/density"], results["sets/W"]
    nearest = (density[:, None].log() - torch.tensor(shown, dtype=density.dtype).log()).abs().argmin(dim=0).unique()
    return visualization.sets_figure(density[nearest], W[nearest, 0], density, *set_overlaps(results))


def collapse_figure(results, shown=(0.04, 0.1, 0.25, 0.42, 0.55, 0.8)):
    """The optimum of three correlated pairs at some densities, and the number of collapsed pairs over density."""
    density, loss = results["collapse/density"], results["collapse/loss"]
    best = loss.argmin(dim=1)
    W = results["collapse/W"][torch.arange(len(best)), best]
    nearest = (density[:, None].log() - torch.tensor(shown, dtype=density.dtype).log()).abs().argmin(dim=0).unique()
    return visualization.collapse_figure(
        density[nearest], oriented(W[nearest]), density, best, results["collapse/crossing/density"],
        relative_to_principal(results), meets_principal(results),
    )  # fmt: skip


# Claims 4.7 to 4.12


def claims(results):
    """Claims 4.7 to 4.12."""
    return [
        _claim_snap(results),
        *[_claim_pairs(results, case) for case in PAIRS],
        _claim_sets(results),
        _claim_collapse(results),
    ]


def _excess(sampled, exact):
    """How far the sampled models' losses are above the exact optima, at the median and at most, in words."""
    above = sampled / exact - 1
    return f"best sampled models {above.median():.1%} above it at the median, {above.max():.1%} at most"


def _claim_snap(results):
    density, ratio, sparser = results["perturbed/density"], results["perturbed/ratio"][0], 1 / snap(results)
    loss, W = results["perturbed/loss"][0], around(oriented(results["perturbed/W"][0, :, 0]))
    between = (ratio > 1 / sparser[0]) & (ratio <= 1) & loss[:, 0].isfinite()
    step = W[between].diff(dim=0).norm(dim=1).max().item() if between.sum() > 1 else torch.inf
    runs, known = results["perturbed/random/W"][0], loss[::SAMPLED_EVERY]
    elsewhere = geometry_of(runs.flatten(0, 1)).view(runs.shape[:2]) != known.argmin(dim=1, keepdim=True)
    return Claim(
        "4.7", "n=5, m=2: a pentagon deforms smoothly as one feature gets sparser, then snaps to digons without it",
        "at density 0.05 where it is about 2.5 times sparser",
        "losses cross where it is "
        + ", ".join(f"{x:.2f} times sparser at density {d:g}" for x, d in zip(sparser.tolist(), density.tolist()))
        + f" (to {_precision(ratio):.1%}); at density {density[0]:g} the pentagon's weights move by at most {step:.2f} "
        f"from one ratio to the next, it stays a local minimum until {1 / lasts(results, 'pentagon')[0, 0]:.1f} times "
        f"sparser, digons without it up to a relative density of {lasts(results, 'digons without it')[0, 1]:.2g}; "
        f"{elsewhere.double().mean():.0%} of random descents end in another geometry than the optimum; "
        + _excess(results["perturbed/sampled/loss"], known.amin(dim=1)),
        abs(sparser[0].item() / 2.5 - 1) <= NEAR_PAPER and step < 0.1,
    )  # fmt: skip


def around(W):
    """Features in their order around the circle, from the one that points right on: (instances, 2, features)."""
    angles = (torch.atan2(W[:, 1], W[:, 0]) + 0.1) % (2 * torch.pi)
    return W.gather(2, angles.argsort(dim=1)[:, None].expand_as(W))


def _precision(line):
    """To what share a crossing between neighbours of a logarithmic line is known."""
    return (line[1] / line[0]) ** (1 / (theory.INSIDE - 1)) - 1


def _claim_pairs(results, case):
    features, correlation, shows, name = PAIRS[case]
    W, loss, sampled = (results[f"pairs/{case}/{key}"] for key in ("W", "loss", "sampled/W"))
    shown, optimal = pattern(results, case)
    best, other = (torch.where(which, loss, torch.inf).amin(dim=1) for which in (shown, ~shown))
    measured = []
    for k, density in enumerate(results["pairs/density"].tolist()):
        angles = set_cosines(W[k, loss[k].argmin()][None], 2)[0][0].clamp(-1, 1).acos().rad2deg()
        losses = [f"{value[k] / ignored_loss(correlation, density):.3f}" for value in (loss.amin(dim=1), other)]
        measured.append(
            f"density {density:g}: {shown[k].double().mean():.0%} of runs; the exact optimum has members "
            f"{', '.join(f'{angle:.0f}' for angle in angles.sort().values)} degrees apart and a loss "
            f"of {losses[0]} ignored features, the best that is not {name} {losses[1].replace('inf', 'was not seen')}; "
            f"the best sampled model is {'' if shows(sampled[k : k + 1]) else 'not '}{name}"
        )
    return Claim(
        case, f"m=2, {features // 2} sets of two {correlation} features: members of a set are {name}", "yes",
        "; ".join(measured), bool(optimal.all() and (other > best * (1 + theory.SAME_LOSS)).all()),
    )  # fmt: skip


def _claim_sets(results):
    density, (within, across, count) = results["sets/density"], set_overlaps(results)
    shown = (within < SAME_COSINE) & (across > 2 * within) & (count == 20)
    return Claim(
        "4.11", "two sets of ten correlated features, m=10: nearly orthogonal within a set, all in superposition",
        "yes",
        "mean |cos| within / across sets: "
        + ", ".join(
            f"{a:.2f} / {b:.2f} at density {d:g}"
            for d, a, b in zip(density.tolist(), within.mean(dim=1), across.mean(dim=1))
        )
        + f"; in {int(shown[0].sum())} of {within.shape[1]} runs at {density[0]:g}, where "
        f"{count[0].double().mean():.0f} of 20 features are represented",
        bool(shown[0].all()),
    )  # fmt: skip


PAPER_COLLAPSES = (0.05, 0.15, 0.25)  # densities from which one, two and all three pairs have collapsed


def _claim_collapse(results):
    density, loss = results["collapse/density"], results["collapse/loss"]
    counts = loss.argmin(dim=1)
    at, above = results["collapse/crossing/density"], results["collapse/crossing/above"]
    steps = counts[torch.cat((torch.ones(1, dtype=torch.bool), counts.diff() != 0))].tolist()
    sampled = results["collapse/sampled/W"]
    agree = (collapsed_pairs(sampled) == counts[::SAMPLED_EVERY]).sum()
    met = meets_principal(results)
    near = len(at) == 3 and bool(((at / torch.tensor(PAPER_COLLAPSES) - 1).abs() <= NEAR_PAPER).all())
    return Claim(
        "4.12", "three correlated pairs in m=2 collapse one by one into their principal components as density grows",
        "one from 0.05, two from 0.15, all from 0.25, principal components above 0.5",
        ", ".join(f"{count} from density {x:.4f}" for count, x in zip(above.tolist(), at.tolist()))
        + f" (to {_precision(density):.1%}), {steps[0]} before; loss within {PRINCIPAL:.0%} of the principal "
        f"components' from {met:.2f}; {agree} of {len(sampled)} sampled models collapsed alike, "
        + _excess(results["collapse/sampled/loss"], loss.amin(dim=1)[::SAMPLED_EVERY]),
        steps == [0, 1, 2, 3] and near,
    )  # fmt: skip
