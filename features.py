"""Features: what the inputs of a toy model are, and how to draw them.

The paper's inputs are sparse. A feature is zero with probability ``S`` and otherwise uniform on
[0, 1]. Its *density* is ``1 - S``, and its *importance* weights its error in the loss. Features may
come in sets, whose members tend to be active together or exclude each other, and a feature may be
nested in another one, without which it is never active.

    >>> distribution = FeatureDistribution(density=0.1, features=20, instances=7)
    >>> distribution.sample(batch_size=1024).shape
    torch.Size([7, 1024, 20])

**How a row is drawn.** Each feature (or set) has a uniform number u of its own. Its *place* is
max(1 - u / p, 0), where p is its density. A place above 0 means that the feature is active, which
happens with probability p. The place of an active feature is uniform on (0, 1): it is the feature's
value, or it chooses the value. All instances use the same numbers u, so that they differ by their
distributions and not by chance (common random numbers).

**Why the empty row is exact.** Where features are rare, most rows are empty. An empty row needs no
sampling, since what a model makes of it is known. `sample_active` therefore draws only rows with an
active feature and returns their probability. The mean over all rows is the mean over these rows
times their probability, plus the value for the empty row times the remaining probability. To draw
such a row, its first active feature is drawn from the exact distribution. The features before it
are inactive, and the features after it are drawn as usual.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from checks import (
    as_number,
    as_real,
    as_table,
    check_choice,
    check_count,
    check_device,
    check_divisor,
    check_dtype,
    check_generator,
    check_parents,
    check_selection,
    check_size,
    extremes,
    shown,
    table_shape,
)

Numbers = Shaped[Tensor, "..."] | np.ndarray | Sequence | Real  # all that `as_real` accepts

CORRELATIONS = ("independent", "correlated", "anticorrelated")
HIGHEST_IMPORTANCE = 1e30  # float32 overflows soon beyond it
LOWEST_DENSITY = torch.finfo(torch.float64).tiny  # float64 has no precise numbers between 0 and it
LOWEST_VALUE = 1e-15  # of a discrete set, in absolute size: its square is still a float32
HIGHEST_VALUE = 1e15  # in absolute size: its square is at most HIGHEST_IMPORTANCE


def _fix(instance, **fields):
    """Set fields of a frozen dataclass while it is constructed."""
    for name, value in fields.items():
        object.__setattr__(instance, name, value)


@dataclass(frozen=True)
class Uniform:
    """Describe values that are uniform between two numbers.

    Attributes:
        low: The lowest value, at least -1e15.
        high: The highest value, above `low` and at most 1e15.

    Raises:
        ValueError: If `low` or `high` is not such a number.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self):
        _fix(self, low=as_number("low", self.low), high=as_number("high", self.high))
        if not -HIGHEST_VALUE <= self.low < self.high <= HIGHEST_VALUE:
            raise ValueError(
                f"low, high: expected low < high, both within {HIGHEST_VALUE:g} of 0, "
                f"got {self.low:g} and {self.high:g}"
            )


UNIT = Uniform(0, 1)  # the values of the paper's features
SIGNED = Uniform(-1, 1)  # the values of its Section 8


class Draw(NamedTuple):
    """Hold the uniform numbers of a batch, from which every instance makes its rows."""

    first: Float64[Tensor, " batch"]  # chooses the first active set of a row
    sets: Float[Tensor, "batch sets"]  # gives the place of each set, or of each feature on its own
    values: Float[Tensor, "batch features"]  # the same tensor as `sets` unless sets are correlated


