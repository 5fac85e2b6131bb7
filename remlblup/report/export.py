"""The summary of a fit in Markdown and in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from remlblup.report.text import Table

Facts = Sequence[tuple[str, str]]
# Signs of the tables that LaTeX sets in mathematics; letters of other alphabets need a font that has them.
SIGNS = {
    "½": r"$\frac12$",
    "−": "$-$",
    "√": r"$\surd$",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "ℓ": r"$\ell$",
    "θ": r"$\theta$",
    "⁻¹": "$^{-1}$",
    "→": r"$\to$",
    "≥": r"$\ge$",
    "≤": r"$\le$",
}
RAW = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{c: "\\" + c for c in "&%$#_{}"},
}
MINUS = r"(?<![\w.)-])-(?=\d)"  # a hyphen before a number
SPECIAL = re.compile("|".join([MINUS, *map(re.escape, (*RAW, *SIGNS))]))


# -- Markdown --------------------------------------------------------------------------------


def markdown(title: str, facts: Facts, tables: Sequence[Table]) -> str:
    """Headings and pipe tables."""
    blocks = [f"## {marked(title)}", piped(("", ""), [(f"**{marked(n)}**" if n else "", marked(t)) for n, t in facts])]
    for table in tables:
        if table.title:
            blocks.append(f"### {marked(table.title)}")
        rows = [
            (marked(row[0]), *[""] * (len(table.header) - 1)) if short(row, table) else tuple(map(marked, row))
            for row in table.rows
        ]
        blocks.append(
            piped(tuple(map(marked, table.header)), rows, [table.is_text(k) for k in range(len(table.header))])
        )
        if table.note:
            blocks.append(marked(table.note))
    return "\n\n".join(blocks) + "\n"


def piped(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool] | None = None) -> str:
    """A table between pipes; columns of numbers to the right."""
    rule = ["---" if left is None or own else "---:" for own in (left or [True] * len(header))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows))


def marked(text: str) -> str:
    """Text in which nothing is a mark of Markdown or a tag."""
    text = re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# -- LaTeX -----------------------------------------------------------------------------------


def latex(title: str, facts: Facts, tables: Sequence[Table]) -> str:
    """A tabular of the facts, and a table with a caption for each table."""
    lines = [rf"\textbf{{{escaped(n)}}} & {escaped(t)} \\" for n, t in facts]
    head = ["% needs \\usepackage{booktabs}", rf"\paragraph{{{escaped(title)}}}"]
    head += ["", r"\noindent\begin{tabular}{@{}lp{0.75\linewidth}@{}}", *lines, r"\end{tabular}"]
    return "\n".join(head) + "\n\n" + "\n".join(map(latex_table, tables))


def latex_table(table: Table) -> str:
    """One table by pandas, its cells escaped here: pandas knows no signs."""
    k = len(table.header)
    frame = pd.DataFrame(
        [[escaped(row[0]), *[""] * (k - 1)] if short(row, table) else list(map(escaped, row)) for row in table.rows],
        columns=list(map(escaped, table.header)),
    )
    style = frame.style.hide(axis="index")
    text = style.to_latex(
        hrules=True,
        caption=escaped(table.title) or None,
        column_format="".join("l" if table.is_text(j) else "r" for j in range(k)),
        position_float="centering",
    )
    note = rf"\par\smallskip {{\footnotesize {escaped(table.note)}}}" + "\n" if table.note else ""
    return text.replace(r"\end{table}", note + r"\end{table}")


def escaped(text: str) -> str:
    """Text in which nothing is a command of LaTeX; a hyphen before a number is a minus sign."""
    return SPECIAL.sub(lambda m: RAW.get(m[0]) or SIGNS.get(m[0]) or "$-$", " ".join(text.split()))


def short(row: Sequence[str], table: Table) -> bool:
    """Whether a row is a heading of those below it."""
    return len(row) < len(table.header)
