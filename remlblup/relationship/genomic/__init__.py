"""Genotypes, and relationships made of them."""
