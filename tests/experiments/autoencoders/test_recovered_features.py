"""Sparse autoencoders: codes and gradients, matching by hand, what made-up results show."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
import torch
from drawing import drawn
from matplotlib import pyplot as plt

import Autoencodersmain as script
from experiments.autoencoders import recovered_features
from experiments.autoencoders.recovered_features import (
    DIGONS,
    QUICK,
    Result,
    Settings,
    fault,
    found,
    level,
    matched,
    run,
    surplus,
)
from experiments.autoencoders.sparse_autoencoder import (
    Autoencoders,
    Rows,
    Sparsity,
    encode,
    fit,
    from_dictionary,
    gradients,
    measured,
    random_dictionary,
)

matplotlib.use("Agg")
HOME = Path(script.__file__).parent


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# The autoencoder


def some(instances=4, hidden=3, codes=6):
    """Autoencoders with random weights, and rows with weights."""
    of = from_dictionary(random_dictionary(instances, hidden, codes, generator()))
    more = [
        torch.randn(value.shape, generator=generator(k)) / 3
        for k, value in enumerate((of.E, of.e, of.c))
    ]
    h = torch.randn(1, 50, hidden, generator=generator(9))
    return (
        Autoencoders(of.D, of.E + more[0], more[1], more[2]),
        h,
        torch.rand(50, generator=generator(8)),
    )


def test_a_top_k_code_has_at_most_k_actives():
    of, h, _ = some()
    every = encode(of, h, torch.tensor([0, 0, 0, 0]))
    assert (every > 0).sum(dim=2).amax() > 3
    kept = encode(of, h, torch.tensor([1, 2, 3, 0]))
    active = (kept > 0).sum(dim=2).amax(dim=1)
    assert active[:3].tolist() == [1, 2, 3] and torch.equal(kept[3], every[3])
    for k in (1, 2, 3):  # the largest are left as they are
        torch.testing.assert_close(
            kept[k - 1].sum(dim=1), every[k - 1].topk(k, dim=1).values.sum(dim=1)
        )


@pytest.mark.parametrize("keep", [1, 2, 3, 5])
def test_of_equal_codes_the_first_are_kept(keep):
    """Codes of axis 0 stand in three equal columns, and one more column is larger."""
    D = torch.eye(2)[None, :, [0, 1, 0, 0]]
    h = torch.tensor([[[3.0, 4.0], [4.0, 3.0], [2.0, 2.0]]])
    kept = encode(from_dictionary(D), h, torch.tensor([keep]))[0]
    expected = {
        1: [[0, 4, 0, 0], [4, 0, 0, 0], [2, 0, 0, 0]],
        2: [[3, 4, 0, 0], [4, 0, 4, 0], [2, 2, 0, 0]],
        3: [[3, 4, 3, 0], [4, 0, 4, 4], [2, 2, 2, 0]],
        5: [[3, 4, 3, 3], [4, 3, 4, 4], [2, 2, 2, 2]],
    }
    assert kept.tolist() == expected[keep]


def test_gradients_are_those_of_the_objective():
    of, h, weight = some()
    sparsity = Sparsity(torch.tensor([0.0, 0.3, 0.0, 0.1]), torch.tensor([2, 0, 0, 1]))
    at = {name: value.double().requires_grad_() for name, value in vars(of).items()}
    double, h, weight = Autoencoders(**at), h.double(), weight.double()
    codes = torch.relu((h - double.c[:, None]) @ double.E.mT + double.e[:, None])
    codes = codes * (encode(double, h, sparsity.keep).detach() > 0)
    errors = (codes @ double.D.mT + double.c[:, None] - h).square().sum(dim=2) + sparsity.penalty[
        :, None
    ] * codes.sum(dim=2)
    expected = torch.autograd.grad((errors * weight).sum(), list(at.values()))
    with torch.no_grad():
        ours = gradients(double, sparsity, h, weight)
        objective = measured(double, sparsity, h, weight).objective
    torch.testing.assert_close(objective, (errors * weight).sum(dim=1).detach())
    for name, value in zip(at, expected):
        torch.testing.assert_close(ours[name], value)


def orthogonal(generator):
    """Four sparse features along the axes of four dimensions, of about unit mean square."""
    active = torch.rand(1, 256, 4, generator=generator) < 0.1
    return 3 * torch.rand(1, 256, 4, generator=generator) * active, torch.full((256,), 1 / 256)


@pytest.mark.parametrize("level", [(0.3, 0), (0.0, 1)], ids=["plain", "top-k"])
def test_orthogonal_sparse_features_are_all_found(level):
    start = from_dictionary(random_dictionary(3, 4, 8, generator()))
    sparsity = Sparsity(*(torch.tensor([value] * 3) for value in level))
    trained = fit(start, sparsity, orthogonal, steps=600, lr=2e-2)
    for dictionary in trained.D:
        assert (matched(torch.eye(4), dictionary) > 0.95).all()
    torch.testing.assert_close(trained.D.norm(dim=1), torch.ones(3, 8))
    assert not torch.equal(start.D, trained.D)


def test_a_held_dictionary_stays():
    start, sparsity = (
        from_dictionary(torch.eye(4)[None]),
        Sparsity(torch.tensor([0.1]), torch.tensor([0])),
    )
    trained = fit(start, sparsity, orthogonal, steps=20, lr=1e-2, held=True)
    assert torch.equal(trained.D, start.D) and not torch.equal(trained.E, start.E)


def test_diverging_is_said():
    start, sparsity = (
        from_dictionary(torch.eye(4)[None]),
        Sparsity(torch.tensor([torch.inf]), torch.tensor([0])),
    )
    with pytest.raises(FloatingPointError, match="1 of 1 autoencoders diverged"):
        fit(start, sparsity, orthogonal, steps=2, lr=1e-2)


# Matching


def test_a_permuted_dictionary_is_found_and_a_negated_one_is_not():
    directions = random_dictionary(1, 5, 5, generator())[0]
    permuted = directions[:, [3, 0, 4, 1, 2]]
    torch.testing.assert_close(matched(directions, permuted), torch.ones(5))
    torch.testing.assert_close(matched(torch.eye(5), -torch.eye(5)), torch.zeros(5))
    negated = permuted.clone()
    negated[:, 1] *= -1  # of feature 0
    cosines = matched(directions, negated)
    assert cosines[0] < 0.95 and (cosines[1:] > 0.95).sum() >= 3


def test_matching_is_one_to_one():
    """Of two features close to one code one has it; without enough codes one is left over."""
    directions = torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    assert matched(directions, torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == pytest.approx(
        [1, 0.6]
    )
    assert matched(directions, torch.tensor([[1.0], [0.0]])).tolist() == [1, 0]


# What a result says


def made(settings, share=1.0, true=0.2, learned=0.2):
    """A result whose dictionaries hold the first features up to a share, and useless codes."""
    levels = [(penalty, 0) for penalty in settings.penalties] + [(0.0, k) for k in settings.keep]
    features, hidden = 20, 41  # axes: the last dimensions are left for codes that hit nothing
    sizes = [round(multiple * features) for multiple in settings.multiples]
    codes, axes = max(sizes), torch.eye(hidden)
    hits = round(share * features)
    dictionary = axes[:, torch.arange(codes).clamp(max=hidden - 1)].clone()
    dictionary[:, hits:] = axes[:, -1:]
    shape = (len(sizes), len(levels), settings.runs)
    stacked = torch.stack([dictionary * (torch.arange(codes) < size) for size in sizes])
    penalty, keep = (torch.tensor(values) for values in zip(*levels))
    objective = torch.full(shape, learned)
    return Result(
        penalty, keep, axes[:, :features].clone(), torch.tensor(2.0), torch.tensor(sizes),
        stacked[:, None, None].expand(*shape, -1, -1).clone(),
        torch.full((*shape, codes), 0.5), objective,
        torch.full((len(levels),), true), torch.full((len(levels),), true),
        axes[:, :features].expand(len(levels), -1, -1).clone(),
    )  # fmt: skip


def test_dead_codes_find_nothing_and_the_lowest_objective_counts():
    result = made(replace(Settings(), runs=2))
    assert (found(result)[1:] == 1).all() and (
        found(result)[0] == 0.5
    ).all()  # of half as many codes
    result.used[1, 0, :, 3] = 0
    assert found(result)[1, 0] == pytest.approx(0.95)
    result.dictionary[1, 1, 0] = 0
    result.objective[1, 1, 0] = 0.1
    assert found(result)[1, 1] == 0


def test_whose_fault():
    settings = Settings()
    assert fault(made(settings, 1.0, 0.3)).tolist() == [0] * 7
    for true, expected in ((0.2, 1), (0.201, 1), (0.1, 2), (0.3, 3)):
        assert fault(made(settings, 0.5, true)).tolist() == [expected] * 7
    left = made(settings, 0.5, 0.1)
    assert (
        fault(left._replace(released=torch.zeros(7, 41, 20))).tolist() == [2] * 7
    )  # at the same objective
    left = left._replace(released=torch.zeros(7, 41, 20), released_objective=torch.full((7,), 0.09))
    assert fault(left).tolist() == [3] * 7
    assert surplus(made(settings, 0.5, 0.0009, 1e-5)).tolist() == [0] * 7  # both next to nothing
    assert surplus(made(settings, 0.5, 0.4, 0.2)).tolist() == pytest.approx([0.5] * 7)


def test_levels():
    result = made(Settings())
    assert level(result, penalty=0.3) == 2 and level(result, keep=1) == 4
    with pytest.raises(ValueError, match="expected a level of the result"):
        level(result, penalty=0.7)


# Running it


def test_run_and_figure():
    settings = next(settings for settings in QUICK if settings.model == DIGONS)
    result = run(settings, progress=False)
    assert result.dictionary.shape == (2, 4, 1, 5, 20) and result.released.shape == (4, 5, 10)
    assert (result.dictionary[0, ..., 10:] == 0).all()
    torch.testing.assert_close(result.directions, torch.cat((torch.eye(5), -torch.eye(5)), dim=1))
    assert result.active.item() == pytest.approx(1 / (1 - 0.9**10))
    again = run(settings, progress=False)
    assert all(torch.equal(*pair) for pair in zip(result, again))
    drawn(recovered_features.figure, [result] * 3, ["one", "two", "three"], ["one", "three"])


def test_the_files_of_every_model_are_inputs():
    for settings in (*recovered_features.MODELS, *QUICK):
        folder = recovered_features.ZOO / settings.model
        assert settings.model == DIGONS or set(folder.iterdir()) <= set(recovered_features.INPUTS)


WRONG = {
    "model": {"model": "heptagon"},
    "densities": {"densities": (0.1, 0.1, 0.1)},
    "densities ": {"densities": (0.1, 2.0)},
    "multiples": {"multiples": (2.0,)},
    "penalties": {"penalties": (-1.0,)},
    "keep": {"keep": (0,)},
    "steps": {"steps": 0},
    "lr": {"lr": 0.0},
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_settings(name, unchecked):
    with pytest.raises(ValueError, match=f"^{name.strip()}.*: expected "):
        Settings(**WRONG[name])


def test_test_rows_depend_on_the_seed():
    model, inputs = recovered_features._toy_model(Settings(DIGONS))
    first, again, other = (Rows(model, inputs, 8, seed) for seed in (0, 0, 1))
    assert torch.equal(first.test[0], again.test[0])
    assert not torch.equal(first.test[0], other.test[0])
    assert first.scale != other.scale
    batch, _ = first(generator(0))
    assert not torch.equal(first.test[0][:, :8], batch[:, :8])  # training has rows of its own
