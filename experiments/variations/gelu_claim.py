"""Claim V.3: what changes, and what does not, with GELU in place of ReLU (ours)."""

if __name__ == "__main__":
    raise SystemExit("This file does not run by itself: run python Variationsmain.py instead.")

import torch

from experiments.variations import gelu, gelu_algebra, gelu_neurons, gelu_phases
from sweeps import Claim, ours
from sweeps.claims import BEST_KNOWN, TRAINING_LIMITED, strength
from theory.phases import PHASES
from visualization import nearest

NOT_THE_PAPER = "nothing: the claim is ours"
GAIN = 0.05  # share of what is stored up to which the last round may still add
NEURONS_GAIN = 0.05  # share of the loss up to which the last round may still lower it
GELU_STORES = (1.7, 2.2)  # features' worth per dimension at the sparsest density
RELU_STORES = 4.0  # at least so much
SATURATED = 0.05  # density from which on GELU stores no more
FLAT = 0.25  # features' worth by which it may change from there on
ALGEBRA = 0.2  # features' worth by which algebra and the models may differ
SHARP = 0.1  # share by which the sharper GELU may differ from ReLU
PAIRED = (0.5, 0.35)  # densities at which both have antipodal pairs
PAIRED_LONGER = 0.2  # density at which GELU alone still has them
MOST = 0.9  # share of the features, or of the points, that counts as most
PRESENT = 0.05  # share of the diagram from which on a phase is there
ALIKE = 0.8  # share of the diagram at which both have the same phase
STEP = 1.4  # factor by which the onset on the sparse line may differ from the algebra's
LOWER = 0.8  # hidden GELU's loss at the sparsest density, relative to the hidden ReLU's, at most
HIGHER = 1.2  # that of GELU cut off at zero, at least
DENSE = 0.5  # density of the hidden models where features are dense
CLOSE = 0.1  # share by which their losses may differ there


def claim(output, phases, neurons):
    """Judge V.3.

    Refuted, finding by finding. Stored: at the sparsest density GELU stores less than 1.7 or more
    than 2.2 features' worth per dimension, or ReLU less than 4, or what GELU stores changes by more
    than 0.25 from density 0.05 on. Algebra: evenly spread pairs store something else by more than
    0.2. Cause: the sharper GELU stores something else than ReLU by more than 10 % at a density.
    Motif: at 0.5 or 0.35 fewer than 90 % of the represented features of either have an antipode, or
    at 0.2 fewer with GELU, or more than half with ReLU. Phases: one covers less than 5 % of a
    diagram, the diagrams agree at less than 80 % of the points, or less than 90 % of the points
    that differ are in superposition with ReLU alone. Importance: far on the sparse side the last
    feature comes to be stored at a relative importance that is off the algebra's by more than a
    factor of 1.4, or with ReLU not at the lowest. Neurons: at the sparsest density the hidden
    GELU's loss is above 0.8 of the hidden ReLU's, or that of GELU cut off at zero below 1.2, or at
    density 0.5 the hidden GELU's differs by more than 10 %. Steps: at density 0.5 some neuron is
    polysemantic, or at the sparsest some is not, with ReLU or with GELU.

    Args:
        output: Result of `gelu`.
        phases: Result of `gelu_phases`.
        neurons: Result of `gelu_neurons`.
    """
    return Claim(
        "V.3",
        "with GELU in place of ReLU at the output, the three phases remain, and so do antipodal "
        "pairs from density 0.5 to 0.2, but a hidden dimension never stores much more than two "
        "features' worth, however sparse, because GELU passes half of a small interference on "
        "(ours)",
        NOT_THE_PAPER,
        (
            _stored(output),
            _algebra(output),
            _cause(output),
            _motif(output),
            _phases(phases),
            _importance(phases),
            _neurons(neurons),
            _steps(neurons),
        ),
        "At the sparsest density a dimension stores {GELU, sparsest} features' worth with GELU, "
        "{ReLU, sparsest} with ReLU and {sharper GELU, sparsest} with the sharper GELU. By "
        "algebra, evenly spread antipodal pairs store {by algebra, evenly spread pairs} with GELU; "
        "the share of the model's features that have an antipode there is {share with an antipode, "
        "GELU, sparsest}. Close to density 0, a feature of less than {by algebra, least relative "
        "importance} of the other's importance is still not stored with GELU. With GELU in the "
        "hidden layer the loss of the sparsest features is {GELU over ReLU, sparsest} of that with "
        "ReLU.",
    )


# GELU at the output


