"""Coordinates near a singular covariance matrix."""
