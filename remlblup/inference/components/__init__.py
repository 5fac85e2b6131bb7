"""Profiles, intervals and surfaces of variance parameters, heritability of trials."""
