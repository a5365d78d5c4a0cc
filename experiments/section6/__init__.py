"""Section 6 of the paper: relationship to adversarial robustness."""