@dataclass(frozen=True, eq=False)
class FeatureDistribution:
    """Describe the inputs of toy models, a distribution for each instance (paper, Section 2).

    A distribution cannot be changed. Its `density` and `importance` are float64 tensors of shape
    (instances, features), both on the device on which the given density was. Densities that differ
    from feature to feature are given one by one; Zipf's law, for instance, is
    ``density=highest / torch.arange(1, features + 1) ** exponent``.

    Args:
        density: Probability that a feature is active, in [0, 1] but not between 0 and 2.2e-308: a
            number, or an array that broadcasts to (instances, features). Members of a correlated or
            anticorrelated set have the same density.
        importance: Weight of a feature's squared error, in [0, 1e30], of the same shapes.
        features: Number of features, where density and importance do not tell it.
        instances: Number of instances, where density and importance do not tell it; 1 by default.
        set_size: Number of features in a set. Sets are consecutive runs of features.
        correlation: "independent": every feature is active on its own, and sets mean nothing.
            "correlated": the members of a set are active together, see `strength`.
            "anticorrelated": with probability density the set is active, which means that exactly
            one of its members is, each equally likely.
        signed: True is short for ``values=Uniform(-1, 1)`` (paper, Section 8).
        values: What an active feature is: a `Uniform` range (from 0 to 1 by default), a number,
            or several numbers that are equally likely. Numbers have an absolute size from 1e-15 to
            1e15, as a feature of value 0 would be inactive. The attribute is the range, or a sorted
            tuple of the numbers.
        strength: Of correlated sets: the correlation between the activities of two members, from 0
            (independent) to 1 (always together). With this probability one draw decides for the
            whole set, and otherwise each member is drawn on its own.
        parents: Index of each feature's parent, or None for a feature without one. A parent comes
            before its children. A feature is active only where its parent is active, and then with
            probability density / (density of the parent), so that a child must not be denser than
            its parent. Nested features are otherwise independent. The attribute is a tuple, or None
            if no feature has a parent.

    Raises:
        ValueError: If an argument is not as described, or does not fit the others.
    """

    density: Numbers
    importance: Numbers = 1.0
    _: KW_ONLY
    features: Integral | None = None
    instances: Integral | None = None
    set_size: Integral = 1
    correlation: str = "independent"
    signed: bool | np.bool_ | None = None
    values: Uniform | Numbers | None = None
    strength: Numbers = 1.0
    parents: Sequence | np.ndarray | None = None

    def __post_init__(self):
        self._fix_tables()
        self._fix_sets()
        values = _as_values(self.values, self.signed)
        _fix(self, values=values, signed=values == SIGNED)

    def _fix_tables(self):
        """Check density and importance, and give them the shape (instances, features)."""
        device = self.density.device if isinstance(self.density, Tensor) else None
        density = as_table("density", self.density, device)
        importance = as_table("importance", self.importance, density.device)
        possible = (density == 0) | ((density >= LOWEST_DENSITY) & (density <= 1))
        if not possible.all():  # a density of NaN is not possible either
            expected = f"0 or values from {LOWEST_DENSITY:.2g} to 1"
            raise ValueError(f"density: expected {expected}, got {extremes(density)}")
        if not ((importance >= 0) & (importance <= HIGHEST_IMPORTANCE)).all():
            raise ValueError(
                f"importance: expected values in [0, 1e30], got {extremes(importance)}"
            )
        shape = table_shape(density.shape, importance.shape, self.instances, self.features)
        # The tables are copies, so that later changes of the arguments change nothing here.
        density = density.expand(shape).clone(memory_format=torch.contiguous_format)
        importance = importance.expand(shape).clone(memory_format=torch.contiguous_format)
        _fix(self, density=density, importance=importance, instances=shape[0], features=shape[1])

    def _fix_sets(self):
        """Check how features depend on each other."""
        correlation = check_choice("correlation", self.correlation, CORRELATIONS)
        set_size = check_divisor("set_size", self.set_size, self.features)
        strength = as_number("strength", self.strength)
        parents = check_parents(self.parents, self.features)
        if not (0 <= strength <= 1 and (strength == 1 or correlation == "correlated")):
            expected = "a number in [0, 1], below 1 only for correlated sets"
            raise ValueError(f"strength: expected {expected}, got {strength:g} for {correlation}")
        if parents and correlation != "independent":
            raise ValueError(
                f"parents: expected none unless correlation is 'independent', got {shown(parents)}"
            )
        set_density = self.density.unflatten(1, (-1, set_size))
        if correlation != "independent" and (set_density != set_density[..., :1]).any():
            raise ValueError(
                "density: expected the same value for all members of a set, got different ones"
            )
        for child, parent in _nested(parents):
            if (self.density[:, child] > self.density[:, parent]).any():
                raise ValueError(
                    f"density: expected feature {child} to be at most as dense as its parent "
                    f"{parent}, got a higher density"
                )
        _fix(self, correlation=correlation, set_size=set_size, strength=strength, parents=parents)

    # Selections of instances

    def select(self, instances) -> "FeatureDistribution":
        """Return the distribution of some instances only.

        Args:
            instances: An index, a slice, several indices or a mask of the instances.

        Raises:
            IndexError: If there is no such instance.
            ValueError: If `instances` is none of these, or chooses no instance.
        """
        chosen = check_selection("instances", instances, self.instances).to(self.density.device)
        return replace(
            self, density=self.density[chosen], importance=self.importance[chosen], instances=None
        )

    def with_restarts(self, restarts) -> "FeatureDistribution":
        """Repeat each instance several times in a row, as `training.best_restart` expects it.

        Args:
            restarts: How many times each instance stands in the result.

        Raises:
            ValueError: If `restarts` is not a whole number of at least 1, or too large for memory.
        """
        restarts = check_count("restarts", restarts)
        check_size(instances=self.instances, features=self.features, restarts=restarts)
        return self.select(np.arange(self.instances).repeat(restarts))

    def to(self, device) -> "FeatureDistribution":
        """Return the same distribution with its tensors, and so its samples, on another device.

        Raises:
            ValueError: If the device is not available or does not compute in float64. Apple's "mps"
                does not; models of this size are as fast on the CPU.
        """
        device = check_device(device)
        return replace(self, density=self.density.to(device), importance=self.importance.to(device))

    # Moments

    @property
    def members(self) -> int:
        """Number of features that depend on each other: set_size, or 1 for independent ones."""
        return 1 if self.correlation == "independent" else self.set_size

    def moments(self) -> tuple[Float64[Tensor, "instances features"], ...]:
        """Return the mean, the own variance and the shared variance of every feature.

        The variance of a feature is the sum of both. Two members of one set have the covariance
        `shared`; features of different sets are independent.

        Raises:
            ValueError: If features are nested, since their covariances are not of this form.
        """
        if self.parents is not None:
            raise ValueError(
                "parents: expected none, as covariances of nested features have another form, "
                f"got {shown(self.parents)}"
            )
        p = self.density
        if self.correlation == "anticorrelated":
            p = p / self.set_size
        mean = p * _mean(self.values)
        if self.correlation == "anticorrelated":
            shared = -(mean**2)
        else:
            shared = self.strength * p * (1 - p) * _mean(self.values) ** 2
        return mean, _mean_square(self.values, p) - mean**2 - shared, shared

    # Sampling

    @cached_property
    def active_probability(self) -> Float64[Tensor, " instances"]:
        """Probability that a row has at least one active feature."""
        return self._first_cumulative[:, -1]

    def sample(
        self, batch_size, generator=None, dtype=torch.float32
    ) -> Float[Tensor, "instances batch features"]:
        """Draw rows, from the same uniform numbers for all instances.

        Args:
            batch_size: Number of rows of each instance.
            generator: Source of randomness, on the device of `density`; None for torch's own.
            dtype: float32 or float64.

        Raises:
            ValueError: If an argument is not as described, or the rows are too many.
        """
        check_dtype(dtype)
        return RowMaker(self, dtype, rare=1.0).rows(self.draw(batch_size, generator, dtype))

    def sample_active(
        self, batch_size, generator=None, dtype=torch.float32
    ) -> tuple[Float[Tensor, "instances batch features"], Float[Tensor, " instances"]]:
        """Draw rows that have at least one active feature.

        Args:
            batch_size: As for `sample`.
            generator: As for `sample`.
            dtype: As for `sample`.

        Returns:
            The rows, and for each instance the probability that a row has an active feature. An
            instance whose densities are all zero gets empty rows and probability 0.

        Raises:
            ValueError: If an argument is not as described, or the rows are too many.
        """
        check_dtype(dtype)
        maker = RowMaker(self, dtype, rare=torch.finfo(dtype).eps / 2)
        rows = maker.rows(self.draw(batch_size, generator, dtype))
        return rows, self.active_probability.to(dtype)

    def draw(self, batch_size, generator=None, dtype=torch.float32) -> Draw:
        """Draw the uniform numbers of a batch, which do not depend on the instances.

        Args:
            batch_size: As for `sample`.
            generator: As for `sample`.
            dtype: As for `sample`.

        Raises:
            ValueError: If an argument is not as described, or the numbers are too many.
        """
        check_dtype(dtype)
        batch_size, features = check_size(batch_size=batch_size, features=self.features)
        device = self.density.device
        check_generator(generator, device)

        def uniform(*shape):
            return torch.rand(shape, generator=generator, dtype=torch.float64, device=device)

        def rounded(u):
            """Round float64, which resolves small densities, to dtype, but never to 0 or 1."""
            return u.to(dtype).clamp_(torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps / 2)

        first = uniform(batch_size)
        sets = rounded(uniform(batch_size, self._set_density.shape[1]))
        if self.correlation != "correlated":
            return Draw(first, sets, values=sets)
        return Draw(first, sets, values=rounded(uniform(batch_size, features)))

    @cached_property
    def _set_density(self):
        """Probability that a set is active (instances, sets), given that its parent is."""
        density = self.density
        if self.correlation == "independent":
            if self.parents is not None:
                density = density.clone()
            for child, parent in _nested(self.parents):
                above = self.density[:, parent]
                density[:, child] = torch.where(above > 0, self.density[:, child] / above, 0)
            return density
        density = density[:, :: self.set_size].contiguous()
        if self.strength == 1:
            return density
        any_member = -torch.expm1(self.set_size * torch.log1p(-density))
        return self.strength * density + (1 - self.strength) * any_member

    @cached_property
    def _first_cumulative(self):
        """Probability that a set or one before it is active (instances, sets), precise if tiny."""
        density = self._set_density.clone()
        for child, _ in _nested(self.parents):
            density[:, child] = 0  # a child is never the first, as its parent comes before it
        return torch.expm1(torch.log1p(-density).cumsum(dim=1)).abs()


