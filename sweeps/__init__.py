"""Run the experiments of sections: cells, their files, the command line, claims and their tables.

Nothing here knows about superposition.
"""

from sweeps.claims import Claim, effect, number, ours
from sweeps.command_line import section_main
from sweeps.experiment import Experiment
from sweeps.running import sweep
from sweeps.tables import Shown

__all__ = ["Claim", "Experiment", "Shown", "effect", "number", "ours", "section_main", "sweep"]
