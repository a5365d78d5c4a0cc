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
the ReLU. Several steps of it, each along the gradient at where the last one came to, from the attack on the row's worst
feature on, say how near that one is to the worst.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from features import FeatureDistribution, check_settings
from geometry import dimensions_per_feature, represented
from models import ReLUOutputModel
from packing import check_inverse_density, logarithmic
from training import train
from visualization import DEDICATED, FAINT, INK, POLYTOPE_COLOURS, SHARED, WIDTH, over_inverse_density, plain_ticks

ATTACK_STREAM = 0x61616161  # the same seed gives weights, samples and attacked rows of their own
WORST = "worst feature"  # the definition of vulnerability that counts; the others are shown beside it
AGAINST = (INK, POLYTOPE_COLOURS["tetrahedron"])  # colours of the results, one against the other
STYLES = ("o-", "^--", "x:", ".:", "o--", "s--", "s-")  # of the definitions
COLOURS = (SHARED, SHARED, INK, *map(POLYTOPE_COLOURS.get, ("triangle", "dedicated dimension", "pentagon", "pentagon")))
RATIOS = (1, 2, 5, 10, 20, 40)  # ticks
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
    ascents: int = 10  # steps of the gradient attack, where there are several

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
    gradient: Float[Tensor, " points"]  # along each row's gradient
    climbed: Float[Tensor, " points"]  # in several steps of it, from the worst feature of each row on
    densest: Float[Tensor, " points"]  # on the worst feature of the model of the first point, with this point's rows


def run(settings, *, seed=0, device="cpu", progress=True):
    inverse_density = torch.tensor(settings.inverse_density, dtype=torch.float64)
    importance = settings.decay ** torch.arange(settings.features, dtype=torch.float64)
    distribution = FeatureDistribution(1 / inverse_density[:, None], importance).to(device)
    model = ReLUOutputModel(distribution.instances, settings.features, settings.hidden, seed=seed, device=device)
    how = {"steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr}
    train(model, distribution, seed=seed, progress=progress, **how)
    W = model.W.detach()
    attacked = _attacked(settings, W, model.b.detach(), distribution, seed)
    return Result(inverse_density, importance, W.cpu(), **{name: values.cpu() for name, values in attacked.items()})


def _attacked(settings, W, b, distribution, seed):
    """What Result has of the attacks, by name."""
    generator = torch.Generator(W.device).manual_seed(seed ^ ATTACK_STREAM)
    x, fresh = (distribution.sample(settings.rows, generator) for _ in range(2))
    size = settings.attack * torch.cat([x, fresh], dim=1).norm(dim=2).mean(dim=1)
    models = Attacked(W, b, distribution.importance.to(W.dtype), size)
    densest = models._replace(W=W[:1].expand_as(W), b=b[:1].expand_as(b))
    by_feature, worst_of_row = models.by_feature(x)
    on_worst = x + models.on(worst_of_row)
    extra = {
        "worst": (models, fresh, fresh + models.on(by_feature.argmax(dim=1, keepdim=True)), 0),
        "by_row": (models, x, on_worst, 0),
        "gradient": (models, x, x, 1),
        "climbed": (models, x, on_worst, settings.ascents),
        "densest": (densest, fresh, fresh + densest.on(densest.by_feature(x)[0].argmax(dim=1, keepdim=True)), 0),
    }
    extra = {name: of.ascent(*how).mean(dim=1) for name, (of, *how) in extra.items()}
    return {"size": size, "loss": models.losses(fresh, fresh).mean(dim=1), "by_feature": by_feature, **extra}


Rows, OfRows = Float[Tensor, "points rows features"], Float[Tensor, "points rows"]


class Attacked(NamedTuple):
    """ReLU output models under attacks: rows x are moved, the target stays."""

    W: Float[Tensor, "points hidden features"]
    b: Float[Tensor, "points features"]
    importance: Float[Tensor, "points features"]
    size: Float[Tensor, " points"]

    def losses(self, x: Rows, moved: Rows) -> OfRows:
        output = torch.baddbmm(self.b[:, None], moved @ self.W.mT, self.W).relu()
        return ((output - x).square() @ self.importance[:, :, None])[..., 0]

    def along(self, directions: Rows) -> Rows:
        """Attacks of their size, zero where the direction is."""
        return self.size[:, None, None] * normalize(directions, dim=2)

    def on(self, features: Int[Tensor, "points rows"]) -> Rows:
        """The attacks on some features of each model."""
        attacks = self.along(self.W.mT @ self.W)
        return attacks.gather(1, features[..., None].expand(-1, -1, attacks.shape[2]))

    def by_feature(self, x: Rows) -> tuple[Float[Tensor, "points features"], Int[Tensor, "points rows"]]:
        """Extra loss of the attack on each feature, mean over rows; the feature of which it is highest, by row."""
        before, means = self.losses(x, x), []
        highest, worst = torch.full_like(before, -torch.inf), torch.zeros_like(before, dtype=torch.long)
        for feature, attack in enumerate(self.along(self.W.mT @ self.W).unbind(dim=1)):
            extra = self.losses(x, x + attack[:, None]) - before
            means.append(extra.mean(dim=1))
            worst = worst.where(extra <= highest, feature)
            highest = torch.maximum(highest, extra)
        return torch.stack(means, dim=1), worst

    def ascent(self, x: Rows, moved: Rows, steps) -> OfRows:
        """The highest extra loss of each row in some steps of the gradient attack, and where they start."""
        highest = self.losses(x, moved)
        for _ in range(steps):
            moved = moved.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.losses(x, moved).sum(), moved)
            moved = x + self.along(gradient)
            highest = torch.maximum(highest, self.losses(x, moved).detach())
        return highest - self.losses(x, x)


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
        "gradient of each row": result.gradient / squared,
        "gradient, several steps from that worst feature": result.climbed / squared,
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
    drawing = plt.figure(figsize=(WIDTH, 8.4), layout="constrained")
    above, below = drawing.subfigures(2, 1, height_ratios=(1, 1.1))
    *curves, against = above.subplots(1, len(results) + 1)
    panels = below.subplots(1, len(results), sharey=True)
    for result, ax, panel, colour in zip(results, curves, panels, AGAINST):
        _draw_curves(result, ax)
        _draw_against(result, against, colour)
        _draw_definitions(result, panel)
    against.set(xlabel=r"features per dimension $\|W\|_F^2/m$", ylabel="relative vulnerability", ylim=(0, None))
    against.set_title("one against the other")
    against.legend(loc="lower right", title="filled: as superposition forms")
    panels[0].set(ylabel="relative vulnerability (log scale)", yscale="log")
    plain_ticks(panels[0].yaxis, (0.2, 0.5, *RATIOS))
    below.suptitle("other definitions of relative vulnerability")
    below.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawing


