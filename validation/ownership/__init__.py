"""Ctrl-C, threads and forks at random moments of fits of a large sparse model, each with a refit to the last digit."""
