"""Section 7 of the paper: superposition in a privileged basis."""
