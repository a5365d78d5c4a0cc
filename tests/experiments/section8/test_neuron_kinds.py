"""Mono- and polysemantic neurons: rules, starts, the claim on made-up results, short runs."""

from dataclasses import replace

import pytest
import torch
from drawing import drawn

import Section8main as section8
from experiments.section8 import neuron_kinds
from experiments.section8.constructed_models import constructed, fresh, handmade
from experiments.section8.neuron_kinds import (
    Models,
    Result,
    has_both,
    importance_order,
    neurons,
    order_by_chance,
)
from features import FeatureDistribution
from sweeps.claims import (
    BEST_KNOWN,
    REPRODUCED,
    TRAINING_LIMITED,
    Claim,
    checked,
    seen_text,
    verdict,
)
from training import sampled_loss

SHORT = replace(
    neuron_kinds.QUICK, parts=2, steps=5, more_steps=3, batch_size=16, rows=64, densities=(1.0, 0.1)
)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Kinds of neurons


def layer(in_weights, out=1.0):
    """One model with these in-weights, and out-weights all alike."""
    W1 = torch.tensor([[in_weights]], dtype=torch.float32)
    return Models(W1, torch.full_like(W1.mT, out), torch.zeros(1, 1).double())


def test_kinds_of_neurons():
    # Shares of the squares: 0.92, 0.88, 0.88; the last one is not in use.
    of = neurons(layer([[3.0, 0.9], [3.0, 1.1], [-1.1, 3.0], [0.01, 0.05]]))
    assert of.monosemantic.tolist() == [[True, False, False, False]]
    assert of.polysemantic.tolist() == [[False, True, True, False]]
    assert of.main.tolist() == [[0, 0, 1, 1]]
    assert of.superposition[0, 1].item() == pytest.approx(1.21 / 10.21)
    for weight, used in ((0.11, True), (0.09, False)):
        assert neurons(layer([[weight, 0.0]])).monosemantic.item() == used
    unheard = neurons(layer([[3.0, 3.0]], out=-1.0))  # it writes to no output
    assert not unheard.monosemantic.any() and not unheard.polysemantic.any()


def test_neurons_are_those_of_the_part_of_lowest_loss():
    first = layer([[3.0, 0.0]])
    second = layer([[3.0, 3.0]])
    both = Models(*(torch.cat(parts, dim=1) for parts in zip(first, second)))
    both.loss[0, 0] = 1.0
    assert neurons(both).polysemantic.all()
    both.loss[0, 1] = 2.0
    assert neurons(both).monosemantic.all()


def test_importance_order():
    alone = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    mixed = [[1.0, 0.9, 0], [0, 1.0, 0.9], [0, 0.9, 1.0]]

    def order(rows):
        return importance_order(neurons(layer(rows))).item()

    assert order([alone[0], alone[1], mixed[2]]) == 1
    assert order([alone[2], mixed[0], mixed[1]]) == 0
    assert order([alone[1], mixed[1]]) == 0.5  # equal
    assert order([alone[0], alone[2], mixed[1]]) == 0.5
    assert order(alone) == order(mixed) == 0.5  # one kind alone


def test_order_by_chance_is_that_of_random_orders():
    """The neurons of a model keep their features, and their kinds are shuffled."""
    models = Models(*(values[:1] for values in made_up([12]).best))
    kinds = neurons(models)
    generator = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(40, generator=generator) for _ in range(4000)])
    main = torch.arange(40).expand(4000, 40)
    shuffled = kinds._replace(
        main=main,
        monosemantic=kinds.monosemantic[0][order],
        polysemantic=kinds.polysemantic[0][order],
    )
    assert order_by_chance(kinds).item() == pytest.approx(
        importance_order(shuffled).std().item(), rel=0.05
    )
    assert order_by_chance(neurons(layer([[1.0, 0.0]]))).item() == 0


# Starts


def inputs(densities=(1.0, 0.1)):
    density = torch.tensor(densities, dtype=torch.float64)
    importance = 0.8 ** torch.arange(100, dtype=torch.float64)
    return FeatureDistribution(density[:, None], importance, signed=True)


