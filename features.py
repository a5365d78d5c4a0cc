"""Features: what the inputs of a toy model are, and how to draw them.

The paper's inputs are sparse: a feature is zero with probability ``S`` and else uniform on [0, 1]. Its *density* is
``1 - S``, its *importance* weighs its error in the loss. Features may come in sets that are active together
(correlated) or of which one at most is active (anticorrelated).

    >>> distribution = FeatureDistribution(density=0.1, features=20, instances=7)
    >>> distribution.sample(batch_size=1024).shape
    torch.Size([7, 1024, 20])
"""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Real
from torch import Tensor

from checks import as_real, check_count, check_size, check_torch, extremes

CORRELATIONS = ("independent", "correlated", "anticorrelated")
HIGHEST_IMPORTANCE = 1e30  # beyond it float32 overflows soon


class Draw(NamedTuple):
    """Uniform numbers from which every instance makes its rows: common random numbers."""

    first: Float64[Tensor, " batch"]  # chooses the first active set of a row
    sets: Float[Tensor, "batch sets"]  # activity, and member and value where these need no other
    values: Float[Tensor, "batch features"]  # the same tensor as sets unless correlated


@dataclass(frozen=True, eq=False)
class FeatureDistribution:
    """The distribution of a toy model's inputs, one for each instance of a batch (paper, Section 2).

    density:     probability that a feature (or a set, see correlation) is active, in [0, 1];
                 scalar or broadcastable to (instances, features); the same within a set
    importance:  weight of a feature's squared error, in [0, 1e30]; same shapes
    features:    number of features, where density and importance do not tell it
    instances:   number of instances, where they do not tell it (default 1)
    set_size:    sets are consecutive runs of this many features
    correlation: "independent": every feature on its own, sets mean nothing;
                 "correlated": one draw decides whether the whole set is active, values independent;
                 "anticorrelated": with probability density the set is active, and then exactly one
                 member, each equally likely
    signed:      active values uniform on [-1, 1] instead of [0, 1] (paper, Section 8)

    After construction ``density`` and ``importance`` are float64 of shape (instances, features), both on the device
    that density was on. Raises ValueError, naming the argument, for anything outside of these.
    """

    density: Real[Tensor, "*#table"] | np.ndarray | Sequence | float
    importance: Real[Tensor, "*#table"] | np.ndarray | Sequence | float = 1.0
    _: KW_ONLY
    features: int | None = None
    instances: int | None = None
    set_size: int = 1
    correlation: str = "independent"
    signed: bool = False

    def __post_init__(self):
        density = _as_table("density", self.density, device=getattr(self.density, "device", None))
        importance = _as_table("importance", self.importance, device=density.device)
        if not ((density >= 0) & (density <= 1)).all():  # false for NaN too
            raise ValueError(f"density: expected values in [0, 1], got {extremes(density)}")
        if not ((importance >= 0) & (importance <= HIGHEST_IMPORTANCE)).all():
            raise ValueError(
                f"importance: expected values in [0, 1e30], got {extremes(importance)}"
            )
        if self.correlation not in CORRELATIONS:
            raise ValueError(
                f"correlation: expected one of {CORRELATIONS}, got {self.correlation!r}"
            )
        shape = self._resolved_shape(density.shape, importance.shape)
        check_count("set_size", self.set_size)
        if shape[1] % self.set_size:
            raise ValueError(
                f"set_size: expected a divisor of {shape[1]} features, got {self.set_size}"
            )
        # Contiguous copies of our own: what the caller does to the arguments later changes nothing.
        density, importance = (t.expand(shape).contiguous().clone() for t in (density, importance))
        if self.correlation != "independent":
            of_sets = density.unflatten(1, (-1, self.set_size))
            if (of_sets != of_sets[..., :1]).any():
                raise ValueError(
                    "density: expected the same value for all members of a set, got different ones"
                )
        for name, value in zip(
            ("density", "importance", "instances", "features"), (density, importance, *shape)
        ):
            object.__setattr__(self, name, value)

    def _resolved_shape(self, density, importance):
        """(instances, features) from the shapes and counts given; ValueError where they do not agree."""
        asked = (self.instances, self.features)
        for name, count in zip(("instances", "features"), asked):
            if count is not None:
                check_count(name, count)
        if self.features is None and len(density) == len(importance) == 0:
            raise ValueError(
                "features: expected a number of features, as density and importance are scalars, got None"
            )
        try:
            shape = torch.broadcast_shapes(
                density, importance, tuple(int(count or 1) for count in asked)
            )
        except RuntimeError:
            shape = ()
        if len(shape) != 2 or any(count not in (None, size) for count, size in zip(asked, shape)):
            raise ValueError(
                f"density, importance: expected shapes that broadcast to (instances, features) = {asked}, "
                f"got {tuple(density)} and {tuple(importance)}"
            )
        check_size(instances=shape[0], features=shape[1])
        return tuple(shape)

    # Selections of instances

    def select(self, instances):
        """The distribution of some instances only: a slice or indices of the instance axis; IndexError for others."""
        return replace(
            self,
            density=self.density[instances],
            importance=self.importance[instances],
            instances=None,
        )

    def with_restarts(self, restarts):
        """Each instance `restarts` times in a row: the layout that training.best_restart expects."""
        check_size(instances=self.instances, features=self.features, restarts=restarts)
        every = torch.arange(self.instances, device=self.density.device)
        return self.select(every.repeat_interleave(restarts))

    def to(self, device):
        """The same distribution with its tensors, and so its samples, on another device."""
        check_torch(device=device)
        return replace(self, density=self.density.to(device), importance=self.importance.to(device))

    # Moments

    @property
    def members(self):
        """Features that are active or not together: set_size, but 1 where features are independent."""
        return 1 if self.correlation == "independent" else self.set_size

    def moments(self) -> tuple[Float64[Tensor, "instances features"], ...]:
        """Mean, own and shared variance of every feature: three tensors.

        Members of one set have the covariance `shared`, each has the variance own + shared; features of different sets
        are independent.
        """
        centre = (
            0 if self.signed else 1 / 2
        )  # mean of an active value; the mean of its square is 1/3
        p = self.density
        if self.correlation == "anticorrelated":
            p = p / self.set_size
            shared = -((p * centre) ** 2)
        else:
            shared = p * (1 - p) * centre**2
        return p * centre, p / 3 - (p * centre) ** 2 - shared, shared

    # Sampling

    @cached_property
    def active_probability(self) -> Float64[Tensor, " instances"]:
        """The probability that a row has at least one active feature."""
        return self._first_cumulative[:, -1]

    def sample(
        self, batch_size, generator=None, dtype=torch.float32
    ) -> Float[Tensor, "instances batch features"]:
        """Draw rows.

        All instances see the same uniform numbers u, and x = max(1 - u / p, 0): each has exactly
        its own distribution, and they differ by their density alone (common random numbers).
        """
        check_torch(dtype=dtype)
        return RowMaker(self, dtype, rare=1.0).rows(self.draw(batch_size, generator, dtype))

    def sample_active(
        self, batch_size, generator=None, dtype=torch.float32
    ) -> tuple[Float[Tensor, "instances batch features"], Float[Tensor, " instances"]]:
        """Draw rows that have at least one active feature, and say how likely such a row is.

        -> x, probability. An instance whose densities are all zero has no such row: it gets empty rows with
        probability 0.
        """
        check_torch(dtype=dtype)
        maker = RowMaker(self, dtype, rare=torch.finfo(dtype).eps / 2)
        return maker.rows(self.draw(batch_size, generator, dtype)), self.active_probability.to(
            dtype
        )

    def draw(self, batch_size, generator=None, dtype=torch.float32) -> Draw:
        """The uniform numbers of a batch: they depend on the features, not on the instances."""
        check_size(batch_size=batch_size, features=self.features)
        device = self.density.device

        def uniform(*shape):
            return torch.rand(shape, generator=generator, dtype=torch.float64, device=device)

        def rounded(
            u,
        ):  # drawn in float64 to resolve small densities; rounding must not reach 0 or 1
            return u.to(dtype).clamp_(torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps / 2)

        first = uniform(batch_size)
        sets = rounded(uniform(batch_size, self._set_density.shape[1]))
        values = (
            rounded(uniform(batch_size, self.features))
            if self.correlation == "correlated"
            else sets
        )
        return Draw(first, sets, values)

    @cached_property
    def _set_density(self):
        """(instances, sets): the density of what is active or not as one."""
        return (
            self.density
            if self.correlation == "independent"
            else self.density[:, :: self.set_size].contiguous()
        )

    @cached_property
    def _first_cumulative(self):
        """(instances, sets): probability that one of the sets up to this one is active, exact for tiny densities."""
        return torch.expm1(torch.log1p(-self._set_density).cumsum(dim=1)).abs()


