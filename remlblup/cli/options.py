"""The messages of the library in the words of the command line."""

from __future__ import annotations

import re

# What the messages of the library call its arguments, and what they are called here.
OPTIONS = (
    (
        r"pass relationships=\{'(\w+)': [^}]*\}",
        r"give --pedigree \1=FILE, --genotypes \1=FILE or --relationship \1=FILE",
    ),
    (
        r"Name three different ones: id=\.\.\., sire=\.\.\., dam=\.+",
        "Give --pedigree-columns ID,SIRE,DAM, or rename them.",
    ),
    (r"Say which: (id|sire|dam)='.*?'\.", "Say which: --pedigree-columns ID,SIRE,DAM."),
    (r"pass hermaphrodites=True", "give --hermaphrodites"),
    (r"Build it with scipy\.sparse.*", "Give all entries as level, level, value."),
    (r"unknown_parents=\[?'(\w+)'\]?", r"--unknown-parents \1"),
    (r"unknown_parents=", "--unknown-parents "),
    (r"constrain=False", "--no-constrain"),
    (r"missing='(\w+)'", r"--missing \1"),
    (r"Read it with pandas and give the frame\.", "Give its separator with --sep."),
    (r"relationships= has ('\w+(?:', '\w+)*')", r"--pedigree, --genotypes or --relationship gives \1"),
    (r"\b(engine|device|method|algorithm)='(\w+)'", r"--\1 \2"),
    (r"\b(tolerance|residual|probes|seed)=(?=['\d-])", r"--\1 "),
    (r"\b(engine|device|method|algorithm|probes|seed|checkpoint)=(?=[ .,:])", r"--\1"),
    (r"\b(weights|start|fix)(=|:)(?= |\.)", r"--\1\2"),
    (r"(--\w+)=(?=[ .])", r"\1"),
    (r"^variances\b", "--variances"),
)


def in_options(message: str) -> str:
    """A message with the options of the command line for the arguments of the library."""
    for pattern, option in OPTIONS:
        message = re.sub(pattern, option, message)
    return message
