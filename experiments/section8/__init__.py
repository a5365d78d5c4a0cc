"""Section 8 of the paper: computation in superposition."""
