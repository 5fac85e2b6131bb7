"""Speed of remlblup beside other programs, on the same data and the same answer.

``python -m remlblup.validation.benchmarks`` runs what is installed and prints a table; see `README.md` here.
"""
