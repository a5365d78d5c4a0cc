"""Section 4 of the paper: the geometry of superposition."""
