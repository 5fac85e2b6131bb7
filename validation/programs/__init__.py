"""Stored output of other programs, each as the program wrote it: read by the readers, judged by `rb.crosscheck`.

A folder of ``validation/stored`` is a case: ``case.toml`` says which model it is and what is known of each output, the
files beside it are the outputs and the scripts that made them.
"""
