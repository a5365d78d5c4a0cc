"""Section 2 of the paper: demonstrating superposition."""