def test_model_made_by_hand_ignores_the_others_at_their_mean():
    """An ignored feature of density s costs I_i (s/3 - s^2/4)."""
    settings = neuron_kinds.Settings()
    s = torch.tensor([1.0, 0.1]).double()
    ignored = 0.8 ** torch.arange(20, 100).double()
    loss = sampled_loss(handmade(settings, inputs()), inputs(), rows=2**15)
    torch.testing.assert_close(loss, ignored.sum() * (s / 3 - s**2 / 4), rtol=0.02, atol=0)


def test_fresh_starts_are_alike_at_all_densities():
    model = fresh(replace(SHORT, parts=1), inputs(), seed=3)
    assert model.instances == 2 and torch.equal(model.W1[0], model.W1[1])
    assert 0 < model.W1.abs().max() < 0.2 and (model.b == 0).all()


def test_constructed_starts():
    settings = replace(SHORT, parts=1)
    model = constructed(settings, inputs(), seed=3)
    W1 = model.W1.detach().unflatten(0, (2, 3))  # densities, starts
    b = model.b.detach().unflatten(0, (2, 3))
    assert torch.equal(W1[0], W1[1])
    for start, count in enumerate(settings.pairs):
        is_read = W1[0, start].abs() > 0.5
        assert is_read.sum(dim=0).tolist() == [2] * count + [0] * (100 - count)
        assert (b[0, start] == 0).sum() == count and b[0, start, -1] == 0.5
    of_control = (W1[0, 2].abs() > 0.5).sum(dim=0)
    assert of_control.sum() == of_control[:26].sum() == 26 and not of_control[:13].all()
    second_part = constructed(replace(settings, first=1), inputs(), seed=3).W1.detach()
    assert second_part[0].ne(model.W1[0]).any()
    assert ((second_part[2].abs() > 0.5).sum(dim=0) != of_control).any()


# The claim


def model_of(alone, hidden=40, features=100, backwards=False):
    """W1 of neurons, the first `alone` with a feature of their own and the others with two."""
    main = torch.arange(hidden) // 2
    if backwards:
        main = main.flip(0)
    W1 = torch.nn.functional.one_hot(main, features).float()
    return W1 + torch.roll(W1, 20, dims=1) * (torch.arange(hidden) >= alone)[:, None]


def models_of(counts, loss, backwards=False):
    W1 = torch.stack([model_of(alone, backwards=backwards) for alone in counts])[:, None]
    return Models(W1, W1.mT.clone(), torch.full((len(counts), 1), loss, dtype=torch.float64))


def made_up(counts, backwards=False):
    """A result of one part whose best models have these numbers of monosemantic neurons."""
    points = len(counts)
    best = models_of(counts, 1.0, backwards)

    def losses(value, *shape):
        return torch.full((points, 1, *shape), value, dtype=torch.float64)

    return Result(
        density=torch.logspace(0, -3, points, dtype=torch.float64),
        fresh=models_of(counts, 2.0),
        best=best,
        constructed_loss=losses(1.1, 4),
        unordered_loss=losses(1.5),
        continued_loss=losses(1.0, 2),
        handmade_loss=losses(1.2),
    )


IDEAL = (40, 40, 36, 28, 20, 12, 0)  # at the seven densities of the full run


def judged(result):
    """Whether each finding of the claim holds: three effects, then the order, control, fresh."""
    claim = checked(section8.claim_neurons(result))
    assert isinstance(claim, Claim) and seen_text([claim])
    return [finding.holds for finding in claim.findings]


def test_ideal():
    result = made_up(IDEAL)
    assert len(IDEAL) == len(neuron_kinds.Settings().densities)
    assert judged(result) == [True] * 6
    claim = section8.claim_neurons(result)
    assert verdict([claim]) == REPRODUCED
    evidence = [finding.evidence for finding in claim.findings]
    assert evidence[:4] == [BEST_KNOWN] * 4 and evidence[5] == TRAINING_LIMITED
    assert has_both(neurons(result.best)).tolist() == [False, False, True, True, True, True, False]
    assert judged(made_up([38, 40, 20, 12])) == [True] * 6  # two more are allowed, and some left


