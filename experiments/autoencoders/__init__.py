"""Sparse autoencoders on toy models."""