class RowMaker:
    """Makes the rows of a distribution from the uniform numbers of a batch, with tables that serve many batches.

    A set's place within its activity is max(1 - f u, 0), in two passes over memory: with the factor f = 1 / p it is
    active with density p, with f = 1 certainly, with f infinite never, and uniform on (0, 1) where it is active.

    rare: where empty rows are rarer than this they are drawn like any other. Elsewhere every row has an active set:
          the first one comes from its distribution given that there is one, sets before it are off, sets after it are
          independent of it.
    probability: of a row that is drawn (instances,); all others are empty
    """

    def __init__(self, distribution, dtype, rare):
        self.distribution, p, active = (
            distribution,
            distribution._set_density,
            distribution.active_probability,
        )
        never_empty = 1 - active <= rare
        self.probability = torch.where(never_empty, 1, active).to(dtype)
        self.one = torch.ones((), dtype=dtype, device=p.device)
        self.factors, self.cumulative = (1 / p)[:, None].to(dtype), None  # (instances, 1, sets)
        if not never_empty.all():
            check_size(instances=len(p), sets=p.shape[1], sets_again=p.shape[1])
            self.cumulative = distribution._first_cumulative * _reciprocal(active)[:, None]
            column = torch.arange(p.shape[1], device=p.device)
            first = column[:, None]
            given_first = torch.where(
                column > first, self.factors, torch.where(column == first, self.one, math.inf)
            )
            as_it_is = (never_empty | (active == 0))[:, None, None]
            self.factors = torch.where(as_it_is, self.factors, given_first).flatten(
                0, 1
            )  # (instances * first, sets)
            self.block = len(column) * torch.arange(len(p), device=p.device)[:, None]

    def rows(
        self, draw, out: Float[Tensor, "instances batch features"] | None = None
    ) -> Float[Tensor, "instances batch features"]:
        """x, in `out` if given."""
        factors, of = self.factors, self.distribution
        if out is None:
            check_size(instances=of.instances, batch_size=len(draw.first), features=of.features)
        if self.cumulative is not None:
            chosen = draw.first.expand(len(self.cumulative), -1).contiguous()
            first = torch.searchsorted(self.cumulative, chosen, right=True).clamp_(
                max=factors.shape[1] - 1
            )
            factors = factors.index_select(0, (first + self.block).flatten()).unflatten(
                0, first.shape
            )
        if self.distribution.correlation == "independent" and not self.distribution.signed:
            return torch.addcmul(self.one, draw.sets, factors, value=-1, out=out).clamp_(min=0)
        within = torch.addcmul(self.one, draw.sets, factors, value=-1).clamp_(min=0)
        x = self._members(within, draw.values)
        return x if out is None else out.copy_(x)

    def _members(self, within, values):
        """x (instances, batch, features) from the sets' places within their activity (instances, batch, sets)."""
        k, signed = self.distribution.set_size, self.distribution.signed
        active = within > 0
        if self.distribution.correlation == "correlated":
            active, within = active.repeat_interleave(k, dim=2), values
        elif (
            self.distribution.correlation == "anticorrelated"
        ):  # one number chooses the member and is its value
            within = (
                (k * within)[..., None] - torch.arange(k, dtype=within.dtype, device=within.device)
            ).flatten(2)
            active = (within > 0) & (within <= 1)
        return torch.where(active, 2 * within - 1 if signed else within, 0)


def _as_table(name, value, device):
    """value as real numbers of at most two dimensions, on a device (None for where numbers land by default)."""
    table = as_real(name, value, device)
    if table.dim() > 2:
        raise ValueError(
            f"{name}: expected at most two dimensions (instances, features), got {tuple(table.shape)}"
        )
    return table


def check_distribution(distribution):
    if not isinstance(distribution, FeatureDistribution):
        raise ValueError(
            f"distribution: expected a FeatureDistribution, got {type(distribution).__name__}"
        )


def _reciprocal(p):
    """1 / p, and 0 where p = 0."""
    return torch.where(p > 0, 1 / p, 0)
