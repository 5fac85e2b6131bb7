"""A model as input for other programs: what it says, and a file for each program that says it again."""
