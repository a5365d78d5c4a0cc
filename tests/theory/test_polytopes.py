"""Polytopes against known dimensionalities; factors of noisy products and of random weights."""

from math import cos, radians, sin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry import SAME_COSINE, dimensionality
from theory.polytopes import (
    POLYTOPES,
    Factor,
    arrangement_name,
    peaks,
    polytope_shares,
    tegum_factors,
)
from theory.vertices import square_antiprism, tricapped_prism

DIMENSIONALITIES = {
    "dedicated dimension": 1,
    "digon": 1 / 2,
    "triangle": 2 / 3,
    "tetrahedron": 3 / 4,
    "4-simplex": 4 / 5,
    "5-simplex": 5 / 6,
    "6-simplex": 6 / 7,
    "7-simplex": 7 / 8,
    "8-simplex": 8 / 9,
    "pentagon": 2 / 5,
    "hexagon": 2 / 6,
    "heptagon": 2 / 7,
    "octagon": 2 / 8,
    "square antiprism": 3 / 8,
    "cube": 3 / 8,
    "4-diplosimplex": 4 / 10,
    "5-diplosimplex": 5 / 12,
    "icosahedron": 3 / 12,
    "rectified 4-simplex": 4 / 10,
    "3 tilted digons": 4 / 6,
    "4 tilted digons": 5 / 8,
    "2 tilted triangles": 5 / 6,
    "3 tilted triangles": 7 / 9,
    "4 tilted triangles": 9 / 12,
}

