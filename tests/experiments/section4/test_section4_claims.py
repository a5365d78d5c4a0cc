"""Section 4: claims on ideal and on broken Results, and all figures."""

import pytest
import torch
from drawing import drawn
from test_collapsing_pairs import ideal as ideal_collapse
from test_correlated_sets import ideal as ideal_sets
from test_pairs_in_the_plane import ideal as ideal_pairs
from test_perturbed_pentagon import ideal as ideal_perturbed
from test_predicted_polytopes import ideal as ideal_prediction
from test_started_as_polytopes import ideal as ideal_starts
from test_uniform_superposition import DIGONS, SWEEP, product, random_weights, searches, sweep

import Section4main as section4
from experiments.section4 import dense_minima
from theory.polytopes import PAPER_POLYTOPES

IDS = [f"4.{k}" for k in range(1, 13)]


class Results:
    """Both sweeps end in the same weights, searches find what is said, and it is all predicted."""

    def __init__(self, W=SWEEP, found=PAPER_POLYTOPES):
        self.uniform = self.settled = self.long = sweep(W)
        self.searches = searches(found)
        self.predicted, self.started = ideal_prediction(), ideal_starts()
        self.perturbed, self.sets, self.collapse = ideal_perturbed(), ideal_sets(), ideal_collapse()
        self.pairs = tuple(ideal_pairs(k) for k in range(3))


def failing(results):
    claims = section4.claims(results)
    assert [claim.id for claim in claims] == IDS
    for claim in claims:
        assert isinstance(claim.holds, bool) and claim.numbers
        for value in claim.numbers.values():
            assert isinstance(value, int | float) and abs(value) < float("inf")
    return [claim.id for claim in claims if not claim.holds]


def test_claims_hold_on_ideal_results():
    assert failing(Results()) == []


# Weights at each density and the claims that refuse them, where searches find nothing either.
BROKEN = {
    "digons only": ([DIGONS] * 12, ["4.1", "4.2", "4.3", "4.6"]),
    "no plateau of digons": (SWEEP[:5] + [SWEEP[9]] * 6 + SWEEP[5:6] + SWEEP[10:], ["4.1", "4.6"]),
    "no tetrahedra": ([W for k, W in enumerate(SWEEP) if k != 3], ["4.2", "4.6"]),
    "triangles before tetrahedra": ([*SWEEP[:3], SWEEP[4], SWEEP[3], *SWEEP[5:]], ["4.6"]),
    "a dimension unused": ([*SWEEP[:11], product("digon", "pentagon")], ["4.4"]),
    "no polytopes": ([random_weights(W) for W in SWEEP], ["4.1", "4.2", "4.3", "4.4", "4.6"]),
}


@pytest.mark.parametrize("W, expected", BROKEN.values(), ids=BROKEN)
def test_claims_refuse_broken_sweeps(W, expected):
    assert failing(Results(W, found=())) == sorted([*expected, "4.5"])
    assert failing(Results(W)) == expected  # what a search finds is no peak of a sweep


def test_all_peaks_are_in_one_sweep():
    """One sweep lacks tetrahedra, the others pentagons: no level is missing everywhere."""
    results = Results()
    results.uniform = results.settled = sweep([W for k, W in enumerate(SWEEP) if k != 3])
    results.long = sweep([W for k, W in enumerate(SWEEP) if k not in (9, 11)])
    assert not section4.claim_clusters(results.uniform, results.settled, results.long).holds
    results.long = sweep(SWEEP)
    assert section4.claim_clusters(results.uniform, results.settled, results.long).holds