def _output_evidence(output, *kinds):
    """Return the strength of evidence that rests on models that the last round may have bettered.

    A gain of the last round says that longer training is better.
    """
    gains = [gelu.last_gain(output, kind) / gelu.stored(output, kind) for kind in kinds]
    gain = torch.stack(gains).max().item()
    return strength(gain, 0.0, GAIN)


def _sparsest(output):
    """Return the index of the sparsest density."""
    return output.density.argmin().item()


def _stored(output):
    """Return the finding on what a hidden dimension stores."""
    stored = gelu.stored(output, "gelu")
    last = stored[_sparsest(output)].item()
    papers = gelu.stored(output, "relu")[_sparsest(output)].item()
    sparse = stored[output.density <= SATURATED]
    change = (sparse.max() - sparse.min()).item()
    low, high = GELU_STORES
    return ours(
        f"At the sparsest density a hidden dimension stores {low} to {high} features' worth with "
        f"GELU at the output, no more than {FLAT} away from what it stores at any density of at "
        f"most {SATURATED}, and at least {RELU_STORES:g} with ReLU.",
        low <= last <= high and papers >= RELU_STORES and change <= FLAT,
        {
            "GELU, sparsest": last,
            "ReLU, sparsest": papers,
            f"change of GELU from density {SATURATED} on": change,
        },
        _output_evidence(output, "gelu", "relu"),
    )


def _algebra(output):
    """Return the finding that the sparse limit of evenly spread pairs tells how much."""
    best = gelu_algebra.best_even_pairs()
    last = gelu.stored(output, "gelu")[_sparsest(output)].item()
    return ours(
        f"That is within {ALGEBRA} of what evenly spread antipodal pairs store in the sparse "
        "limit, by algebra.",
        abs(last - best.benefit) <= ALGEBRA,
        {
            "GELU above algebra": last - best.benefit,
            "by algebra, evenly spread pairs": best.benefit,
            "by algebra, one pair in each dimension": gelu_algebra.pair_benefit(),
            "by algebra, features per dimension": best.features_per_dimension,
            "share with an antipode, GELU, sparsest": gelu.with_antipode(output.gelu.W)[
                _sparsest(output)
            ].item(),
        },
        _output_evidence(output, "gelu"),
    )


def _cause(output):
    """Return the finding that a narrower bend brings ReLU's numbers back."""
    sharp = gelu.stored(output, "sharp")
    relative = sharp / gelu.stored(output, "relu") - 1
    return ours(
        f"A GELU whose bend is {gelu.SHARPNESS:g} times narrower stores as much as ReLU, within "
        f"{SHARP:.0%}, at each density.",
        relative.abs().max().item() <= SHARP,
        {
            "largest relative difference": relative.abs().max().item(),
            "sharper GELU, sparsest": sharp[_sparsest(output)].item(),
        },
        _output_evidence(output, "relu", "sharp"),
    )


def _motif(output):
    """Return the finding on antipodal pairs."""
    ours_with = gelu.with_antipode(output.gelu.W)
    papers_with = gelu.with_antipode(output.relu.W)
    both = nearest(output.density, PAIRED)
    later = nearest(output.density, (PAIRED_LONGER,)).item()
    fewest = {"GELU": ours_with[both].min().item(), "ReLU": papers_with[both].min().item()}
    then = {"GELU": ours_with[later].item(), "ReLU": papers_with[later].item()}
    densities = " and ".join(f"{density:g}" for density in PAIRED)
    return ours(
        f"At densities {densities} at least {MOST:.0%} of the represented features have an "
        f"antipode with either function, and at {PAIRED_LONGER:g} with GELU but at most half with "
        "ReLU.",
        min(fewest.values()) >= MOST and then["GELU"] >= MOST and then["ReLU"] <= 0.5,
        {f"fewest with an antipode, {name}": share for name, share in fewest.items()}
        | {f"at density {PAIRED_LONGER:g}, {name}": share for name, share in then.items()},
        _output_evidence(output, "gelu", "relu"),
    )


# The phases


def _phases_evidence(*solutions):
    """Return BEST_KNOWN unless handing solutions on to neighbours still lowered a loss."""
    falls = max(each.last_fall.max().item() for each in solutions)
    return TRAINING_LIMITED if falls > 1e-3 else BEST_KNOWN


