"""Superposition and adversarial robustness: attacks on models as superposition forms (paper, Section 6).

The paper: vulnerability rises more than three times as superposition forms, and tracks the number of features per
dimension ||W||_F^2 / m. Its figures have both over 1/(1-S), and one against the other.

*The attack* on feature i moves every row by the same vector: along (W^T W)_i / ||(W^T W)_i||, by 0.1 of the mean input
norm E||x||, empty rows included; W^T W_i is how far a row's change moves output i where the ReLU lets it through.
*Vulnerability* is the extra loss, mean over rows, of the attack on the worst feature; the target is the row before the
attack. It is held against the linear model that dedicates its m dimensions to the m most important features and gives
the others their mean: there the worst attack costs exactly the squared size of the attack, times the highest
importance, 1. The paper leaves open which of these it took; `definitions` has what others give.

The check is a gradient attack: every row is moved by the same size along the gradient of its own loss, taken through
the ReLU, and then again along the gradient at where it came to, several times.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from features import FeatureDistribution, check_settings
from geometry import dimensions_per_feature, represented
from models import ReLUOutputModel
from packing import check_inverse_density, logarithmic
from training import train
from visualization import DEDICATED, FAINT, INK, SHARED, SUPERPOSITION, WIDTH, over_inverse_density

ATTACK_STREAM = 0x61616161  # the same seed gives weights, samples and attacked rows of their own
WORST = "worst feature"  # the definition of vulnerability that counts; the others are shown beside it
COMPLETE = 0.95  # superposition forms up to the density at which this share of the features is represented


@dataclass(frozen=True)
class Settings:
    features: int = 100
    hidden: int = 20
    inverse_density: tuple[float, ...] = logarithmic(1, 40, 20)  # 1/(1-S), a point each
    decay: float = 1.0  # importance I_i = decay^i
    attack: float = 0.1  # its size, as a share of the mean input norm
    steps: int = 4000
    batch_size: int = 256
    lr: float = 1e-2
    rows: int = 2048  # that are attacked
    ascents: int = 10  # steps of the gradient attack

    def __post_init__(self):
        check_settings(self)
        check_inverse_density(self.inverse_density)


FALLING = Settings(decay=0.9)
QUICK = Settings(30, 6, logarithmic(1, 20, 6), steps=300, batch_size=128, lr=2e-2, rows=512, ascents=3)
QUICK_FALLING = replace(QUICK, decay=0.9)


class Result(NamedTuple):
    inverse_density: Float[Tensor, " points"]
    importance: Float[Tensor, " features"]
    W: Float[Tensor, "points hidden features"]
    size: Float[Tensor, " points"]  # of the attacks
    loss: Float[Tensor, " points"]  # of rows that are not attacked
    # the loss that attacks add, mean over rows:
    by_feature: Float[Tensor, "points features"]  # on each feature
    worst: Float[Tensor, " points"]  # on the worst of these, over rows of its own: else chance chooses with it
    by_row: Float[Tensor, " points"]  # on the worst feature of each row
    ascent: Float[Tensor, "points ascents"]  # along each row's gradient, the best of so many steps
    densest: Float[Tensor, " points"]  # on the worst feature of the model of the first point, with this point's rows


def run(settings, *, seed=0, device="cpu", progress=True):
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(1 / inverse_density[:, None], importance).to(device)
    model = ReLUOutputModel(distribution.instances, settings.features, settings.hidden, seed=seed, device=device)
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution, seed=seed, progress=progress, **how)
    attacked = _attacked(settings, model.W.detach(), model.b.detach(), distribution, seed)
    of_model = {name: values.cpu() for name, values in attacked.items()}
    return Result(inverse_density, importance, model.W.detach().cpu(), **of_model)


def _attacked(settings, W, b, distribution, seed):
    """What Result has of the attacks, by name."""
    generator = torch.Generator(W.device).manual_seed(seed ^ ATTACK_STREAM)
    x, fresh = (distribution.sample(settings.rows, generator) for _ in range(2))
    size = settings.attack * torch.cat([x, fresh], dim=1).norm(dim=2).mean(dim=1)
    score = Attacked(W, b, distribution.importance.to(W.dtype), size)
    by_feature, by_row = score.by_feature(x)
    of_worst = score.of_worst(by_feature, fresh)
    first = score._replace(W=W[:1].expand_as(W), b=b[:1].expand_as(b))
    return {
        "size": size, "loss": score.row_losses(fresh, fresh).mean(dim=1), "by_feature": by_feature, "by_row": by_row,
        "worst": of_worst, "ascent": score.ascent(x, settings.ascents),
        "densest": first.of_worst(first.by_feature(x)[0], fresh),
    }  # fmt: skip


class Attacked(NamedTuple):
    """ReLU output models under attacks: losses against the rows as they were."""

    W: Float[Tensor, "points hidden features"]
    b: Float[Tensor, "points features"]
    importance: Float[Tensor, "points features"]
    size: Float[Tensor, " points"]

    def row_losses(
        self, moved: Float[Tensor, "points rows features"], x: Float[Tensor, "points rows features"]
    ) -> Float[Tensor, "points rows"]:
        """Of rows x that were moved to others."""
        output = torch.baddbmm(self.b[:, None], moved @ self.W.mT, self.W).relu()
        return ((output - x).square() @ self.importance[:, :, None])[..., 0]

    def along(self, directions: Float[Tensor, "points _ features"]) -> Float[Tensor, "points _ features"]:
        """Attacks of their size, zero where the direction is."""
        return self.size[:, None, None] * normalize(directions, dim=2)

    def on_features(self) -> Float[Tensor, "points attacks features"]:
        """The attack on each feature."""
        return self.along(self.W.mT @ self.W)

    def by_feature(
        self, x: Float[Tensor, "points rows features"]
    ) -> tuple[Float[Tensor, "points attacks"], Float[Tensor, " points"]]:
        """The loss that the attack on each feature adds, and that on each row's worst feature; means over rows."""
        before, highest, means = self.row_losses(x, x), None, []
        for attack in self.on_features().unbind(dim=1):
            extra = self.row_losses(x + attack[:, None], x) - before
            means.append(extra.mean(dim=1))
            highest = extra if highest is None else torch.maximum(highest, extra)
        return torch.stack(means, dim=1), highest.mean(dim=1)

    def of_worst(
        self, by_feature: Float[Tensor, "points features"], x: Float[Tensor, "points rows features"]
    ) -> Float[Tensor, " points"]:
        """The loss that the attack adds that is the worst by other rows; mean over rows."""
        points = torch.arange(len(self.W), device=self.W.device)
        attack = self.on_features()[points, by_feature.argmax(dim=1)]
        return (self.row_losses(x + attack[:, None], x) - self.row_losses(x, x)).mean(dim=1)

    def ascent(self, x: Float[Tensor, "points rows features"], steps) -> Float[Tensor, "points {steps}"]:
        """The loss that the best of 1, 2, ... steps of the gradient attack adds to each row; means over rows."""
        before, moved, highest, means = self.row_losses(x, x), x, torch.zeros_like(x[..., 0]), []
        for _ in range(steps):
            moved = moved.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.row_losses(moved, x).sum(), moved)
            moved = x + self.along(gradient)
            highest = torch.maximum(highest, self.row_losses(moved, x) - before)
            means.append(highest.mean(dim=1))
        return torch.stack(means, dim=1)


