"""Variations of the paper's models: what people ask of them, answered with numbers."""
