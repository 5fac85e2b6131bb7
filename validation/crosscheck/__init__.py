"""Disagreements made on purpose: whether `rb.crosscheck` names the reason, and none where there is none."""