# What it shows


def features_per_dimension(result) -> Float[Tensor, " points"]:
    """||W||_F^2 / m."""
    return 1 / dimensions_per_feature(result.W)


def definitions(result) -> dict[str, Float[Tensor, " points"]]:
    """Vulnerability relative to a model without superposition, by its definition; WORST is the one that counts.

    The linear model with m dedicated dimensions has the worst extra loss size^2 also where the worst is chosen for each
    row: its loss is the squared change of m outputs, whatever the row.
    """
    p, hidden = 1 / result.inverse_density, result.W.shape[1]
    linear_loss = result.importance[hidden:].sum() * (p / 3 - p**2 / 4)
    squared = result.size.double().square()
    return {
        WORST: result.worst / squared,
        "mean over features": result.by_feature.mean(dim=1) / squared,
        "worst feature, over the densest model": result.worst / result.densest,
        "worst feature, loss instead of extra loss": (result.loss + result.worst) / (linear_loss + squared),
        "worst feature of each row": result.by_row / squared,
        "gradient of each row": result.ascent[:, 0] / squared,
        "gradient of each row, best of several steps": result.ascent[:, -1] / squared,
    }


def rise(vulnerability: Float[Tensor, " points"]) -> float:
    """Its highest value over that of the densest features."""
    return (vulnerability.max() / vulnerability[0]).item()


