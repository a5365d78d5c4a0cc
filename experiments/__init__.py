"""The experiments: a folder for each section of the paper, and in it a file for each question."""
