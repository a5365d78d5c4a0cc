"""Claims 4.7 to 4.12 together, on ideal results, and the evidence that optima are the best."""

from types import SimpleNamespace

import pytest
import torch
from test_collapsing_pairs import ideal as ideal_collapse
from test_correlated_sets import ideal as ideal_sets
from test_pairs_in_the_plane import ideal as ideal_pairs
from test_perturbed_pentagon import ideal as ideal_perturbed

from experiments.section4.evidence import evidence_of_optima
from experiments.section4.nonuniform_claims import claims
from sweeps.claims import BEST_KNOWN, REPRODUCED, TRAINING_LIMITED, same_claims, seen_text, verdict

IDEAL = SimpleNamespace(
    perturbed=ideal_perturbed(),
    pairs=tuple(ideal_pairs(k) for k in range(3)),
    sets=ideal_sets(),
    collapse=ideal_collapse(),
)


def test_all_claims_are_reproduced_on_ideal_results():
    every_claim = same_claims([claims(IDEAL), claims(IDEAL)])
    assert [seed_claims[0].id for seed_claims in every_claim] == [f"4.{k}" for k in range(7, 13)]
    for seed_claims in every_claim:
        assert verdict(seed_claims) == REPRODUCED
        assert "{" not in seen_text(seed_claims)


@pytest.mark.parametrize(
    "other, expected",
    [
        ([2.0, 3.0], BEST_KNOWN),
        ([0.9995, 2.0], BEST_KNOWN),  # within the error of losses
        ([2.0, 1.99], TRAINING_LIMITED),
        ([0.99, 2.0], TRAINING_LIMITED),
    ],
)
def test_evidence_is_decided_where_another_loss_is_lowest(other, expected):
    optimum = torch.tensor([1.0, 2.0], dtype=torch.float64)
    others = torch.tensor(other, dtype=torch.float64)
    assert evidence_of_optima(optimum, others) == expected
    assert evidence_of_optima(optimum, optimum + 1, others) == expected
    assert evidence_of_optima(1e-12 * optimum, 0 * optimum) == BEST_KNOWN  # both are nothing
