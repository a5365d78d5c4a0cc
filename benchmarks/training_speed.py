"""Times `train` with restarts against the usual loop of other replications, and compares the losses they reach.

    python benchmarks/training_speed.py              # 3 seeds of both, about 3 minutes on 2 cores

Both fit the ReLU output model of Section 2, n=20, m=5, importance 0.7^i, at seven densities. The
usual loop: all instances in one einsum over (batch, instance, feature), two random draws a step,
AdamW at 1e-3, 10,000 steps of batch 1,024. Ours: best of four restarts, 800 steps of batch 256 at
3e-2. The runs alternate, so that a busy machine slows both; each loss is measured on the same
65,536 fresh rows a density.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from features import FeatureDistribution
from models import ReLUOutputModel
from training import sampled_loss, train_best

DENSITIES = (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FEATURES, HIDDEN = 20, 5
TEST_ROWS, TEST_SEED = 2**16, 10**6


def usual_loop(distribution, seed, steps=10_000, batch_size=1024):
    """The loop of the paper's own notebook, as most replications keep it -> ReLUOutputModel."""
    generator = torch.Generator().manual_seed(seed)
    model = ReLUOutputModel(distribution.instances, FEATURES, HIDDEN, seed=seed)
    torch.nn.init.xavier_normal_(model.W, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    density, importance = distribution.density.float(), distribution.importance.float()
    shape = (batch_size, distribution.instances, FEATURES)
    for _ in tqdm(range(steps), leave=False, desc="usual loop"):
        optimizer.zero_grad()
        active = torch.rand(shape, generator=generator) <= density
        x = torch.where(active, torch.rand(shape, generator=generator), 0)
        h = torch.einsum("...if,ihf->...ih", x, model.W)
        x_prime = torch.relu(torch.einsum("...ih,ihf->...if", h, model.W) + model.b)
        loss = (importance * (x - x_prime) ** 2).mean(dim=(0, 2)).sum()
        loss.backward()
        optimizer.step()
    return model


def ours(distribution, seed):
    return train_best(ReLUOutputModel, distribution, HIDDEN, restarts=4, seed=seed, steps=800, batch_size=256, lr=3e-2)[
        0
    ]


def measure(fit, distribution, seed):
    """-> seconds, test loss of each density"""
    start = time.perf_counter()
    model = fit(distribution, seed)
    return time.perf_counter() - start, sampled_loss(model, distribution, rows=TEST_ROWS, seed=TEST_SEED)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default 3)")
    seeds = parser.parse_args().seeds
    distribution = FeatureDistribution(torch.tensor(DENSITIES)[:, None], 0.7 ** torch.arange(FEATURES))
    runs = [(measure(usual_loop, distribution, seed), measure(ours, distribution, seed)) for seed in range(seeds)]
    (usual_seconds, usual_losses), (our_seconds, our_losses) = ([list(r) for r in zip(*side)] for side in zip(*runs))
    usual_mean = torch.stack(usual_losses).mean(dim=0)
    ratios = torch.stack(our_losses) / usual_mean  # (seeds, densities)

    print(f"{seeds} seeds, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"seconds: usual loop {median(usual_seconds):.1f}, ours {median(our_seconds):.2f}", end=", ")
    print(f"ratio of medians {median(usual_seconds) / median(our_seconds):.1f}")
    print("\ndensity  usual loss  ours / usual, mean of seeds (each)")
    for density, usual, ratio in zip(DENSITIES, usual_mean, ratios.T):
        print(f"{density:7g}  {usual:.4e}  {ratio.mean():.3f}  ({', '.join(f'{r:.3f}' for r in ratio)})")
    print(f"all densities: mean ratio {ratios.mean():.3f}, largest {ratios.max():.3f}")


if __name__ == "__main__":
    main()
