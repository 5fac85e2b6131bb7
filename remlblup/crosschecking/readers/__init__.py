"""Output of other programs as plain data: a file for each program, and one that knows which is which."""
