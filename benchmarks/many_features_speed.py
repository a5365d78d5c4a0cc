"""Times the exact gradient of many features, and exact descent against sampled training.

    OMP_NUM_THREADS=1 python benchmarks/many_features_speed.py      # about 4 minutes on 1 core

The baseline sums 8,192 terms of a Fourier series over all features, one output at a time, and
leaves the gradient to autograd. It is timed for one output and multiplied by the number of outputs.
Both get the same models, dedicated dimensions among small random weights, and take turns, so that a
busy machine slows both. The second table follows the benefit, in dimensions per dimension, over
time: sampled training alone, and exact descent that begins where a short training ends.
"""

import sys
import time
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from features import FeatureDistribution
from losses.gradient import exact_gradient
from models import ReLUOutputModel
from training import settle, train

SIZES = ((60, 6), (100, 10), (400, 30))  # features, hidden
DENSITIES = (0.9, 0.7, 0.33)
ROUNDS = 3
TERMS = 2**13  # of the baseline's series
ROOM = 1.5  # the baseline's period, in units of four times the largest |z|
FEATURES = 60  # of the models that descend on the loss
HIDDEN = 6
DENSITY = 1 / 1.3
SHORT = 2_000  # steps of sampled training before exact descent
LONG = 8_000  # steps of sampled training without exact descent


def baseline_loss(i, b, a, density):
    """Compute E[(x_i - ReLU(b + a.x))^2] of independent features by one Fourier series."""
    k = 2.0 * torch.arange(TERMS, dtype=torch.float64) + 1
    p = torch.full_like(a, density)
    variance = p / 3 - p**2 / 4
    mean = b + (a * p).sum() / 2
    square = mean**2 + (a.square() * variance).sum()
    product = p[i] / 2 * mean + a[i] * variance[i]
    w = torch.pi / (2 * ROOM * (b.abs() + a.abs().sum()).detach())
    s = k * w
    u = s[:, None] * a
    active = torch.sinc(u / (2 * torch.pi)) * wave(u / 2)
    factors = 1 - p + p * active
    others = torch.cat((factors[:, :i], factors[:, i + 1 :]), dim=1).prod(dim=1)
    phase = wave(s * b)
    z_wave = phase * others * factors[:, i]
    x_wave = phase * others * p[i] * (wave(u[:, i]) - active[:, i]) / (1j * u[:, i])
    idle = (1 - p).prod()
    x_absolute = (torch.pi / 4 * p[i] - 4 / torch.pi * (x_wave.real / k**2).sum()) / w
    coefficients = 4 / torch.pi * (torch.pi * (2 - k % 4) / k**2 - 2 / k**3)
    z_absolute = (coefficients * (z_wave - idle * phase).imag).sum() / w**2 + idle * b * b.abs()
    return p[i] / 3 - product - x_absolute + (square + z_absolute) / 2


def wave(angle):
    """Compute e^(i angle)."""
    return torch.complex(angle.cos(), angle.sin())


def baseline_gradient(model, density, i=0):
    """Differentiate the loss of one output."""
    W = model.W[0].detach()
    leaves = (model.b[0, i].detach().requires_grad_(), (W.mT @ W)[i].requires_grad_())
    loss = baseline_loss(i, *leaves, density)
    return loss.item(), torch.autograd.grad(loss, leaves)[0].item()


def dedicated_model(features, hidden, density):
    """Make a model with dedicated dimensions among small random weights."""
    generator = torch.Generator().manual_seed(0)
    W = 0.1 * torch.randn(1, hidden, features, generator=generator, dtype=torch.float64)
    W[0, :, :hidden] += torch.eye(hidden)
    b = torch.full((1, features), density / 2, dtype=torch.float64)
    b[:, :hidden] = 0
    return ReLUOutputModel.from_weights(W, b)


def seconds(work):
    """Measure the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare_gradients(features, hidden, density):
    """Return the median seconds of a gradient by the baseline and by ours."""
    model = dedicated_model(features, hidden, density)
    inputs = FeatureDistribution(density, features=features)
    ours = exact_gradient(model.W, model.b, inputs).b[0, 0].item()
    theirs = baseline_gradient(model, density)[1]
    assert abs(ours - theirs) < 1e-4, (ours, theirs)
    times = [
        (
            seconds(lambda: baseline_gradient(model, density)) * features,
            seconds(lambda: exact_gradient(model.W, model.b, inputs)),
        )
        for _ in range(ROUNDS)
    ]
    return [median(column) for column in zip(*times)]


def benefit(model, inputs):
    """Return by how many features per dimension the model is better than one of nothing."""
    loss = exact_gradient(model.W, model.b, inputs).loss.item()
    return (FEATURES - loss / (DENSITY / 3 - DENSITY**2 / 4)) / HIDDEN


def compare_descents():
    """Print the benefit that sampled training and exact descent reach, and when."""
    inputs = FeatureDistribution(DENSITY, features=FEATURES)
    for steps in (SHORT, LONG):
        took, model = train_sampled(inputs, steps)
        print(f"{steps} steps of samples: {took:.0f} s to benefit {benefit(model, inputs):.4f}")
        if steps == SHORT:
            start = time.perf_counter()
            settle(model, inputs, tolerance=1e-3, progress=False)
            took += time.perf_counter() - start
            print(f"then exact descent: {took:.0f} s in all to {benefit(model, inputs):.4f}")


def train_sampled(inputs, steps):
    """Train on samples and return the seconds that it took, and the model."""
    model = ReLUOutputModel(1, FEATURES, HIDDEN, dtype=torch.float64)
    took = seconds(lambda: train(model, inputs, steps=steps, lr=5e-3, progress=False))
    return took, model


def main():
    """Print both comparisons."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; seconds a gradient")
    print("features  hidden  density  baseline    ours  ratio of medians")
    for features, hidden in SIZES:
        for density in DENSITIES:
            theirs, ours = compare_gradients(features, hidden, density)
            numbers = f"{theirs:10.2f}{ours:8.3f}{theirs / ours:10.0f}"
            print(f"{features:8d}{hidden:8d}{density:9.2f}{numbers}")
    compare_descents()


if __name__ == "__main__":
    main()
