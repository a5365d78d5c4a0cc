"""Section 3 of the paper: superposition as a phase change."""
