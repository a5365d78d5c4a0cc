"""The paper's toy models, many independent instances at once.

A model is a stack of instances along the leading axis: W is (instances, hidden, features) and a
batch x is (instances, batch, features). No instance sees another, so that a whole sweep trains as
one model.

| model              | paper     | hidden layer     | output              |
|--------------------|-----------|------------------|---------------------|
| LinearModel        | Section 2 | h = W x          | x' = W^T h + b      |
| ReLUOutputModel    | Section 2 | h = W x          | x' = ReLU(W^T h + b)|
| ReLUHiddenModel    | Section 7 | h = ReLU(W x)    | x' = ReLU(W^T h + b)|
| AbsoluteValueModel | Section 8 | h = ReLU(W1 x)   | y' = ReLU(W2 h + b) |

`ToyModel` says how to write a model of one's own.
"""

import copy
import inspect

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from checks import (
    as_real,
    check_device,
    check_dtype,
    check_positive,
    check_seed,
    check_selection,
    check_size,
)
from features import check_distribution


class ToyModel(nn.Module):
    """A batch of independent toy models with tied weights W and biases b; the base of all models.

    **A model of your own** is a subclass of this class or of one of the four below. It overrides
    what it changes: `encode`, `decode`, `forward`, `target` or `loss`. `training.train` and
    `training.sampled_loss` call nothing but these methods. The rules are:

    - Every parameter and buffer, also those of submodules, has `instances` as its leading axis.
      Instance k of an output or loss depends on row k of these alone. Constants that all instances
      share are ordinary attributes.
    - The number of instances is read from `self.instances` or from the shapes of tensors whenever
      it is needed, because training works on blocks of instances.
    - The constructor accepts the arguments of this class, if `training.train_best` is to build
      the model.
    - `loss` returns one number for each instance. Where it is a mean over rows and the model draws
      no random numbers, the loss of the empty row is added exactly; otherwise empty rows are
      sampled like all others.
    - Parameters that do not require a gradient are left as they are. `self.b = None` removes b.

    Args:
        instances: Number of models.
        features: Number of features of each.
        hidden: Number of hidden dimensions of each.
        seed: Seed of the initial weights. Instance k starts the same in a sweep of any size.
        dtype: torch.float32 or torch.float64.
        device: Device of the weights: "cpu" or "cuda". Apple's "mps" is not served, since it
            lacks float64; for models this small the CPU is as fast.
        init_scale: Standard deviation of the initial weights; small ones reach better minima. The
            biases start at zero.

    Raises:
        ValueError: An argument is out of range, or rows do not fit the model or are not finite.
        FloatingPointError: Rows or weights are so large that outputs are not finite.
    """

    _checks_rows = True  # False in the parts that training works on, whose rows need no check

    def __init__(
        self,
        instances,
        features,
        hidden,
        *,
        seed=0,
        dtype=torch.float32,
        device="cpu",
        init_scale=0.1,
    ):
        """Draw the initial weights."""
        super().__init__()
        self.instances, self.features, self.hidden = check_size(
            instances=instances, features=features, hidden=hidden
        )
        init_scale = check_positive("init_scale", init_scale)
        seed = check_seed(seed)
        check_dtype(dtype)
        check_device(device)
        self.b = nn.Parameter(
            torch.zeros(self.instances, self.features, dtype=dtype, device=device)
        )
        # Normal numbers are made as quantiles of uniform ones, because uniform ones fill the stack
        # in order: the first instances do not depend on how many follow.
        shape = (self.instances, self.hidden, self.features)
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        uniform.clamp_(min=torch.finfo(torch.float64).tiny)
        weights = (init_scale * torch.special.ndtri(uniform)).to(dtype)
        if not weights.isfinite().all():
            raise ValueError(
                f"init_scale: expected one whose weights are finite in {dtype}, got {init_scale:g}"
            )
        self._set_weights(weights.to(device))

    def _set_weights(self, weights):
        """Make the parameters other than b from normal numbers (instances, hidden, features)."""
        self.W = nn.Parameter(weights)

    @property
    def encoder(self) -> Float[Tensor, "instances hidden features"]:
        """Return the weights that take x to h."""
        return self.W

    @property
    def decoder(self) -> Float[Tensor, "instances hidden features"]:
        """Return the weights that take h back to features; W again, as weights are tied."""
        return self.W

    def encode(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch hidden"]:
        """Compute the hidden layer h = W x."""
        self._check_rows("x", x, self.features)
        return x @ self.encoder.mT

    def decode(
        self, h: Float[Tensor, "instances batch hidden"]
    ) -> Float[Tensor, "instances batch features"]:
        """Compute the output from the hidden layer: W^T h + b."""
        self._check_rows("h", h, self.hidden)
        return self._finite("output", h @ self.decoder + self.b[:, None])

    def forward(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch features"]:
        """Compute the output x' for a batch; `model(x)` calls this."""
        return self.decode(self.encode(x))

    def target(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch features"]:
        """Return what the output should be: the input itself."""
        return x

    def loss(
        self,
        x: Float[Tensor, "instances batch features"],
        importance: Float[Tensor, "instances features"] | float,
    ) -> Float[Tensor, " instances"]:
        """Compute sum_i importance_i (target_i - output_i)^2, averaged over the batch (Section 2).

        Args:
            x: A batch of inputs.
            importance: The weight of each feature's error; one number for all, or one for each.

        Returns:
            The loss of each instance, in units of importance times feature value squared.

        Raises:
            ValueError: The importance or the target does not have the shape that is needed.
            FloatingPointError: The loss is not finite.
        """
        output = self(x)
        target = self.target(x)
        if target.shape != output.shape:
            raise ValueError(
                f"target: expected shape {tuple(output.shape)} as the output has, "
                f"got {tuple(target.shape)}"
            )
        squared_error = mse_loss(output, target, reduction="none")  # (instances, batch, features)
        weights = self._as_importance(importance, x)
        return self._finite("loss", (squared_error.sum(dim=1) * weights).sum(dim=1) / x.shape[1])

    def select(self, instances):
        """Copy some instances into a model of their own.

        Args:
            instances: An index, a slice, several indices or a mask of the instances.

        Returns:
            A model of the same class. It shares no weights with this one.

        Raises:
            IndexError: If there is no such instance.
            ValueError: If `instances` is none of these, or chooses no instance.
        """
        index = check_selection("instances", instances, self.instances)
        return _part(self, index.to(_device(self)))

    def _as_importance(self, importance, x):
        """Return the importance as a tensor like x, a scalar or (instances, features)."""
        weights = as_real("importance", importance, x.device).to(x.dtype)
        expected = (self.instances, self.features)
        if weights.shape not in ((), expected):
            raise ValueError(
                f"importance: expected a number or shape {expected}, got {tuple(weights.shape)}"
            )
        return weights

    def _check_rows(self, name, rows, width):
        """Refuse anything but finite rows (instances, batch, width) of the model's dtype."""
        if not self._checks_rows:
            return
        like = next(self.parameters())
        got = getattr(rows, "shape", rows)
        right = isinstance(rows, Tensor) and rows.dim() == 3 and rows.shape[1] > 0
        if not right or (got[0], got[2]) != (self.instances, width):
            raise ValueError(
                f"{name}: expected shape ({self.instances}, batch, {width}), got {got!r}"
            )
        if (rows.dtype, rows.device) != (like.dtype, like.device):
            raise ValueError(
                f"{name}: expected {like.dtype} on {like.device}, got {rows.dtype} on {rows.device}"
            )
        if not rows.isfinite().all():
            raise ValueError(
                f"{name}: expected finite numbers, got {(~rows.isfinite()).sum()} that are not"
            )

    def _finite(self, name, values):
        """Return values; FloatingPointError unless all are finite."""
        return finite(name, values) if self._checks_rows else values


class LinearModel(ToyModel):
    """x' = W^T W x + b: what a linear model can do, the paper's baseline (Section 2)."""

    @classmethod
    def from_weights(
        cls, W: Float[Tensor, "instances hidden features"], b: Float[Tensor, "instances features"]
    ):
        """Make a model with copies of given weights.

        Args:
            W: Finite weights.
            b: Finite biases, of the same dtype and on the same device.

        Raises:
            ValueError: Dtypes, devices or shapes do not fit together, or a number is not finite.
        """
        tensors = isinstance(W, Tensor) and isinstance(b, Tensor)
        if not tensors or (W.dtype, W.device) != (b.dtype, b.device):
            got = " and ".join(repr(getattr(value, "dtype", value)) for value in (W, b))
            raise ValueError(f"W, b: expected tensors of one dtype on one device, got {got}")
        if W.dim() != 3 or b.shape != (W.shape[0], W.shape[2]):
            expected = "W (instances, hidden, features) and b (instances, features)"
            raise ValueError(
                f"W, b: expected {expected}, got {tuple(W.shape)} and {tuple(b.shape)}"
            )
        model = cls(W.shape[0], W.shape[2], W.shape[1], dtype=W.dtype, device=W.device)
        if not (W.isfinite().all() and b.isfinite().all()):
            raise ValueError("W, b: expected finite numbers, got NaN or infinity")
        model.W.data.copy_(W)
        model.b.data.copy_(b)
        return model


class ReLUOutputModel(LinearModel):
    """x' = ReLU(W^T W x + b): the model that shows superposition (Section 2)."""

    def decode(
        self, h: Float[Tensor, "instances batch hidden"]
    ) -> Float[Tensor, "instances batch features"]:
        """Compute the output from the hidden layer: ReLU(W^T h + b)."""
        self._check_rows("h", h, self.hidden)
        return self._finite("output", (h @ self.decoder + self.b[:, None]).relu())


class ReLUHiddenModel(ReLUOutputModel):
    """x' = ReLU(W^T ReLU(W x) + b): the hidden dimensions are neurons (Section 7)."""

    def encode(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch hidden"]:
        """Compute the hidden layer h = ReLU(W x)."""
        self._check_rows("x", x, self.features)
        return (x @ self.encoder.mT).relu()


class AbsoluteValueModel(ToyModel):
    """y' = ReLU(W2 ReLU(W1 x) + b) for the target |x|: computation in superposition (Section 8).

    W1 (instances, hidden, features) and W2 (instances, features, hidden) are not tied. W2 starts as
    |W1|^T, which keeps sparse output units alive.
    """

    def _set_weights(self, weights):
        self.W1 = nn.Parameter(weights)
        self.W2 = nn.Parameter(weights.abs().mT.contiguous())

    @property
    def encoder(self) -> Float[Tensor, "instances hidden features"]:
        """Return W1."""
        return self.W1

    @property
    def decoder(self) -> Float[Tensor, "instances hidden features"]:
        """Return W2^T."""
        return self.W2.mT

    def encode(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch hidden"]:
        """Compute the hidden layer h = ReLU(W1 x)."""
        self._check_rows("x", x, self.features)
        return (x @ self.encoder.mT).relu()

    def decode(
        self, h: Float[Tensor, "instances batch hidden"]
    ) -> Float[Tensor, "instances batch features"]:
        """Compute the output from the hidden layer: ReLU(W2 h + b)."""
        self._check_rows("h", h, self.hidden)
        return self._finite("output", (h @ self.decoder + self.b[:, None]).relu())

    def target(
        self, x: Float[Tensor, "instances batch features"]
    ) -> Float[Tensor, "instances batch features"]:
        """Return what the output should be: |x|."""
        return x.abs()


def check_inputs(model, distribution):
    """Refuse anything but a FeatureDistribution of the model's instances and features."""
    check_distribution(distribution)
    expected = (model.instances, model.features)
    got = (distribution.instances, distribution.features)
    if got != expected:
        raise ValueError(
            f"distribution: expected (instances, features) = {expected} as the model has, got {got}"
        )


def check_per_instance(model):
    """Refuse a model with a parameter or buffer whose leading axis is not `instances`."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, value in tensors.items():
        if value.dim() == 0 or len(value) != model.instances:
            raise ValueError(
                f"{name}: expected a parameter or buffer of each instance, shape "
                f"({model.instances}, ...), got shape {tuple(value.shape)}"
            )


def finite(name, values: Tensor) -> Tensor:
    """Return values; FloatingPointError unless all are finite."""
    if not values.isfinite().all():
        raise FloatingPointError(
            f"{name}: expected finite numbers, got {(~values.isfinite()).sum()} that are not"
        )
    return values


def block_view(model, instances):
    """Return a model of a slice of the instances that shares its weights and checks no rows."""
    view = _part(model, instances)
    view._checks_rows = False
    return view


def base_class(model) -> type | None:
    """Find the one of this module's four models that a model is, whatever its class is called.

    Code that was written for one of the four models asks this before it uses a model, because a
    subclass inherits the name of a model but not necessarily what it computes.

    Returns:
        LinearModel, ReLUOutputModel, ReLUHiddenModel or AbsoluteValueModel, if all methods of the
        model are the very functions of that class, its parameters are those of that class and
        nothing else, and no hook is set; otherwise None.
    """
    for kind, attributes in _ATTRIBUTES.items():
        if isinstance(model, kind) and _is_plain(model, kind, attributes):
            return kind
    return None


def parameter_shapes(kind, instances, features, hidden) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the parameters of one of the four models."""
    shapes = {"b": (instances, features), "W": (instances, hidden, features)}
    if kind is AbsoluteValueModel:
        shapes["W1"] = shapes.pop("W")
        shapes["W2"] = (instances, features, hidden)
    return shapes


def _is_plain(model, kind, attributes):
    """Tell whether a model has the attributes of one of the four classes, and its parameters."""
    own = type(model)
    if any(inspect.getattr_static(own, name) is not value for name, value in attributes.items()):
        return False
    if attributes.keys() & vars(model).keys() - {"_checks_rows"}:
        return False  # an attribute of the instance hides a method
    shapes = parameter_shapes(kind, model.instances, model.features, model.hidden)
    parameters = dict(model.named_parameters())
    if {name: tuple(value.shape) for name, value in parameters.items()} != shapes:
        return False
    if any(type(value) is not nn.Parameter for value in parameters.values()):
        return False
    return not (_has_hooks(model) or any(map(_has_hooks, parameters.values())))


def _has_hooks(owner):
    """Tell whether a hook is set on a module or a parameter."""
    if isinstance(owner, Tensor):
        return bool(owner._backward_hooks or owner._post_accumulate_grad_hooks)
    return any(value for name, value in vars(owner).items() if "_hooks" in name)


def _attributes(kind):
    """Return all attributes of a class that could change what a model computes."""
    special = ("__call__", "__getattr__", "__getattribute__", "__setattr__")
    names = [name for name in dir(kind) if not name.startswith("__") or name in special]
    return {name: inspect.getattr_static(kind, name) for name in names}


def _part(model, instances):
    """Copy a model with chosen rows of its parameters and buffers in place of all."""
    check_per_instance(model)
    parts = {}
    for parameter in model.parameters():
        rows = parameter.detach()[instances]
        parts[id(parameter)] = nn.Parameter(rows, requires_grad=parameter.requires_grad)
        count = len(rows)
    for buffer in model.buffers():
        parts[id(buffer)] = buffer[instances]
    part = copy.deepcopy(model, parts)  # takes what is in `parts` instead of copying it
    part.instances = count
    return part


def _device(model):
    """Return the device of a model's parameters; ValueError if it has none."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("model: expected at least one parameter, got none")
    return parameter.device


_ATTRIBUTES = {
    kind: _attributes(kind)
    for kind in (LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel)
}