def test_effects_rest_on_training_if_the_model_made_by_hand_is_better():
    claim = section8.claim_neurons(made_up(IDEAL)._replace(handmade_loss=torch.full((7, 1), 0.9)))
    assert claim.findings[0].evidence == TRAINING_LIMITED


BROKEN = {  # monosemantic neurons -> which of the effects hold
    "come back": ([36, 39, 20, 0], [False, True, True]),
    "never mixed": ([40, 40, 0, 0], [True, False, False]),
    "mixed when dense": ([35, 20, 10, 0], [False, True, True]),
    "most are alone when sparse": ([40, 30, 25, 20], [False, True, True]),
    "the other way round": ([0, 20, 40], [False, True, True]),
}


@pytest.mark.parametrize(("counts", "holds"), BROKEN.values(), ids=BROKEN)
def test_broken(counts, holds):
    assert judged(made_up(counts))[:3] == holds


def test_order_is_refused_where_importance_decides_nothing():
    assert judged(made_up(IDEAL, backwards=True))[:4] == [True, True, False, False]
    random = made_up([40, 20, 0])
    random = random._replace(
        best=random.best._replace(W1=noise(3, 1, 40, 100), W2=noise(3, 1, 100, 40, seed=1))
    )
    assert judged(random)[:4] == [False] * 4
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shuffled = made_up(IDEAL)
    swapped = model_of(20).clone()
    swapped[:, 20:40] = swapped[order][:, 20:40]  # second features anywhere
    shuffled.best.W1[4, 0] = swapped
    shuffled.best.W2[4, 0] = swapped.mT
    assert judged(shuffled)[2:4] == [False, False]


def test_what_is_asked_beyond_the_paper_can_fail():
    result = made_up(IDEAL)
    as_low = result._replace(unordered_loss=result.constructed_loss[..., 0])
    assert judged(as_low) == [True] * 4 + [False, True]
    fresh = result._replace(fresh=models_of(IDEAL, 2.0, backwards=True))
    assert judged(fresh) == [True] * 5 + [False]


# Runs and figures


@pytest.fixture(scope="module")
def short():
    return neuron_kinds.run(SHORT, progress=False)


def flat(result):
    return [
        value for field in result for value in (field if isinstance(field, Models) else [field])
    ]


def test_run_and_its_shards(short):
    other = neuron_kinds.run(SHORT, seed=1, progress=False)
    parts = [neuron_kinds.run(shard, progress=False) for shard in neuron_kinds.shards(SHORT)]
    for value, joined, of_other in zip(flat(short), flat(neuron_kinds.joined(parts)), flat(other)):
        torch.testing.assert_close(joined, value)
        assert value.dim() == 1 or not torch.equal(value, of_other)
    assert short.best.W1.shape == (2, 2, 40, 100) and short.best.W2.shape == (2, 2, 100, 40)
    assert short.constructed_loss.shape == (2, 2, 2) and short.continued_loss.shape == (2, 2, 1)


def test_the_best_is_the_lowest_of_all_candidates(short):
    losses = (short.constructed_loss, short.continued_loss)
    candidates = torch.cat(
        (short.fresh.loss[..., None], short.unordered_loss[..., None], *losses), dim=2
    )
    torch.testing.assert_close(short.best.loss, candidates.amin(dim=2))


def test_figures(short):
    drawn(neuron_kinds.figure, short)
    figure = drawn(neuron_kinds.figure, made_up([40, 20, 0]))
    titles = [ax.get_title() for subfigure in figure.subfigs for ax in subfigure.axes]
    assert titles[:2] == [
        "density 1\n40 mono-, 0 polysemantic",
        "density 0.0316228\n20 mono-, 20 polysemantic",
    ]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "wrong", [{"pairs": (10, 21)}, {"pairs": ()}, {"unordered": 21}, {"features": 25}]
)
def test_settings_refuse(wrong):
    with pytest.raises(ValueError, match=r"^pairs, unordered: expected"):
        neuron_kinds.Settings(**wrong)
