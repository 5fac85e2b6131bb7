"""Results: estimates, tables, predictions."""
