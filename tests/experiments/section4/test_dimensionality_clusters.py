"""Clusters of dimensionalities, on arrangements that are known."""

import pytest
import torch
from test_uniform_superposition import DEDICATED, DIGONS, SWEEP, product, random_weights

from experiments.section4.dimensionality_clusters import (
    clusters,
    dimensionalities_in,
    near_tetrahedra,
    without_weak,
)
from theory.polytopes import PAPER_POLYTOPES


def with_weak_beside(W, norm):
    """Three features that are not represented, along the first three dimensions."""
    W = W.clone()
    W[:3, -3:] = norm * torch.eye(3, dtype=W.dtype)
    return W


def test_clusters_are_found_where_the_polytopes_are():
    at = torch.arange(1.0, len(SWEEP) + 1)
    found = clusters(at, [W[None] for W in SWEEP])
    assert list(found) == list(PAPER_POLYTOPES)
    assert list(found.values()) == [[4], [5], [6, 7, 8, 9, 12], [10, 12], [11, 12]]


def test_no_clusters_without_polytopes():
    W = [DEDICATED[None], random_weights(DIGONS)[None] / 5, 0 * DIGONS[None]]
    assert not any(clusters(torch.arange(1.0, 4), W).values())


def test_a_tetrahedron_has_three_quarters_of_what_weak_features_leave():
    """A weak feature of norm w along each dimension takes w^2 of 4/3 + w^2."""
    W = with_weak_beside(product("tetrahedron", "triangle", "dedicated dimension"), 0.3)[None]
    raw = dimensionalities_in("tetrahedron", W)
    assert raw.tolist() == pytest.approx([1 / (4 / 3 + 0.09)] * 4)
    assert dimensionalities_in("tetrahedron", without_weak(W)).tolist() == pytest.approx(
        [3 / 4] * 4
    )
    assert clusters(torch.ones(1), [W])["tetrahedron"] == [1]
    assert len(dimensionalities_in("pentagon", W)) == 0


def test_lone_features_near_three_quarters_are_told_from_tetrahedra():
    W = 0 * DIGONS
    W[:, :6] = 0.75**0.5 * torch.eye(6)
    W[:, 6:12] = 0.5 * torch.eye(6)
    counts = near_tetrahedra(torch.stack([W, product("tetrahedron", "triangle")]))
    assert counts == {"shared dimension": 6, "tetrahedron": 4, "triangle": 0}
