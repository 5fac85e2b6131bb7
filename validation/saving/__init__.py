"""Saved fits damaged in many ways, and processes killed while they save.

Run it as ``python -m remlblup.validation.saving``: 500 damaged folders give the same fit or a `StoreError`, and none
another fit; after each of 20 kills the folder holds the older fit or the newer one, whole.
"""