class RowMaker:
    """Make the rows of a distribution, by tables that serve many batches.

    A set has the place max(1 - u f, 0). With the factor f = 1 / p it is active with density p, with
    f = 1 it is certainly active, and with an infinite f it never is. To make a row with an active
    set, it is therefore enough to choose the first active set and to take the factors that belong
    to it: infinite before it, 1 for itself, and 1 / p after it.

    Args:
        distribution: The FeatureDistribution.
        dtype: float32 or float64, the dtype of the rows.
        rare: Where empty rows have at most this probability, rows are drawn as they come. Elsewhere
            every row has an active feature.

    Attributes:
        probability: Probability of a row that is drawn (instances,). All other rows are empty.
    """

    def __init__(self, distribution, dtype, rare):
        self.distribution = distribution
        density = distribution._set_density
        active = distribution.active_probability
        as_it_comes = 1 - active <= rare
        self.probability = torch.where(as_it_comes, 1, active).to(dtype)
        self.one = torch.ones((), dtype=dtype, device=density.device)
        self.factors = (1 / density)[:, None].to(dtype)  # (instances, 1, sets)
        self.cumulative = None
        if not as_it_comes.all():
            self._condition_on_first(as_it_comes | (active == 0))
        if distribution.strength < 1:
            self._fix_patterns(dtype)
        if not isinstance(distribution.values, Uniform):
            self.table = torch.tensor(distribution.values, dtype=dtype, device=density.device)

    def _condition_on_first(self, as_it_comes):
        """Replace the factors by one line of factors for each first active set."""
        instances, _, sets = self.factors.shape
        check_size(instances=instances, sets=sets, sets_again=sets)
        active = self.distribution.active_probability
        self.cumulative = self.distribution._first_cumulative * _reciprocal(active)[:, None]
        column = torch.arange(sets, device=active.device)
        first = column[:, None]
        certain_or_never = torch.where(column == first, self.one, torch.inf)
        given_first = torch.where(column > first, self.factors, certain_or_never)
        factors = torch.where(as_it_comes[:, None, None], self.factors, given_first)
        self.factors = factors.flatten(0, 1)  # (instances * first, sets)
        self.block = sets * torch.arange(instances, device=active.device)[:, None]

    def _fix_patterns(self, dtype):
        """Tabulate which members of an active set are active if `strength` is below 1.

        In an active set either all members are active together, or a first member is certainly
        active and those after it are drawn on their own. A set's place chooses between these
        patterns: `edges` (instances, 1, sets, set_size) are the places at which one of them ends.
        """
        distribution = self.distribution
        p = distribution.density[:, :: distribution.set_size, None]
        before = torch.arange(distribution.set_size, device=p.device)
        first = (1 - distribution.strength) * p * (1 - p) ** before  # (instances, sets, set_size)
        shares = torch.cat((distribution.strength * p, first[..., :-1]), dim=2)
        edges = shares.cumsum(dim=2) * _reciprocal(distribution._set_density)[..., None]
        self.edges = edges[:, None].to(dtype)
        self.member_factors = (1 / p)[:, None].to(dtype)  # (instances, 1, sets, 1)

    def rows(
        self, draw, out: Float[Tensor, "instances batch features"] | None = None
    ) -> Float[Tensor, "instances batch features"]:
        """Return the rows that a `Draw` gives.

        Args:
            draw: From `FeatureDistribution.draw`, in the dtype of the rows.
            out: Where the rows are written to, if given.
        """
        distribution = self.distribution
        if out is None:
            check_size(
                instances=distribution.instances,
                batch_size=len(draw.first),
                features=distribution.features,
            )
        factors = self.factors if self.cumulative is None else self._factors_of_first(draw.first)
        if (
            distribution.correlation == "independent"
            and distribution.parents is None
            and distribution.values == UNIT
        ):
            return torch.addcmul(self.one, draw.sets, factors, value=-1, out=out).clamp_(min=0)
        places = torch.addcmul(self.one, draw.sets, factors, value=-1).clamp_(min=0)
        active, places = self._features(places, draw.values)
        x = torch.where(active, self._values(places), 0)
        return x if out is None else out.copy_(x)

    def _factors_of_first(self, u):
        """Choose the first active set of every row: its factors (instances, batch, sets)."""
        u = u.expand(len(self.cumulative), -1).contiguous()
        first = torch.searchsorted(self.cumulative, u, right=True)
        first = first.clamp_(max=self.cumulative.shape[1] - 1)
        lines = (first + self.block).flatten()
        return self.factors.index_select(0, lines).unflatten(0, first.shape)

    def _features(self, places, u):
        """Return which features are active, and their places, both (instances, batch, features).

        Args:
            places: The places of the sets (instances, batch, sets).
            u: Uniform numbers of the features (batch, features), used where sets are correlated.
        """
        distribution = self.distribution
        active = places > 0
        if distribution.correlation == "anticorrelated":
            # The place of a set chooses the active member, and what remains is the member's place.
            member = torch.arange(distribution.set_size, dtype=places.dtype, device=places.device)
            places = ((distribution.set_size * places)[..., None] - member).flatten(2)
            return (places > 0) & (places <= 1), places
        if distribution.correlation == "correlated":
            if distribution.strength < 1:
                return self._partly_together(places, u)
            return active.repeat_interleave(distribution.set_size, dim=2), u
        for child, parent in _nested(distribution.parents):
            active[..., child] &= active[..., parent]
        return active, places

    def _partly_together(self, places, u):
        """Return activity and places of the members of sets whose strength is below 1."""
        u = u.unflatten(1, (-1, self.distribution.set_size))  # (batch, sets, set_size)
        pattern = (places[..., None] > self.edges).sum(dim=3, keepdim=True)  # 0: all are together
        member = torch.arange(1, u.shape[2] + 1, device=u.device)
        certain = (pattern == 0) | (pattern == member)
        drawn = (pattern > 0) & (pattern < member)
        alone = (1 - u * self.member_factors).clamp_(min=0)
        members = torch.where(certain, u, torch.where(drawn, alone, 0))
        active = (members > 0) & (places > 0)[..., None]
        return active.flatten(2), members.flatten(2)

    def _values(self, places):
        """Return the values of active features, given their places."""
        values = self.distribution.values
        if values == UNIT:
            return places
        if isinstance(values, Uniform):
            return (values.high - values.low) * places + values.low
        index = (len(values) * places).long().clamp_(0, len(values) - 1)
        return self.table[index]


