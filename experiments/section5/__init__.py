"""Section 5 of the paper: superposition and learning dynamics."""
