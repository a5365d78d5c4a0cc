"""Which rows are drawn, and how much they weigh in loss and gradient."""

import math
import warnings

import torch
from jaxtyping import Float64
from torch import Tensor

from features import RowMaker

RARE = 0.01  # empty rows rarer than this are drawn like any other, as leaving them out costs more
SCARCE = 0.01  # probability of a row with an active feature below which `empty_limit` is finite
HIGHEST_WEIGHT = 1e30  # of a row in the gradient: beyond it float32 overflows


class Rows:
    """The rows of some instances and their weights in loss and gradient.

    The loss of an instance has two terms: the mean loss of rows with an active feature, times the
    probability of such a row, and the loss of the empty row, times the remaining probability. In
    the gradient both terms are divided by the probability of an active row and by the instance's
    largest importance. This changes no minimum, and it makes the epsilon of Adam act alike on
    important and unimportant, frequent and rare features.

    Args:
        distribution: FeatureDistribution of the instances.
        restarts: Number of consecutive instances that have equal densities and share their rows.
        dtype: The model's dtype, in which rows are drawn.
        rare: Empty rows of at most this probability are drawn like any other; 1.0 for all.

    Attributes:
        probability: (instances,), the probability of the rows that are drawn. The empty row has the
            remaining one.
        may_be_empty: Whether the empty row has a probability in some instance.
        active_weight: (instances,), the weight of the drawn rows' loss in the gradient.
        empty_weight: (instances,), the weight of the empty row's loss in the gradient.
        largest: (instances,), the largest importance, or 1 where all importances are zero.
        empty_limit: What the function of this name returns.
    """

    def __init__(self, distribution, restarts, dtype, rare=RARE):
        """Prepare the tables that make rows, and the weights."""
        self.maker = RowMaker(distribution.select(slice(None, None, restarts)), dtype, rare=rare)
        self.restarts = restarts
        self.probability = self.maker.probability.repeat_interleave(restarts)
        self.may_be_empty = bool((self.probability < 1).any())
        active = one_for_zero(distribution.active_probability)
        drawn = torch.where(self.probability < 1, distribution.active_probability, 1.0)
        self.active_weight = (drawn / active).clamp(max=HIGHEST_WEIGHT).to(dtype)
        self.empty_weight = ((1 - drawn) / active).clamp(max=HIGHEST_WEIGHT).to(dtype)
        self.largest = largest_importance(distribution)
        self.empty_limit = empty_limit(distribution)

    def draw(self, draw, out):
        """Write the rows of a draw into out (densities, batch, features)."""
        return self.maker.rows(draw, out=out)

    def repeated(self, x):
        """Repeat rows (densities, batch, features) for all instances that share them."""
        if self.restarts == 1:
            return x
        return x[:, None].expand(-1, self.restarts, -1, -1).flatten(0, 1)


def largest_importance(distribution) -> Float64[Tensor, " instances"]:
    """Return the largest importance of each instance, and 1 where all are zero."""
    return one_for_zero(distribution.importance.amax(dim=1))


def empty_limit(distribution) -> Float64[Tensor, "instances features"] | None:
    """Return the largest gradient that the empty row may have in b, None if no limit is needed.

    Where active rows are scarce, the empty row weighs very much: one step that makes b positive
    gives a gradient so large that Adam's average of squares hides all others for a thousand steps.
    Active rows cannot pull b up by more than 2 I rms(x). If the empty row is limited to that, it
    still outweighs their pull wherever it did before, so that minima stay where they are.

    The limit applies to the relative gradient that `Rows` describes, and to the four models of
    `models.py`. It is infinite for instances whose active rows are not scarce.
    """
    active = distribution.active_probability
    scarce = (active > 0) & (active < SCARCE)
    if not scarce.any():
        return None
    try:
        mean, own, shared = distribution.moments()
    except ValueError:  # nested features have no moments in closed form
        warn_of_scarce_rows(distribution)
        return None
    square = (mean.square() + own + shared) / one_for_zero(active)[:, None]  # given an active row
    relative = distribution.importance / largest_importance(distribution)[:, None]
    limit = 2 * relative * square.amax(dim=1, keepdim=True).sqrt()
    return limit.where(scarce[:, None], math.inf)


def warn_of_scarce_rows(distribution):
    """Warn if some instances have so few active rows that training may not reach a minimum."""
    active = distribution.active_probability
    scarce = (active > 0) & (active < SCARCE)
    if scarce.any():
        warnings.warn(
            f"density: {scarce.sum()} instances have an active feature in less than {SCARCE:g} of "
            "all rows. For such inputs training may end above the minimum unless the model is one "
            "of the four of models.py and features are not nested.",
            stacklevel=2,
        )


def one_for_zero(values):
    """Return positive values as they are and 1 in place of zeros, so that they can divide."""
    return torch.where(values > 0, values, 1.0)