def check_distribution(distribution):
    """Raise a ValueError unless this is a FeatureDistribution."""
    if not isinstance(distribution, FeatureDistribution):
        raise ValueError(
            f"distribution: expected a FeatureDistribution, got {type(distribution).__name__}"
        )


def check_standard(distribution):
    """Raise a ValueError unless values, strength and parents are those of the paper's inputs."""
    standard = {"values": (UNIT, SIGNED), "strength": (1,), "parents": (None,)}
    for name, known in standard.items():
        value = getattr(distribution, name)
        if value not in known:
            expected = " or ".join(str(each) for each in known)
            raise ValueError(f"distribution: expected {name} {expected}, got {shown(value)}")


def _nested(parents):
    """Return the pairs (child, parent) in which a feature is nested in another, in order."""
    pairs = enumerate(parents or ())
    return [(child, parent) for child, parent in pairs if parent is not None]


def _as_values(values, signed):
    """Return a Uniform, or a sorted tuple of the numbers that an active feature may have."""
    if signed is not None and not isinstance(signed, bool | np.bool_):
        raise ValueError(f"signed: expected True or False, got {shown(signed)}")
    if values is None:
        return SIGNED if signed else UNIT
    if not isinstance(values, Uniform):
        numbers = as_real("values", values)
        size = numbers.abs()
        if numbers.dim() > 1 or not numbers.numel():
            expected = "a Uniform, a number or numbers in one dimension"
            raise ValueError(f"values: expected {expected}, got {shown(values)}")
        if not ((size >= LOWEST_VALUE) & (size <= HIGHEST_VALUE)).all():
            expected = f"numbers of absolute size {LOWEST_VALUE:g} to {HIGHEST_VALUE:g}"
            raise ValueError(f"values: expected {expected}, got {shown(numbers.tolist())}")
        values = tuple(sorted(numbers.reshape(-1).tolist()))
    if signed is not None and signed != (values == SIGNED):
        raise ValueError(
            f"signed: expected no contradiction to values = {shown(values)}, got {signed}"
        )
    return values


def _mean(values):
    """Return the mean value of an active feature."""
    if isinstance(values, Uniform):
        return (values.low + values.high) / 2
    return sum(values) / len(values)


def _mean_square(values, p):
    """Return the mean square of a feature that is active with probability p."""
    if isinstance(values, Uniform):
        return p * (values.low**2 + values.low * values.high + values.high**2) / 3
    return p * sum(value**2 for value in values) / len(values)


def _reciprocal(p):
    """Return 1 / p, and 0 where p = 0."""
    return torch.where(p > 0, 1 / p, 0)
