"""Run the experiments of sections: cells, their files, the command line, claims and their tables.

Nothing here knows about superposition.
"""

from sweeps.claims import Claim, Shown
from sweeps.command_line import section_main
from sweeps.experiment import Experiment
from sweeps.running import sweep

__all__ = ["Claim", "Experiment", "Shown", "section_main", "sweep"]
