"""The first superposition: a short run, training on along density, and the figure."""

import torch
from drawing import drawn

from experiments.section2 import first_superposition
from experiments.section2.along_density import Continuation, Training, trained_along_density
from experiments.section2.first_superposition import QUICK, Result, Settings, figure, run
from features import FeatureDistribution
from losses import many_features_loss
from theory.polytopes import POLYTOPES


def result_of(density, W):
    loss = torch.ones(len(W), dtype=torch.float64)
    return Result(torch.tensor(density), W, torch.zeros(len(W), W.shape[2]), loss, loss, loss)


def product(*names, features=9, hidden=6):
    W = torch.block_diag(*(POLYTOPES[name].vertices for name in names)).float()
    return torch.nn.functional.pad(W, (0, features - W.shape[1], 0, hidden - W.shape[0]))


def test_run():
    """Losses are exact, and neither fresh restarts nor another round change their order."""
    result = run(QUICK, progress=False)
    assert set(QUICK.densities) <= set(Settings().densities)
    importance = QUICK.decay ** torch.arange(QUICK.features, dtype=torch.float64)
    inputs = FeatureDistribution(result.density[:, None], importance)
    exact = many_features_loss(result.W, result.b, inputs)
    torch.testing.assert_close(result.loss, exact, rtol=1e-6, atol=0)
    assert (result.next_loss <= result.loss).all() and (result.loss <= result.fresh_loss).all()


def test_the_neighbours_best_is_handed_on():
    """By a loss that only the first density's weights have low, they win at every density."""
    marked = []

    def loss_of(model, distribution):
        if not marked:
            marked.append(model.W[0].detach().clone())
        return (model.W.detach() - marked[0]).square().sum(dim=(1, 2)).double()

    best = trained_along_density(
        FeatureDistribution(torch.tensor([[0.5], [0.5], [0.5]]), features=3),
        2,
        Training(restarts=1, steps=50, lr=1e-2),
        Continuation(rounds=2, steps=1, lr=1e-9),
        loss_of,
        progress=False,
    )
    assert best.fresh_loss[0] == 0 and (best.fresh_loss[1:] > 0).all()
    torch.testing.assert_close(best.W, marked[0].expand(3, 2, 3), atol=1e-6, rtol=0)
    assert best.loss.max() < 1e-9


def test_first_groups_by_hand():
    lone = product("dedicated dimension", "dedicated dimension")
    W = torch.stack([lone, product("triangle", "digon"), product("digon", "digon")])
    first = first_superposition.first_groups(result_of([0.9, 0.6, 0.5], W))
    assert first.place == 1 and first.largest.polytope == "triangle" and len(first.groups) == 2
    assert [first_superposition.all_pairs(weights) for weights in W] == [False, False, True]
    assert first_superposition.first_groups(result_of([0.9], W[:1])) is None


def test_figure_shows_each_group():
    """Bars of the features in each kind of group, for models made of known polytopes."""
    W = torch.stack(
        [
            product("dedicated dimension", "dedicated dimension"),
            product("triangle", "dedicated dimension"),
            product("tetrahedron", "digon"),
            product("pentagon"),
        ]
    )
    shown = drawn(figure, [result_of([0.9, 0.7, 0.5, 0.4], W)])
    (ax,) = shown.axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    assert heights == {
        "dedicated dimension": [2, 1, 0, 0],
        "shared dimension": [0, 0, 0, 0],
        "digon": [0, 0, 2, 0],
        "three in two dimensions": [0, 3, 0, 0],
        "four in three dimensions": [0, 0, 4, 0],
        "a larger group": [0, 0, 0, 5],
    }
