"""The gradient of sampled rows by hand and by autograd, against losses written out plainly."""

import pytest
import torch

from features import Draw, FeatureDistribution, RowMaker
from losses import rows, sampled
from losses.rows import RARE
from models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel

MODELS = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel]
each_model = pytest.mark.parametrize("model_class", MODELS)


def by_autograd(model_class):
    """The same model as a class that overrides a method without changing what it computes."""

    class Same(model_class):
        def forward(self, x):
            return super().forward(x)

    return Same


def gradient_scale(distribution):
    """(instances,): what gradients are relative to; instances that never change have no scale."""
    largest = distribution.importance.amax(dim=1)
    active = distribution.active_probability
    return largest.where(largest > 0, 1) * active.where(active > 0, 1)


def gradients(model, distribution, draw, attack=None):
    """Losses and gradients as a step of training computes them, {name: tensor}."""
    for weights in model.parameters():
        weights.grad = torch.full_like(weights, torch.nan)
    losses = []
    for block in sampled.sampled_blocks(model, distribution, len(draw.first), attack=attack):
        block.forward(draw)
        losses.append(block.loss())
        block.backward()
    return {
        "loss": torch.cat(losses),
        **{name: weights.grad for name, weights in model.named_parameters()},
    }


@each_model
@pytest.mark.parametrize("correlation", ["independent", "correlated", "anticorrelated"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "settings, restarts", [(12, 1), (4, 3), (1, 12), (120, 1), (4, 40), (1, 200)]
)
@pytest.mark.parametrize("block_numbers", [1, 2500, 10**6])
def test_gradient_equals_autograd(
    model_class, correlation, signed, settings, restarts, block_numbers, monkeypatch
):
    """Dense, sparse and never active instances in one block; few models and many."""
    monkeypatch.setattr(sampled, "BLOCK_NUMBERS", block_numbers)
    monkeypatch.setattr(rows, "SCARCE", 0.0)  # no limit of the empty row's gradient
    generator = torch.Generator().manual_seed(7)
    density = torch.rand(settings, 2, generator=generator, dtype=torch.float64) ** 3
    density[-1], density[0] = 1e-4, 1.0
    density[settings // 2] = 0.0
    density = density.repeat_interleave(2, dim=1).repeat_interleave(restarts, dim=0)
    importance = torch.rand(settings * restarts, 4, generator=generator)
    distribution = FeatureDistribution(
        density, importance, set_size=2, correlation=correlation, signed=signed
    )
    model = model_class(distribution.instances, 4, 3, seed=1, dtype=torch.float64, init_scale=0.7)
    model.b.data.normal_(generator=generator)
    draw = distribution.draw(32, generator, torch.float64)
    ours = gradients(model, distribution, draw)

    maker = RowMaker(distribution, torch.float64, RARE)
    empty = torch.zeros(distribution.instances, 1, 4, dtype=torch.float64)
    of_rows, of_empty = (model.loss(x, distribution.importance) for x in (maker.rows(draw), empty))
    loss = maker.probability * of_rows + (1 - maker.probability) * of_empty
    theirs = dict(
        zip(
            dict(model.named_parameters()),
            torch.autograd.grad(
                (loss / gradient_scale(distribution)).sum(), list(model.parameters())
            ),
        )
    )
    torch.testing.assert_close(ours, {"loss": loss.detach(), **theirs}, rtol=1e-12, atol=1e-12)


@each_model
def test_gradient_of_many_features_equals_autograd(model_class):
    """More features than go term by term, in float32 as models are trained."""
    distribution = FeatureDistribution([[0.5], [0.5], [0.01], [0.01]], 0.9 ** torch.arange(40))
    model = model_class(4, 40, 7, seed=1, init_scale=0.3)
    draw = distribution.draw(128, torch.Generator().manual_seed(0))
    ours = gradients(model, distribution, draw)
    double = model_class(4, 40, 7, dtype=torch.float64)
    for name, weights in double.named_parameters():
        weights.data.copy_(model.get_parameter(name))
    draw = Draw(*(u.double() for u in draw))
    torch.testing.assert_close(
        ours,
        {name: value.float() for name, value in gradients(double, distribution, draw).items()},
        rtol=2e-4,
        atol=2e-6,
    )


def attacked_loss(model, distribution, draw, attack):
    """Compute the loss of attacked rows, one instance at a time: (instances,)."""
    losses = []
    for k in range(model.instances):
        W, b = model.W[k], model.b[k]
        x = RowMaker(distribution.select([k]), W.dtype, rare=1.0).rows(draw)[0]
        target = (draw.first * model.features).long()
        with torch.no_grad():
            moved = x.clone()
            for row, feature in enumerate(target.tolist()):
                along = W.T @ W[:, feature]
                moved[row] += attack[k] * x.norm(dim=1).mean() * along / along.norm()
        z = moved @ W.T @ W + b
        error = x - (z.relu() if isinstance(model, ReLUOutputModel) else z)
        losses.append((distribution.importance[k] * error**2).sum(dim=1).mean())
    return torch.stack(losses)


@pytest.mark.parametrize("model_class", [LinearModel, ReLUOutputModel])
@pytest.mark.parametrize("correlation", ["independent", "correlated"])
@pytest.mark.parametrize("settings, restarts", [(6, 1), (2, 3), (4, 40)])
@pytest.mark.parametrize("block_numbers", [1, 2500, 10**6])
def test_gradient_under_attack_equals_autograd(
    model_class, correlation, settings, restarts, block_numbers, monkeypatch
):
    """Restarts share their rows, not the attack on them; empty rows are attacked as all others."""
    monkeypatch.setattr(sampled, "BLOCK_NUMBERS", block_numbers)
    generator = torch.Generator().manual_seed(7)
    density = torch.rand(settings, 2, generator=generator, dtype=torch.float64) ** 3
    density[0] = 0.05
    density = density.repeat_interleave(2, dim=1).repeat_interleave(restarts, dim=0)
    importance = torch.rand(settings * restarts, 4, generator=generator)
    distribution = FeatureDistribution(density, importance, set_size=2, correlation=correlation)
    model = model_class(distribution.instances, 4, 3, seed=1, dtype=torch.float64, init_scale=0.7)
    model.b.data.normal_(generator=generator)
    attack = torch.rand(model.instances, generator=generator, dtype=torch.float64)
    attack[0] = 0
    draw = distribution.draw(16, generator, torch.float64)
    ours = gradients(model, distribution, draw, attack)
    loss = attacked_loss(model, distribution, draw, attack)
    theirs = dict(
        zip(
            dict(model.named_parameters()),
            torch.autograd.grad(
                (loss / gradient_scale(distribution)).sum(), list(model.parameters())
            ),
        )
    )
    torch.testing.assert_close(ours, {"loss": loss.detach(), **theirs}, rtol=1e-11, atol=1e-12)


def test_the_limit_of_the_empty_row_moves_no_minimum():
    """Where active rows are scarce, a large gradient of b is limited and a small one is exact."""
    distribution = FeatureDistribution(1e-4, [[1.0, 2.0, 1.0]], features=3)
    found = {}
    for b in (1e-6, 1e-1):
        model = ReLUOutputModel(1, 3, 2, dtype=torch.float64)
        model.b.data.fill_(b)
        draw = distribution.draw(64, torch.Generator().manual_seed(0), torch.float64)
        found[b] = gradients(model, distribution, draw)["b"]
        x = RowMaker(distribution, torch.float64, RARE).rows(draw)
        active = torch.autograd.grad(model.loss(x, distribution.importance).sum(), model.b)[0] / 2
        probability = distribution.active_probability
        empty = distribution.importance * b * (1 - probability) / probability
        rms = (1e-4 / 3 / probability).sqrt()  # of a feature in a row with an active one
        limited = torch.minimum(empty, distribution.importance * rms)
        torch.testing.assert_close(found[b], active + limited, rtol=1e-9, atol=0)
        assert (empty > limited).all() == (b > 1e-3)
        assert (limited >= -active).all() or b < 1e-3  # it outweighs what the active rows want
