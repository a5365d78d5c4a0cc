"""Claims A.1 to A.6 on made-up results, ideal ones and broken ones."""

from types import SimpleNamespace

import pytest
import torch
from test_preferred_dictionary import made as made_preferred
from test_recovered_features import made

import Autoencodersmain as script
from experiments.autoencoders import preferred_dictionary
from experiments.autoencoders.recovered_features import Settings, level
from sweeps.claims import BEST_KNOWN, REPRODUCED, TRAINING_LIMITED, same_claims, seen_text, verdict

EQUAL = script.EQUAL
FIRST = script.MANY[0]


def set_level(result, which, share, true):
    """Put what another made result has at one level into this one."""
    at = level(result, **which)
    other = made(Settings(), share, true)
    result.dictionary[:, at] = other.dictionary[:, at]
    result.true_objective[at] = true
    result.released_objective[at] = true


def ideal():
    """Results by name of which all findings hold."""
    of = {name: made(Settings()) for name in script.NAMES}
    for name in script.MANY:
        set_level(of[name], script.WEAK, 0.1, 0.3)
        set_level(of[name], script.MIDDLE, 0.4, 0.1)
    for name in script.CORRELATED:
        of[name] = made(Settings(), 0.3, 0.3)
    for name in script.DENSE:
        of[name] = made(Settings(), 0.4, 0.3)
    of[script.VERY_RARE] = made(Settings(), 0.6)  # all of the first ten, two of the others
    return of


def ideal_preferred():
    """Sums have a lower objective where features are correlated."""
    of = {name: made_preferred(sums=0.8) for name in script.CORRELATED}
    return of | {script.ANTICORRELATED: made_preferred(sums=1.3)}


def judged(results, preferred):
    named = (results[name] for name in script.NAMES)
    started = (preferred[name] for name in preferred_dictionary.NAMES)
    return script.claims(SimpleNamespace(autoencoder=tuple(named), preferred=tuple(started)))


def held(claim_id, results, preferred):
    (claim,) = (claim for claim in judged(results, preferred) if claim.id == claim_id)
    for finding in claim.findings:
        assert all(value == value for value in finding.numbers.values())  # none is NaN
    return [finding.holds for finding in claim.findings]


def test_all_claims_hold_on_ideal_results():
    every_claim = same_claims([judged(ideal(), ideal_preferred())] * 2)
    assert [seed_claims[0].id for seed_claims in every_claim] == [f"A.{k}" for k in range(1, 7)]
    for seed_claims in every_claim:
        assert verdict(seed_claims) == REPRODUCED
        assert "{" not in seen_text(seed_claims)


def test_evidence_on_ideal_results():
    """Training is limited where the true dictionary has a lower objective than what is found."""
    evidence = {
        claim.id: [finding.evidence for finding in claim.findings]
        for claim in judged(ideal(), ideal_preferred())
    }
    assert evidence["A.2"] == [BEST_KNOWN, BEST_KNOWN]
    assert evidence["A.3"] == [TRAINING_LIMITED, BEST_KNOWN]
    assert evidence["A.5"][1] == evidence["A.6"][1] == BEST_KNOWN
    results = ideal()
    for name in (script.DENSE[0], script.VERY_RARE):
        results[name].true_objective[3] = 0.1
    limited = {claim.id: claim.findings[1] for claim in judged(results, ideal_preferred())}
    assert limited["A.5"].evidence == limited["A.6"].evidence == TRAINING_LIMITED
    assert limited["A.5"].numbers["levels at which the true dictionary is better"] == 1
    assert limited["A.5"].numbers["of"] == 14


DENSE = script.DENSE[0]
RARE = script.VERY_RARE
BROKEN = {  # claim -> what replaces ideal results, and which findings hold nevertheless
    "A.1": {
        "one misses": ({"n40-m10": made(Settings(), 0.9)}, [False, True]),
    },
    "A.2": {
        "all found": ({FIRST: made(Settings(), 1.0, 0.3)}, [False, True]),
        "training's fault": ({FIRST: made(Settings(), 0.1, 0.1)}, [True, False]),
        "even": ({FIRST: made(Settings(), 0.1, 0.2)}, [True, False]),
    },
    "A.3": {
        "all found": ({FIRST: made(Settings(), 1.0, 0.1)}, [False, True]),
        "the objective's fault": ({FIRST: made(Settings(), 0.1, 0.3)}, [True, False]),
    },
    "A.4": {
        "anticorrelated too, by training": (
            {script.ANTICORRELATED: made(Settings(), 1.0, 0.3)},
            [True, False, True],
        ),
        "anticorrelated missed": (
            {script.ANTICORRELATED: made(Settings(), 0.5, 0.2)},
            [True, True, False],
        ),
        "training does not find it": (
            {script.CORRELATED[0]: made(Settings(), 0.3, 0.2)},
            [True, True, True],  # sums are known to be better
        ),
    },
    "A.5": {
        "found when dense": ({DENSE: made(Settings(), 0.6, 0.3)}, [True, False]),
        "missed when sparse": ({EQUAL: made(Settings(), 0.9)}, [False, True]),
    },
    "A.6": {
        "rare found": ({RARE: made(Settings(), 0.9)}, [True, False]),
        "frequent missed": ({RARE: made(Settings(), 0.2)}, [True, False]),
        "left when released": (
            {EQUAL: made(Settings())._replace(released=torch.zeros(7, 41, 20))},
            [False, True],
        ),
    },
}


@pytest.mark.parametrize(
    ("claim_id", "case"), [(claim_id, case) for claim_id in BROKEN for case in BROKEN[claim_id]]
)
def test_findings_fail_on_broken_results(claim_id, case):
    replaced, expected = BROKEN[claim_id][case]
    assert held(claim_id, ideal() | replaced, ideal_preferred()) == expected


@pytest.mark.parametrize("share", [1.0, 0.995])
def test_no_dictionary_is_preferred_where_objectives_are_equal(share):
    """Within one per cent they count as equal."""
    preferred = ideal_preferred() | {script.CORRELATED[1]: made_preferred(sums=share)}
    assert held("A.4", ideal(), preferred) == [False, True, True]
    preferred = ideal_preferred() | {script.ANTICORRELATED: made_preferred(sums=share)}
    assert held("A.4", ideal(), preferred) == [True, True, True]


def test_one_penalty_is_enough_to_refute_a_preference():
    preferred = ideal_preferred()
    preferred[script.CORRELATED[0]].held[1, 2] = 0.4
    preferred[script.CORRELATED[0]].released[:, 2] = 0.4
    assert held("A.4", ideal(), preferred) == [False, True, True]
    preferred = ideal_preferred()
    preferred[script.ANTICORRELATED].released[0, 2] = 0.1
    assert held("A.4", ideal(), preferred) == [True, False, True]


def test_chance_alone_may_refute():
    """Random dictionaries find features in two dimensions."""
    turned = torch.arange(20) * torch.pi / 10
    plane = torch.stack((turned.cos(), turned.sin()))
    result = made(Settings())._replace(
        directions=plane,
        dictionary=plane.repeat(1, 4).expand(4, 7, 2, 2, 80).clone(),
        released=plane.expand(7, 2, 20),
    )
    assert held("A.1", ideal() | {"n40-m10": result}, ideal_preferred()) == [True, False]