def forming(result) -> Bool[Tensor, " points"]:
    """The points up to the first at which superposition is complete: a share of COMPLETE of the features represented.

    All points where it never is.
    """
    complete = represented(result.W).double().mean(dim=1) >= COMPLETE
    return complete.cumsum(dim=0) - complete.int() == 0


def correlation(a: Float[Tensor, " points"], b: Float[Tensor, " points"]):
    """Pearson's coefficient; None where one of them does not vary, or of fewer than three points."""
    if len(a) < 3 or not (a.std() > 0 and b.std() > 0):
        return None
    return torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1].item()


# The figure


def figure(results):
    """Vulnerability and features per dimension over 1/(1-S), one against the other, and the other definitions."""
    drawing = plt.figure(figsize=(WIDTH, 8.2), layout="constrained")
    above, below = drawing.subfigures(2, 1)
    *curves, against = above.subplots(1, len(results) + 1)
    for result, ax, marker in zip(results, curves, "os"):
        _draw_curves(result, ax)
        _draw_against(result, against, marker)
    against.set(xlabel=r"features per dimension $\|W\|_F^2/m$", ylabel="relative vulnerability", ylim=(0, None))
    against.legend(loc="lower right", fontsize=8.5)
    panels = below.subplots(1, len(results), sharey=True)
    for result, ax in zip(results, panels):
        _draw_definitions(result, ax)
    handles, labels = panels[0].get_legend_handles_labels()
    below.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return drawing


def _importance(result):
    decay = (result.importance[1] / result.importance[0]).item()
    return "$I_i=1$" if decay == 1 else f"$I_i={decay:g}^i$"


def _draw_curves(result, ax):
    x = result.inverse_density.numpy()
    ax.plot(x, definitions(result)[WORST].numpy(), "o-", color=SHARED, markersize=4, label="relative vulnerability")
    per_dimension = features_per_dimension(result).numpy()
    ax.plot(x, per_dimension, "s-", color=DEDICATED, markersize=4, label="features per dimension")
    ax.set(xlabel="$1/(1-S)$ (log scale)", ylabel="multiples of no superposition", ylim=(0, None))
    ax.set_title(f"{_importance(result)}, $n={result.W.shape[2]}$, $m={result.W.shape[1]}$")
    _over_few(ax)
    ax.axvspan(x[forming(result).numpy()][-1], x[-1], color=FAINT, alpha=0.25, linewidth=0)
    ax.legend(loc="upper left", fontsize=8.5)


def _draw_against(result, ax, marker):
    per_dimension, vulnerability, chosen = features_per_dimension(result), definitions(result)[WORST], forming(result)
    r = correlation(per_dimension[chosen], vulnerability[chosen])
    label = _importance(result) + ("" if r is None else f", $r={r:.2f}$")
    ax.plot(per_dimension.numpy(), vulnerability.numpy(), color=FAINT, linewidth=0.8, zorder=0)
    colour = SUPERPOSITION(0.0 if marker == "o" else 1.0)
    for shown, style in (
        (chosen, {"color": colour, "label": label}),
        (~chosen, {"color": colour, "fillstyle": "none"}),
    ):
        ax.plot(per_dimension[shown].numpy(), vulnerability[shown].numpy(), marker, markersize=5, **style)


def _draw_definitions(result, ax):
    styles = ("o-", "^--", "x:", ".:", "o--", "s--", "s-")
    colours = (SHARED, SHARED, INK, FAINT, DEDICATED, "#3a9a5b", "#3a9a5b")
    for (name, values), style, colour in zip(definitions(result).items(), styles, colours):
        ax.plot(result.inverse_density.numpy(), values.numpy(), style, color=colour, markersize=4, label=name)
    ax.set(xlabel="$1/(1-S)$ (log scale)", yscale="log", ylabel="relative vulnerability (log scale)")
    ax.set_title(_importance(result))
    _over_few(ax)


def _over_few(ax):
    over_inverse_density(ax)
    ticks = (1, 2, 5, 10, 20, 40)
    ax.set_xticks(ticks, labels=map(str, ticks))
