"""Theory: what is best, with nothing trained, behind the figures of Sections 3 to 5."""

from theory.arrangements import Arrangement, best_arrangement
from theory.boundary import Boundary, optimum_boundary
from theory.mean_field import mean_field_benefit
from theory.packing import PolytopeOptimum, polytope_optimum
from theory.phases import Optimum, optimum
from theory.polytopes import POLYTOPES, Factor, Polytope, tegum_factors

__all__ = [
    "POLYTOPES",
    "Arrangement",
    "Boundary",
    "Factor",
    "Optimum",
    "Polytope",
    "PolytopeOptimum",
    "best_arrangement",
    "mean_field_benefit",
    "optimum",
    "optimum_boundary",
    "polytope_optimum",
    "tegum_factors",
]
