"""The loss of sampled rows for any toy model, by the model's own methods and autograd."""

import torch
from torch import Tensor

from features import RowMaker
from losses.rows import HIGHEST_WEIGHT, RARE, Rows
from models import block_view

PROBE_ROWS = 8  # rows on which a model's methods are tried before training
SAME = 1e-3  # relative difference up to which two ways of averaging a loss agree


class AnyModelLoss:
    """Some instances of a model: their loss on sampled rows and its gradient, by autograd.

    Args:
        part: View of the instances (`models.block_view`), in the mode in which its loss is wanted.
        gradients: Where the gradient is written, one tensor for each parameter of the part; None
            for parameters that are not trained, and for all if no gradient is wanted.
        distribution: FeatureDistribution of the instances.
        restarts: Number of consecutive instances that share their rows.
        batch_size: Number of rows.
        separable: Whether the empty row's loss may be added apart, see `has_separable_loss`.
    """

    def __init__(self, part, gradients, distribution, restarts, batch_size, separable):
        """Prepare rows, weights and gradients."""
        self.part = part
        pairs = zip(part.parameters(), gradients)
        self.trained = [(weights, whole) for weights, whole in pairs if whole is not None]
        like = next(part.parameters())
        self.rows = Rows(distribution, restarts, like.dtype, rare=RARE if separable else 1.0)
        densities = distribution.instances // restarts
        self.x = like.new_empty(densities, batch_size, distribution.features)
        self.empty_row = like.new_zeros(distribution.instances, 1, distribution.features)
        self.importance = distribution.importance.to(like.dtype)
        largest = self.rows.largest.to(like.dtype)
        self.active_weight = (self.rows.active_weight / largest).clamp(max=HIGHEST_WEIGHT)
        self.empty_weight = (self.rows.empty_weight / largest).clamp(max=HIGHEST_WEIGHT)

    def forward(self, draw):
        """Compute the loss of the rows of a draw and that of the empty row."""
        with torch.set_grad_enabled(bool(self.trained)):
            x = self.rows.repeated(self.rows.draw(draw, out=self.x))
            self.active = self.part.loss(x, self.importance)
            self.empty = None
            if self.rows.may_be_empty:
                self.empty = self.part.loss(self.empty_row, self.importance)

    def loss(self):
        """Return the loss (instances,), after `forward`."""
        if self.empty is None:
            return self.active.detach()
        return torch.lerp(self.empty.detach(), self.active.detach(), self.rows.probability)

    def finite(self):
        """Return whether the loss of each instance is finite (instances,), after `forward`."""
        return self.loss().isfinite()

    def backward(self):
        """Write the gradient, after `forward`."""
        objective = self.active_weight @ self.active
        if self.empty is not None:
            objective = objective + self.empty_weight @ self.empty
        weights = [weights for weights, _ in self.trained]
        found = torch.autograd.grad(objective, weights, allow_unused=True)
        for gradient, (_, whole) in zip(found, self.trained):
            if gradient is None:
                whole.zero_()
            else:
                whole.copy_(gradient)


def has_separable_loss(part, distribution) -> bool:
    """Tell, after trying a few rows, whether the loss of the empty row may be added apart.

    It may if the model draws no random numbers and its loss is a mean over rows. This is not so
    with dropout or a normalization over the batch, and then all rows are sampled.

    Args:
        part: View of some instances (`models.block_view`).
        distribution: FeatureDistribution of these instances.

    Raises:
        ValueError: A method returns something of another shape or type than it should, or numbers
            that are not finite for an instance whose parameters are, or the loss depends on
            nothing that can be trained, or ignores the importance.
    """
    like = next(part.parameters())
    generator = torch.Generator(like.device).manual_seed(0)
    maker = RowMaker(distribution, like.dtype, rare=torch.finfo(like.dtype).eps / 2)
    x = maker.rows(distribution.draw(PROBE_ROWS, generator, like.dtype))
    importance = distribution.importance.to(like.dtype)
    with torch.enable_grad():
        _check_output(part, x)
        loss, is_random = _tried_loss(part, x, importance)
        _check_loss(part, loss)
        _check_importance(part, x, importance, loss)
        again, _ = _tried_loss(part, x, importance)
        if is_random or not torch.equal(loss.nan_to_num(), again.nan_to_num()):
            return False
        return _is_mean_over_rows(part, x, importance, loss)