def test_the_prediction_fails_where_it_is_far_off():
    assert failing(Results(found=PAPER_POLYTOPES[1:])) == ["4.5"]
    results = Results()
    results.predicted = ideal_prediction(
        tetrahedra=-0.03
    )  # 2 % worse than triangles where they are found
    results.started.benefit[0, :2] = torch.tensor(
        [1.2, 1.5]
    )  # starts confirm that triangles are better
    assert failing(results) == ["4.6"]
    numbers = section4.claim_predicted(results).numbers
    assert (
        numbers["worse than the best by prediction, at the centre of a trained polytope, at most"]
        > 0.01
    )
    assert numbers["densities at which the best of these is the predicted one"] == 2


def test_the_prediction_fails_where_another_start_is_better():
    results = Results()
    results.started.benefit[1, 2] = 1.6  # digons, better than the pentagons that are predicted
    assert failing(results) == ["4.6"]
    results.started.W[1, 2] = results.started.W[1, 1]  # no longer digons
    assert failing(results) == []


def test_the_prediction_fails_where_no_start_kept_its_polytope():
    results = Results()
    results.started.W[0] = random_weights(results.started.W[0])
    assert failing(results) == ["4.6"]
    numbers = section4.claim_predicted(results).numbers
    assert numbers["models that kept the polytope they started as"] == 5


def test_numbers_of_the_prediction():
    numbers = section4.claim_predicted(Results()).numbers
    at = sweep(SWEEP).inverse_density.tolist()
    assert (
        numbers["digon: trained from 1/(1-S)"] == at[5] and numbers["digon: trained to"] == at[11]
    )
    assert numbers["digon: predicted from 1/(1-S)"] == pytest.approx(at[5], rel=0.1)
    assert numbers["polytopes trained"] == 5 and numbers["in the predicted order (1: yes)"] == 1
    assert (
        numbers["densities at which the best of these is the predicted one"],
        numbers["of"],
    ) == (2, 2)
    assert numbers["of these, one of the paper's polytopes is predicted at"] == 2
    few = section4.claim_predicted(Results([DIGONS] * 12)).numbers
    assert (
        few["polytopes trained"] == 1
        and "pentagon: trained to" not in few
        and "pentagon: predicted to" in few
    )


def test_figures():
    """The map and the study from the sweeps of the searches, which are as good as others."""
    results = Results()
    results.study = results.searches[:2]
    few = sweep([W[:, :12] for W in (product(*["dedicated dimension"] * 6), DIGONS)])
    results.map = few, sweep([product("square antiprism"), DIGONS])
    results.dense = dense_minima.run(dense_minima.QUICK)
    figures = section4.figures(results)
    assert sorted(figures) == [
        "section4-collapse",
        "section4-dense",
        "section4-grey",
        "section4-long",
        "section4-map",
        "section4-pairs",
        "section4-perturbed",
        "section4-predicted",
        "section4-sets",
        "section4-study",
        "section4-table",
        "section4-uniform",
    ]
    for figure in figures.values():
        drawn(lambda figure=figure: figure)


def test_every_experiment_has_settings_of_its_own_kind():
    for name, (module, settings, quick, _) in section4.EXPERIMENTS.items():
        assert isinstance(settings, tuple) == isinstance(quick, tuple), name
        of_kind = settings if isinstance(settings, tuple) else (settings,)
        small = quick if isinstance(quick, tuple) else (quick,)
        assert all(isinstance(each, module.Settings) for each in (*of_kind, *small))
    for name in ("searches", "pairs"):  # one for one
        _, settings, quick, _ = section4.EXPERIMENTS[name]
        assert len(settings) == len(quick)


def test_no_claim_holds_on_noise():
    """Random matrices of the same sizes in every experiment."""
    results = Results([random_weights(W) for W in SWEEP], found=())
    for name in ("perturbed", "sets", "collapse"):
        ideal = getattr(results, name)
        setattr(results, name, ideal._replace(W=random_weights(ideal.W)))
    results.pairs = tuple(ideal._replace(W=random_weights(ideal.W)) for ideal in results.pairs)
    results.collapse.loss[:] = torch.rand(
        results.collapse.loss.shape, generator=torch.manual_seed(0)
    )
    assert failing(results) == IDS