def _phases(result):
    """Return the finding that the three phases remain, and where they differ."""
    shares = {
        name: gelu_phases.shares(W)
        for name, W in (("ReLU", result.relu_W), ("GELU", result.gelu.W))
    }
    agreement = gelu_phases.agreement(result)
    differ = gelu_phases.phase_of(result.gelu.W) != gelu_phases.phase_of(result.relu_W)
    lost = gelu_phases.superposed(result.relu_W) & ~gelu_phases.superposed(result.gelu.W)
    share_lost = (lost.sum() / differ.sum().clamp(min=1)).item()
    smallest = min(min(each) for each in shares.values())
    place = PHASES.index("in superposition")
    return ours(
        f"Each of the three phases covers at least {PRESENT:.0%} of either diagram, both diagrams "
        f"show the same phase at no less than {ALIKE:.0%} of the points, and of the others at "
        f"least {MOST:.0%} are in superposition with ReLU alone.",
        smallest >= PRESENT and agreement >= ALIKE and share_lost >= MOST,
        {
            "share of the points of the same phase": agreement,
            "share of the others in superposition with ReLU alone": share_lost,
            "smallest share of a phase": smallest,
        }
        | {f"share in superposition, {name}": each[place] for name, each in shares.items()},
        _phases_evidence(result.gelu),
    )


def _importance(result):
    """Return the finding that an unimportant feature is not worth storing at any density."""
    algebra = gelu_phases.least_ratio()
    onset = gelu_phases.onset_ratio(result.line.W, result.line_ratio)
    papers = gelu_phases.onset_ratio(result.line_relu_W, result.line_ratio)
    return ours(
        "In the sparse limit the last feature is stored with GELU only from a relative importance "
        f"on that algebra gives, within a factor of {STEP:g}, and with ReLU at the lowest one.",
        1 / STEP <= onset / algebra <= STEP and papers <= result.line_ratio.min().item(),
        {
            "least relative importance, GELU": onset,
            "by algebra, least relative importance": algebra,
            "least relative importance, ReLU": papers,
        },
        _phases_evidence(result.line),
    )


# GELU in the hidden layer


def _neurons_evidence(neurons, *kinds):
    """Return the strength of evidence that rests on models that the last round may have bettered.

    Args:
        neurons: Result of `gelu_neurons`.
        *kinds: Kinds of the models.
    """
    gains = [
        gelu_neurons.last_gain(neurons, kind)[_compared(neurons)].max().item() for kind in kinds
    ]
    return strength(max(gains), 0.0, NEURONS_GAIN)


def _compared(neurons) -> torch.Tensor:
    """Return the indices of the dense and the sparsest density at which models are compared."""
    dense = nearest(neurons.density, (DENSE,))
    return torch.cat((dense, neurons.density.argmin()[None]))


def _neurons(result):
    """Return the finding on the losses with GELU in the hidden layer."""
    dense, sparsest = gelu_neurons.relative_loss(result, "gelu")[_compared(result)].tolist()
    cut = gelu_neurons.relative_loss(result, "cut")[_compared(result)][1].item()
    return ours(
        f"With GELU in the hidden layer the loss is at most {LOWER:g} of the hidden ReLU's at the "
        f"sparsest density, and within {CLOSE:.0%} of it at {DENSE:g}; with GELU cut off at zero "
        f"it is at least {HIGHER:g} of it at the sparsest.",
        sparsest <= LOWER and cut >= HIGHER and abs(dense - 1) <= CLOSE,
        {
            "GELU over ReLU, sparsest": sparsest,
            "GELU cut off at zero over ReLU, sparsest": cut,
            f"GELU over ReLU, density {DENSE:g}": dense,
        },
        _neurons_evidence(result, "relu", "gelu", "cut"),
    )


def _steps(result):
    """Return the finding that neurons turn polysemantic alike."""
    hidden = result.relu.W.shape[1]
    counts = {
        name: gelu_neurons.neuron_pattern(curve.W[_compared(result)])
        for name, curve in (("ReLU", result.relu), ("GELU", result.gelu))
    }
    mono = {name: pattern.monosemantic[0].item() for name, pattern in counts.items()}
    poly = {name: pattern.polysemantic[1].item() for name, pattern in counts.items()}
    return ours(
        f"With ReLU and with GELU all neurons are monosemantic at density {DENSE:g}, and all are "
        "polysemantic at the sparsest.",
        all(count == hidden for count in (*mono.values(), *poly.values())),
        {f"monosemantic at {DENSE:g}, {name}": count for name, count in mono.items()}
        | {f"polysemantic at the sparsest, {name}": count for name, count in poly.items()},
        _neurons_evidence(result, "relu", "gelu"),
    )