def _tried_loss(part, x, importance):
    """Return a model's loss after seeding torch, and whether it drew random numbers of torch."""
    cuda = x.device.type == "cuda"
    torch.default_generator.manual_seed(0)
    if cuda:
        torch.cuda.manual_seed_all(0)
    before = _random_state(x.device)
    loss = part.loss(x, importance)
    after = _random_state(x.device)
    return loss, not all(map(torch.equal, before, after))


def _random_state(device):
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _sound(part):
    """Return which instances have finite parameters (instances,)."""
    finite = [weights.detach().flatten(1).isfinite().all(dim=1) for weights in part.parameters()]
    return torch.stack(finite).all(dim=0)


def _check_output(part, x):
    """Refuse an output that is not a tensor with one finite row for each row of x."""
    output = part(x)
    expected = tuple(x.shape[:2])
    if not isinstance(output, Tensor) or tuple(output.shape[:2]) != expected:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"output: expected shape {(*expected, 'features')}, got {got}")
    _check_finite("output", part, output.flatten(1))


def _check_loss(part, loss):
    """Refuse a loss that is not one finite, differentiable number for each instance."""
    if not isinstance(loss, Tensor) or tuple(loss.shape) != (part.instances,):
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(
            f"loss: expected one number for each instance, shape ({part.instances},), got {got}"
        )
    like = next(part.parameters())
    if loss.dtype != like.dtype:
        raise ValueError(f"loss: expected {like.dtype} as the parameters have, got {loss.dtype}")
    if any(weights.requires_grad for weights in part.parameters()) and not loss.requires_grad:
        raise ValueError("loss: expected one that depends on the parameters, got one that does not")
    _check_finite("loss", part, loss[:, None])


def _check_finite(name, part, values):
    """Refuse numbers (instances, numbers) that are not finite though the parameters are."""
    wrong = ~values.detach().isfinite().all(dim=1) & _sound(part)
    if wrong.any():
        raise ValueError(
            f"{name}: expected finite numbers before training, got others for {wrong.sum()} of "
            f"{len(wrong)} instances"
        )


def _check_importance(part, x, importance, loss):
    """Refuse a loss that stays the same whatever the importance, unless the importance is 1."""
    weighted = (importance != 1).any(dim=1) & (loss.detach() != 0)
    if not weighted.any():
        return
    plain, _ = _tried_loss(part, x, torch.ones_like(importance))
    if torch.equal(plain[weighted], loss[weighted]):
        raise ValueError(
            "importance: expected 1 for all features, as the model's loss does not depend on it, "
            f"got values from {importance.min():g} to {importance.max():g}"
        )


def _is_mean_over_rows(part, x, importance, loss):
    """Tell whether the loss of the rows and one empty row is the mean of their losses."""
    empty_row = x.new_zeros(len(x), 1, x.shape[2])
    empty, _ = _tried_loss(part, empty_row, importance)
    joint, _ = _tried_loss(part, torch.cat((x, empty_row), dim=1), importance)
    mean = (PROBE_ROWS * loss + empty) / (PROBE_ROWS + 1)
    close = torch.isclose(joint, mean, rtol=SAME, atol=0)
    return bool((close | ~loss.isfinite()).all())


def probed(model, distribution, instances, training):
    """Return a view of some instances, in the wanted mode, and whether its loss is separable."""
    part = block_view(model, instances).train(training)
    return part, has_separable_loss(part, distribution.select(instances))
