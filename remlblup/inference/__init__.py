"""What the paper says of the estimates: tests, means, intervals, replicates, comparisons of models."""
