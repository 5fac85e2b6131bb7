"""Random inputs of every kind: each ends in a right answer or in a `RemlBlupError` that says what is wrong.

An input is a small Python script (`scripts` of each kind, drawn by hypothesis). It runs in a process of its own, where
another exception, a warning that is not ours, a wrong answer by the `oracles`, the end of the process, or more than 30
seconds is a failure. A failure is printed as the script that shows it, as small as hypothesis can make it.

``python -m remlblup.validation.fuzz --minutes 30 [--seed 1] [--kinds models files …]``
"""
