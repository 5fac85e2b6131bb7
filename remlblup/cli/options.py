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
    (r"given in relationships=", "given by --pedigree A=FILE or its kind"),
    (r"Say which: (id|sire|dam)='.*?'\.", "Say which: --pedigree-columns ID,SIRE,DAM."),
    (r"pass hermaphrodites=True", "give --hermaphrodites"),
    (r"Build it with scipy\.sparse.*", "Give all entries as level, level, value."),
    (r"unknown_parents=\[?'(\w+)'\]?", r"--unknown-parents \1"),
    (r"unknown_parents=", "--unknown-parents "),
    (r"constrain=False", "--no-constrain"),
    (r"missing='(\w+)'", r"--missing \1"),
    (r"Read the column as text, dtype=str.*", "Write the file anew with these numbers as text, without an exponent."),
    (r" \(\.str\.upper\(\), or dtype=str when reading a file\)", ""),
    (r"Read it with pandas and give the frame\.", "Give its separator with --sep."),
    (r"with NAME a key of relationships=\.", "with the NAME of --pedigree NAME=FILE or its kind."),
    (r"\(pandas\.to_numeric\(…, errors='coerce'\)\), ", ""),
    (r" Convert it, e\.g\. pandas\.to_numeric\.", " Write numbers in the file, and leave it out of --factor."),
    (r"give numeric values, or a pandas Categorical.*?\)\.", "give numeric values."),
    (r"Bend it: Relationship\(K, labels, bend=0\.001\) raises.*?; or blend it", "Blend it"),
    (r"bend it \(bend=0\.001\) or blend it", "blend it"),
    (r", and what rb\.register_function adds", ""),
    (r" \(given as (id|sire|dam)=\)", " (of --pedigree-columns)"),
    (r"leave it out of groups=", "leave it out of --groups"),
    (r"as in \{'(.+?)': 1\.0, .*?\}", r'as in "\1=1.0"'),
    (r"\b(engine|device|method|algorithm)='(\w+)'", r"--\1 \2"),
    (r"\b(tolerance|residual|probes|seed)=(?=['\d-])", r"--\1 "),
    (r"\b(engine|device|method|algorithm|probes|seed|checkpoint)=(?=[ .,:])", r"--\1"),
    (r"\b(weights|start|fix)(=|:)(?= |\.)", r"--\1\2"),
    (r"(--\w+)=(?=[ .])", r"\1"),
    (r"^variances\b", "--variances"),
)


# Rows of a table as the library lists them, labels that count from 0; what cannot be estimated is no row of the data.
NUMBERS = r"(\d+(?:, \d+)*)( and \d+ more)?"
ROWS = re.compile(rf"(?<!these data: )\brow(?:\(s\) {NUMBERS}| {NUMBERS}, counting from 0)")
VERSIONS = re.compile(r"the rows \(counting from 0\) say (row \d+: .*?)(?= \(sire x dam\))")


def in_lines(message: str) -> str:
    """A message with the lines of the file for rows of the table made from it."""

    def lines(found: re.Match[str]) -> str:
        numbers, more = next(pair for pair in (found.groups()[:2], found.groups()[2:]) if pair[0])
        own = ", ".join(str(int(n) + 2) for n in numbers.split(", "))
        return f"line(s) {own}{more or ''} (the header is line 1, empty lines not counted)"

    def versions(found: re.Match[str]) -> str:
        own = re.sub(r"\brow (\d+):", lambda n: f"line {int(n[1]) + 2}:", found[1])
        return f"the lines (the header is line 1) say {own}"

    return VERSIONS.sub(versions, ROWS.sub(lines, message)).replace("((the", "(the")


def in_options(message: str) -> str:
    """A message with the options of the command line for the arguments of the library, and lines of files for rows."""
    for pattern, option in OPTIONS:
        message = re.sub(pattern, option, message)
    return in_lines(message)
