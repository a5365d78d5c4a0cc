"""Results of Section 5 made by hand, for which every finding is true, with the full settings."""

import torch

from experiments.section5 import barrier, jumps, plateaus, waiting_times

SETTINGS = jumps.Settings()
STEPS = torch.arange(0, SETTINGS.steps + 1, SETTINGS.record_every)
EMERGENCE = 600  # steps
TIMES = (5000, 8000, 11_000, 14_000, 17_000, 20_000, 23_000, 26_000)  # of each run's jump
PASSAGE = 200  # steps
LONE, PARTNER = 18, 19  # features


def risen(start, passage=PASSAGE):
    """Rise from 0 to 1 over STEPS, linearly."""
    return ((STEPS - start) / passage).clamp(0, 1).double()


def loss(times=TIMES, drop=0.02):
    """An exact loss that falls in the emergence, and at a time of each run."""
    later = torch.stack([risen(time) for time in times], dim=1)
    ripple = 1e-4 * torch.sin(torch.arange(len(STEPS)) / 7)[:, None]
    return 2.07 * (1.6 - 0.6 * risen(0, EMERGENCE))[:, None] * (1 - drop * later) + ripple


def course(times=TIMES, passage=PASSAGE):
    """Runs in which a lone feature and another become a digon, and the loss drops by 2 %."""
    D = torch.zeros(len(STEPS), len(times), SETTINGS.features, dtype=torch.float64)
    emergence = risen(0, EMERGENCE)
    for k, time in enumerate(times):
        later = risen(time, passage)
        D[:, k, :LONE] = (emergence / 2)[:, None]
        D[:, k, LONE] = 0.73 * emergence - 0.23 * later
        D[:, k, PARTNER] = 0.01 + 0.49 * later
    return jumps.Result(STEPS, loss(times), D)


def settled(count=4):
    """Plateaus that are minima, at which a feature is alone."""
    hidden, features = SETTINGS.hidden, SETTINGS.features
    W = torch.zeros(count, hidden, features, dtype=torch.float64)
    for k in range(hidden - 1):
        W[:, k, 2 * k] = 1
        W[:, k, 2 * k + 1] = -1
    W[:, -1, LONE] = 0.924
    W[:, -1, LONE + 1 :] = 0.125
    rotations = hidden * (hidden - 1) // 2
    curvatures = torch.full((count, (hidden + 1) * features), 0.006, dtype=torch.float64)
    curvatures[:, :rotations] = 4e-7
    return plateaus.Result(
        runs=torch.tensor(4),
        start_loss=torch.full((count,), 2.0715, dtype=torch.float64),
        loss=torch.full((count,), 2.0687, dtype=torch.float64),
        gradient=torch.full((count,), 1e-8, dtype=torch.float64),
        curvatures=curvatures,
        rotations=torch.full((count,), rotations),
        W=W,
        b=torch.zeros(count, features, dtype=torch.float64),
    )


def way():
    """A low barrier whose top has one direction down."""
    curvatures = settled().curvatures[0].clone()
    curvatures[0] = -0.006
    weight = torch.linspace(0.125, -1, 24, dtype=torch.float64)
    return barrier.Result(
        weight=weight,
        loss=2.0687 - 0.0422 * weight.clamp(max=0).square(),
        top_loss=torch.tensor(2.06872, dtype=torch.float64),
        top_gradient=torch.tensor(1e-8, dtype=torch.float64),
        top_curvatures=curvatures,
        below_loss=torch.tensor([2.0687, 2.0264], dtype=torch.float64),
        below_is_lone=torch.tensor([True, False]),
        below_is_digons=torch.tensor([False, True]),
    )


def waits():
    """Waits that are the shorter, the noisier the training is."""
    settings = waiting_times.Settings()
    typical = torch.tensor([20_000, 15_000, 5000, 10_000, 20_000])
    waited = typical[:, None].repeat(1, settings.runs)
    return waiting_times.Result(
        learning_rate=torch.tensor(settings.learning_rates, dtype=torch.float64),
        batch_size=torch.tensor(settings.batch_sizes),
        steps=torch.full_like(typical, settings.steps),
        jumped=waited < settings.steps,
        waited=waited,
        in_digons=waited < settings.steps,
    )
