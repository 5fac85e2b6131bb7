"""The sparse factor: order of elimination, pattern, fronts, selected inverse."""
