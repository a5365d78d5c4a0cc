"""Arrangements known by their cosines, and measures on weights that are made up."""

from collections import Counter
from itertools import product as every

import matplotlib
import pytest
import torch
from drawing import drawn
from matplotlib import pyplot as plt
from test_uniform_superposition import SWEEP, sweep

from experiments.section4 import beyond_polytopes, periodic_table
from experiments.section4.beyond_polytopes import ARRANGEMENTS, Alike, alike_benefit
from theory.mean_field import mean_field_benefit
from theory.packing import polytope_optimum
from theory.polytopes import POLYTOPES

matplotlib.use("Agg")
DENSITY = 1 / torch.tensor([4.4, 8.0, 20.0], dtype=torch.float64)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def counted(vertices):
    """The cosines of the first vertex with the others, and how many have each."""
    counts = Counter(round(cosine, 6) for cosine in (vertices[:, 0] @ vertices[:, 1:]).tolist())
    return {cosine: count for cosine, count in counts.items() if cosine}


@pytest.mark.parametrize("polytope", ["digon", "pentagon", "5-diplosimplex", "icosahedron"])
def test_saves_what_the_exact_loss_says(polytope):
    vertices = POLYTOPES[polytope].vertices
    arrangement = Alike(counted(vertices), vertices.shape[1] / vertices.shape[0])
    exact = polytope_optimum(polytope, DENSITY).benefit
    torch.testing.assert_close(alike_benefit(arrangement, DENSITY), exact, rtol=1e-3, atol=0)


def test_random_couplings_alone_are_the_mean_field():
    alone = alike_benefit(Alike({}, 1, random=True), DENSITY)
    torch.testing.assert_close(alone, mean_field_benefit(DENSITY), rtol=1e-3, atol=0)


def test_the_arrangements_share_evenly_and_are_as_skew_as_can_be():
    for cosines, features_per_dimension, random in ARRANGEMENTS.values():
        sums = [
            sum(count * cosine**power for cosine, count in cosines.items()) for power in (1, 2, 3)
        ]
        assert sums == pytest.approx([-1, features_per_dimension - 1, -1])
        assert random == (features_per_dimension == 2)


def test_sixteen_in_five_are_every_other_corner_of_a_cube():
    corners = (
        torch.tensor([signs for signs in every((-1.0, 1.0), repeat=5) if sum(signs) % 4 == 1]).T
        / 5**0.5
    )
    assert corners.shape == (5, 16)
    assert counted(corners.double()) == pytest.approx(ARRANGEMENTS["16 in 5"].cosines)


def test_they_save_more_than_the_table():
    table = periodic_table.table()
    best = table.benefit.max(dim=0).values
    leads = {"digons at random": 4.4, "16 in 5": 8.0, "100 in 22": 20.0}
    for name, at in leads.items():
        known = best[(table.inverse_density - at).abs().argmin()]
        assert alike_benefit(ARRANGEMENTS[name], torch.tensor([1 / at])) > known


def test_refuses_densities_that_are_none():
    with pytest.raises(ValueError, match="density"):
        alike_benefit(ARRANGEMENTS["16 in 5"], torch.tensor([1.5]))


def test_measures():
    square, nothing = torch.eye(2).repeat(1, 2) * torch.tensor([1, 1, -1, -1]), torch.zeros(2, 4)
    triangle = torch.cat((POLYTOPES["triangle"].vertices.float(), torch.zeros(2, 1)), dim=1)
    result = sweep([square, triangle, nothing])
    assert beyond_polytopes.cosines(square).shape == (4, 3) and beyond_polytopes.cosines(
        nothing
    ).shape == (0, 0)
    torch.testing.assert_close(
        beyond_polytopes.summed_powers(result, 3), torch.tensor([-1, -0.25, 0]).double()
    )
    torch.testing.assert_close(
        beyond_polytopes.summed_powers(result, 2), torch.tensor([1, 0.5, 0]).double()
    )
    assert beyond_polytopes.antipodal(result).tolist() == [1, 0, 0]


def test_figure():
    result, table = sweep(SWEEP), periodic_table.table()
    saved, skew, *histograms = drawn(beyond_polytopes.figure, result, result, table).axes
    labels = saved.get_legend_handles_labels()[1]
    assert set(ARRANGEMENTS) < set(labels)
    cubes = skew.get_lines()[0].get_ydata()
    assert cubes == pytest.approx(beyond_polytopes.summed_powers(result, 3).numpy())
    assert len(histograms) == len(beyond_polytopes.SHOWN)
