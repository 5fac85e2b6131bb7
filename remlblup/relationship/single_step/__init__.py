"""Pedigree and genomic relationships in one matrix."""
