"""Run the examples of README.md and docs/*.md and write what they print into the documents.

    python docs/run_examples.py                  # all files
    python docs/run_examples.py docs/guide.md

The ```python blocks of a file share one namespace, in order; a ```text block that directly follows one
holds its output and is rewritten. In a ```console block the lines after ``$`` are run by the shell, each
followed by its output. `git diff` then tells whether any documented output has changed. A block that
fails stops the run.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?"
CONSOLE = r"```console\n(?P<session>.*?)```\n"
BLOCK = re.compile(f"{PYTHON}|{CONSOLE}", re.S)


def tidy(text: str) -> str:
    """Output without trailing blanks."""
    return "\n".join(line.rstrip() for line in text.strip("\n").rstrip().splitlines())


def run_python(block: re.Match, names: dict[str, object], where: str, line: int) -> str:
    """The block with its output, if it shows one."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * line + block["code"], where, "exec"), names)
    if block["output"] is None:
        return block[0]
    return f"```python\n{block['code']}```\n\n```text\n{tidy(printed.getvalue())}\n```\n"


def run_console(block: re.Match, where: str, line: int) -> str:
    """The commands, each with what it printed."""
    shown = []
    for command in re.findall(r"^\$ (.*(?:\\\n.*)*)$", block["session"], re.M):
        ours = re.sub(r"^remlblup\b", f"{sys.executable} -m remlblup.cli", command)
        done = subprocess.run(ours, shell=True, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{where}, block at line {line}: exit code {done.returncode} of {command}\n{done.stderr}")
        shown.append(f"$ {command}\n{tidy(done.stdout)}".rstrip())
    return "```console\n" + "\n".join(shown) + "\n```\n"


def refresh(path: Path) -> int:
    """Run the blocks of one file in an empty folder; returns how many there were."""
    text = path.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}

    def run(block: re.Match) -> str:
        line = text[: block.start()].count("\n") + 1
        if block["session"] is not None:
            return run_console(block, path.name, line)
        return run_python(block, names, str(path), line)

    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            new, count = BLOCK.subn(run, text)
        finally:
            os.chdir(before)
    path.write_text(new, encoding="utf-8")
    return count


def main() -> None:
    """Refresh the files named on the command line, or all of them."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    import numpy as np
    import pandas as pd

    pd.set_option("display.width", 110, "display.max_columns", 30)
    np.set_printoptions(precision=4, suppress=True, linewidth=110)
    files = [Path(a).resolve() for a in sys.argv[1:]] or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for path in files:
        print(f"{path.name}: {refresh(path)} blocks")


if __name__ == "__main__":
    main()