def _importance(result):
    decay = (result.importance[1] / result.importance[0]).item()
    return "$I_i=1$" if decay == 1 else f"$I_i={decay:g}^i$"


def _draw_curves(result, ax):
    x, chosen = result.inverse_density.numpy(), forming(result).numpy()
    ax.plot(x, definitions(result)[WORST].numpy(), "o-", color=SHARED, label="relative vulnerability")
    per_dimension = features_per_dimension(result).numpy()
    ax.plot(x, per_dimension, "s-", color=DEDICATED, label="features per dimension")
    if not chosen.all():
        ax.axvspan(x[chosen][-1], x[-1], color=FAINT, alpha=0.25, linewidth=0, label="nearly all represented")
    ax.margins(y=0.3)  # for the legend
    ax.set(ylabel="relative to no superposition", ylim=(0, None))
    ax.set_title(f"{_importance(result)}, $n={result.W.shape[2]}$, $m={result.W.shape[1]}$")
    over_inverse_density(ax, RATIOS)
    ax.legend(loc="upper left")


def _draw_against(result, ax, colour):
    per_dimension, vulnerability, chosen = features_per_dimension(result), definitions(result)[WORST], forming(result)
    r = correlation(per_dimension[chosen], vulnerability[chosen])
    label = _importance(result) + ("" if r is None else f", $r={r:.2f}$")
    ax.plot(per_dimension.numpy(), vulnerability.numpy(), "o-", color=colour, linewidth=0.6, fillstyle="none")
    ax.plot(per_dimension[chosen].numpy(), vulnerability[chosen].numpy(), "o", color=colour, label=label)


def _draw_definitions(result, ax):
    for (name, values), style, colour in zip(definitions(result).items(), STYLES, COLOURS):
        ax.plot(result.inverse_density.numpy(), values.numpy(), style, color=colour, label=name)
    ax.set_title(_importance(result))
    over_inverse_density(ax, RATIOS)