# One instance has two features 53 degrees apart and one with zero weights; the other has two
# dedicated dimensions.
W = torch.tensor([[[2.0, 0.3, 0.0], [0.0, 0.4, 0.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def plane(*degrees):
    """Return unit vectors (2, features) at these angles."""
    return torch.tensor([[cos(radians(d)) for d in degrees], [sin(radians(d)) for d in degrees]])


def names(W, **options):
    return [factor.polytope for factor in tegum_factors(W, **options)]


@pytest.mark.parametrize("name", POLYTOPES)
def test_dimensionality_of_polytopes(name):
    of_features = dimensionality(1.7 * POLYTOPES[name].vertices[None])[
        0
    ]  # the scale does not matter
    tolerance = (
        1e-3 if name == "square antiprism" else 1e-12
    )  # at the Thomson angle it is nearly tight
    assert (of_features - DIMENSIONALITIES[name]).abs().max() < tolerance


@pytest.mark.parametrize("name", POLYTOPES)
def test_polytopes_are_rigid_and_all_vertices_alike(name):
    vertices = POLYTOPES[name].vertices
    assert POLYTOPES[name].dimensionality == pytest.approx(DIMENSIONALITIES[name], abs=0)
    assert torch.linalg.matrix_rank(vertices) == len(vertices)
    rows = (vertices.mT @ vertices).sort(dim=1).values
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))
    assert rows[0, -1] == pytest.approx(1)


def test_polytopes_of_equal_size_differ_by_more_than_the_tolerance():
    spectra = [
        (p.vertices.shape, (p.vertices.mT @ p.vertices).flatten().sort().values)
        for p in POLYTOPES.values()
    ]
    for i, (shape, cosines) in enumerate(spectra):
        for other_shape, other in spectra[:i]:
            assert shape != other_shape or (cosines - other).abs().max() > 2 * SAME_COSINE


def test_tilted_digons():
    """Partners are 120 degrees apart, and features of different digons 75.5 degrees."""
    cosines = POLYTOPES["3 tilted digons"].vertices.mT @ POLYTOPES["3 tilted digons"].vertices
    expected = (
        torch.block_diag(*[torch.tensor([[0.75, -0.75], [-0.75, 0.75]], dtype=torch.float64)] * 3)
        + 0.25
    )
    torch.testing.assert_close(cosines, expected)


def test_square_antiprism_at_the_tight_angle_is_a_tight_frame():
    vertices = square_antiprism(54.7356103)
    torch.testing.assert_close(vertices @ vertices.mT, 8 / 3 * torch.eye(3, dtype=torch.float64))


# Tegum factors


@st.composite
def tegum_products(draw):
    """Draw W (hidden, features) of a noisy product in some rotation, and the factors in it."""
    chosen = draw(st.lists(st.sampled_from(list(POLYTOPES)), min_size=1, max_size=6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))

    def between(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    def gaussian(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    polytopes = [POLYTOPES[name].vertices for name in chosen]
    polytopes = [
        square_antiprism(between(54.7, 59.3, 1).item()) if name == "square antiprism" else vertices
        for name, vertices in zip(chosen, polytopes)
    ]
    scaled = [v * between(0.7, 3, 1) * between(0.8, 1.2, v.shape[1]) for v in polytopes]
    product = torch.block_diag(*scaled)
    hidden = len(product) + draw(st.integers(0, 3))
    rotation = torch.linalg.qr(gaussian(hidden, hidden)).Q[:, : len(product)]
    represented = rotation @ product
    represented += 0.01 * represented.norm(dim=0) * gaussian(*represented.shape)
    weak = gaussian(hidden, draw(st.integers(0, 4)))
    weak *= between(0, 0.5, weak.shape[1]) / weak.norm(dim=0)
    W = torch.cat((represented, weak, torch.zeros(hidden, draw(st.integers(0, 4)))), dim=1)

    order = torch.randperm(W.shape[1], generator=generator)
    places = iter(order.argsort().tolist())
    members = [tuple(sorted(next(places) for _ in range(v.shape[1]))) for v in polytopes]
    W = W[:, order]
    factors = [
        Factor(m, len(v), lone_name(W, m[0]) if len(m) == 1 else name)
        for m, v, name in zip(members, polytopes, chosen)
    ]
    return W.float(), sorted(factors)


def lone_name(W, feature):
    """Name the dimension of a lone feature by the share that all others have of it."""
    others = torch.cat((W[:, :feature], W[:, feature + 1 :]), dim=1)
    taken = (W[:, feature] @ others).square().sum() / W[:, feature].square().sum().square()
    return "dedicated dimension" if 1 / (1 + taken) >= 0.9 else "shared dimension"


@settings(max_examples=2000, deadline=None, derandomize=True, database=None)
@given(tegum_products())
def test_products_of_polytopes_are_named_without_a_miss(product):
    W, factors = product
    assert tegum_factors(W) == factors


def test_exact_products_fall_into_their_factors():
    vertices = {name: polytope.vertices for name, polytope in POLYTOPES.items()}
    assert names(plane(0, 90, 180, 270)) == ["digon"] * 2
    assert names(torch.cat((torch.eye(3), -torch.eye(3)), dim=1)) == ["digon"] * 3  # octahedron
    bipyramid = torch.block_diag(vertices["pentagon"], vertices["digon"])
    assert tegum_factors(bipyramid) == [
        Factor((0, 1, 2, 3, 4), 2, "pentagon"),
        Factor((5, 6), 1, "digon"),
    ]
    everything = torch.block_diag(*vertices.values())
    assert names(everything) == list(POLYTOPES)


def test_features_below_the_norm_are_left_out():
    assert tegum_factors(torch.zeros(3, 4)) == []
    assert tegum_factors(torch.tensor([[1.0, -2.0, 3.0]])) == [
        Factor((0, 1, 2), 1, "irregular")
    ]  # all in one direction
    assert tegum_factors(0.5 * torch.eye(3)) == []
    assert tegum_factors(torch.diag(torch.tensor([0.4, 0.6]))) == [
        Factor((1,), 1, "dedicated dimension")
    ]
    assert names(torch.diag(torch.tensor([0.4, 0.0])), min_norm=0) == ["dedicated dimension"]
    assert names(0.4 * POLYTOPES["pentagon"].vertices, min_norm=0.3) == ["pentagon"]


def test_a_lone_feature_has_a_dedicated_dimension_only_if_no_weak_features_share_it():
    """30 features of norm 0.12 take 30 % of the dimension of a feature of norm 1."""
    assert names(torch.tensor([[1.0] + [0.12] * 30])) == ["shared dimension"]
    # A dimensionality of 0.9 is the least: the squared weights of the weak features sum to 1/9.
    for total, expected in ((0.11, "dedicated dimension"), (0.112, "shared dimension")):
        weak = torch.full((1, 30), (total / 30) ** 0.5)
        assert names(torch.cat((torch.ones(1, 1), weak), dim=1)) == [expected]
    # Weak features in other dimensions take nothing away.
    assert names(torch.block_diag(torch.ones(1, 1), torch.full((1, 30), 0.2))) == [
        "dedicated dimension"
    ]


def test_how_far_a_polytope_may_be_bent():
    assert names(plane(0, 155)) == ["digon"]
    assert names(plane(0, 150)) == ["irregular"]
    assert names(plane(5, 72, 144, 216, 288)) == ["pentagon"]
    assert names(plane(8, 72, 144, 216, 288)) == ["irregular"]
    # The same cosines, dealt differently to the features: five in a plane, but no pentagon.
    assert names(plane(0, 72, 144, 216, 216)) == ["irregular"]


@pytest.mark.parametrize(
    "coupling, expected", [(0.15, ["pentagon", "digon"]), (0.25, ["irregular"])]
)
def test_a_stray_coupling_does_not_glue_two_factors(coupling, expected):
    product = torch.block_diag(POLYTOPES["pentagon"].vertices, POLYTOPES["digon"].vertices)
    product[:, 5:] *= (1 - coupling**2) ** 0.5
    product[0, 5], product[0, 6] = coupling, -coupling  # the digon leans towards feature 0
    assert names(product) == expected


def test_digons_squeezed_into_too_few_dimensions_are_not_split():
    # Seven digons in six dimensions: no coupling is above 1/6, but every digon has twelve of them.
    simplex = POLYTOPES["6-simplex"].vertices
    assert tegum_factors(torch.cat((simplex, -simplex), dim=1)) == [
        Factor(tuple(range(14)), 6, "irregular")
    ]


@pytest.mark.parametrize("name", [name for name, p in POLYTOPES.items() if p.vertices.shape[1] > 2])
def test_random_features_are_not_called_a_polytope(name):
    # In 20,000 draws a triangle came up in 0.2 % and every other polytope never. (Two vectors in a
    # plane are a digon in 14 %.)
    generator = torch.Generator().manual_seed(0)
    shape = POLYTOPES[name].vertices.shape
    draws = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(1000)]
    false = sum(name in names(W, min_norm=0) for W in draws)
    assert false <= (6 if name == "triangle" else 0)


@pytest.mark.parametrize("hidden, features", [(2, 5), (5, 12), (10, 24), (30, 75)])
def test_random_models_are_irregular(hidden, features):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        W = torch.randn(hidden, features, generator=generator)
        assert names(W / W.norm(dim=0)) == ["irregular"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "bad, match",
    [
        ({"W": W}, r"W: expected a tensor \(hidden, features\), got torch.Size\(\[2, 2, 3\]\)"),
        ({"W": [[1.0]]}, r"W: expected a tensor \(hidden, features\), got \[\[1.0\]\]"),
        (
            {"W": torch.eye(2, dtype=torch.int64)},
            "W: expected floating-point weights, got torch.int64",
        ),
        (
            {"W": torch.eye(2, dtype=torch.complex128)},
            "W: expected floating-point weights, got torch.complex128",
        ),
        ({"W": torch.full((2, 3), torch.nan)}, "W: expected finite weights, got 6 that are not"),
        ({"W": W[0], "min_norm": -0.1}, "min_norm: expected a finite number >= 0, got -0.1"),
        ({"W": W[0], "min_norm": float("nan")}, "min_norm: expected a finite number >= 0, got nan"),
        ({"W": W[0], "min_norm": float("inf")}, "min_norm: expected a finite number >= 0, got inf"),
    ],
)
def test_tegum_factors_refuses_bad_input(bad, match):
    with pytest.raises(ValueError, match=match):
        tegum_factors(**bad)


def test_peaks_are_made_of_their_polytope():
    """There are six digons, a triangle, and irregular features at and beside their levels."""
    digons, triangle = [POLYTOPES["digon"].vertices] * 6, POLYTOPES["triangle"].vertices
    W = torch.block_diag(*digons, triangle)
    assert peaks(W[None]) == pytest.approx(
        {
            "tetrahedron": 0,
            "triangle": 3 / 15,
            "digon": 12 / 15,
            "pentagon": 0,
            "square antiprism": 0,
        }
    )
    dedicated = torch.eye(4, dtype=W.dtype)
    assert set(peaks(dedicated[None]).values()) == {0}
    pair = torch.tensor(
        [[1, 0.5**0.5], [0, 0.5**0.5]], dtype=W.dtype
    )  # 45 degrees apart: 2/3, but no triangle
    assert peaks(torch.block_diag(*[pair] * 3)[None])["triangle"] == 0


def test_no_peak_where_the_polytope_is_off_its_level():
    """Tetrahedra whose vertices differ in length are named, but have dimensionalities off 3/4."""
    W = POLYTOPES["tetrahedron"].vertices * torch.tensor([1.3, 1.3, 1, 1], dtype=torch.float64)
    assert [factor.polytope for factor in tegum_factors(W)] == ["tetrahedron"]
    assert peaks(W[None])["tetrahedron"] == 0


@pytest.mark.parametrize("pairs, share", [(0, 1), (2, 8 / 12), (3, 0)])
def test_a_peak_stands_out_from_either_side(pairs, share):
    """Digon features at 1/2 lie beside pairs at 0.515, which is 1/(1+c^2) at their cosine c."""
    cosine = (1 / 0.515 - 1) ** 0.5
    pair = torch.tensor([[1, cosine], [0, (1 - cosine**2) ** 0.5]], dtype=torch.float64)
    W = torch.block_diag(*[POLYTOPES["digon"].vertices] * 4, *[pair] * pairs)
    assert peaks(W[None])["digon"] == pytest.approx(share)


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_peaks(seed):
    W = torch.randn(40, 10, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert set(peaks(W / 10**0.5).values()) == {0}


def test_polytope_shares_count_features():
    product = torch.block_diag(
        *[POLYTOPES[name].vertices for name in ("triangle", "digon", "triangle")]
    )
    assert polytope_shares(tegum_factors(product)) == {"triangle": 6 / 8, "digon": 2 / 8}
    assert polytope_shares([]) == {}


def test_tegum_factors_leaves_its_input():
    batch = W.clone().requires_grad_()
    for instance in batch:
        tegum_factors(instance)
    assert torch.equal(batch, W)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_factors_are_named_in_any_precision(dtype):
    vertices = {name: polytope.vertices.to(dtype) for name, polytope in POLYTOPES.items()}
    assert names(torch.block_diag(*vertices.values())) == list(POLYTOPES)


def test_features_in_one_direction_stay_together():
    """Rounding of the cosines of collapsed sets parts no feature from itself."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        line = torch.randn(3, 1, generator=generator, dtype=torch.float64)
        lengths = torch.rand(1, 6, generator=generator, dtype=torch.float64) + 0.6
        same = line / line.norm() * lengths
        assert tegum_factors(same) == [Factor(tuple(range(6)), 1, "irregular")]
        assert tegum_factors(same * torch.tensor([1, 1, 1, -1, -1, -1])) == [
            Factor(tuple(range(6)), 1, "irregular")
        ]


def test_names_of_arrangements():
    digon, triangle = (POLYTOPES[name].vertices for name in ("digon", "triangle"))
    cases = {
        "triangle + 2 × digon": torch.block_diag(triangle, digon, digon),
        "digon + 2 × dedicated": torch.block_diag(digon, torch.eye(2)),
        "pentagon": POLYTOPES["pentagon"].vertices,
        "dedicated": torch.tensor([[1, -0.3]]),
        "shared": torch.tensor([[1, -0.4]]),
        "digon + dedicated + shared": torch.block_diag(
            digon, torch.eye(1), torch.tensor([[1, -0.4]])
        ),
        "pyramid over 2 × digon": torch.tensor(
            [[1, -1, 0, 0, 0], [0, 0, 1, -1, 0], [-0.5, -0.5, -0.5, -0.5, 1]]
        ),
        "tricapped trigonal prism": tricapped_prism(),
        "9 in 3": torch.nn.functional.normalize(
            torch.randn(3, 9, generator=torch.manual_seed(0)), dim=0
        ),
        "4 in 2": torch.tensor([[1, 0.8, -1, 0.1], [0, 0.6, 0.2, -1]]),
    }
    for expected, W in cases.items():
        assert arrangement_name(W.double()) == expected
