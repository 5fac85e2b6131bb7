"""Run the examples of README.md and docs/**/*.md and write what they print into the documents.

    python docs/run_examples.py                  # all files
    python docs/run_examples.py docs/guide.md
    python docs/run_examples.py --check README.md   # compare only: exit code 1 where they print something else

The ```python blocks of a file share one namespace, in order; a ```text block that directly follows one
holds its output and is rewritten. In a ```console block the lines after ``$`` are run by the shell, each
followed by its output. `git diff` then tells whether any documented output has changed. A block that
fails stops the run. A file that begins with ``<!-- data: a.csv, b.csv -->`` reads these from the folder `reference` of
other programs' data; where that is absent (see CONTRIBUTING.md) it is left as it is.

The build of the site (conf.py) runs them in the same way, with their figures, and warns of output that has changed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?"
CONSOLE = r"```console\n(?P<session>.*?)```\n"
BLOCK = re.compile(f"{PYTHON}|{CONSOLE}", re.S)
DATA = re.compile(r"\A(?:#[^\n]*\n+)?<!-- data: (?P<names>.*?) -->")
NUMBER = re.compile(r"[-+−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
# Numbers alike to this are the same on another processor, and so are two that are zero but for rounding.
ALIKE, NOTHING = 2e-3, 1e-6


def tidy(text: str) -> str:
    """Output without trailing blanks."""
    return "\n".join(line.rstrip() for line in text.strip("\n").rstrip().splitlines())


def alike(one: str, other: str) -> bool:
    """Whether two outputs say the same: the same words, numbers to three digits, however many iterations it took."""
    one, other = (re.sub(r"after \d+ iterations?", "after some iterations", text) for text in (one, other))
    if NUMBER.sub("#", one).split() != NUMBER.sub("#", other).split():
        return False
    pairs = zip(numbers(one), numbers(other), strict=True)
    return all(abs(a - b) <= ALIKE * max(abs(a), abs(b)) or max(abs(a), abs(b)) < NOTHING for a, b in pairs)


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "").replace("−", "-")) for found in NUMBER.findall(text)]


class Document:
    """The examples of one file.

    Parameters
    ----------
    path : the file
    figures : where to put the figures that examples draw, each below its block; None for nowhere

    Attributes
    ----------
    changed : (line, output) of the blocks that print something else than the file says
    count : blocks run
    """

    def __init__(self, path: Path, figures: Path | None = None):
        self.path, self.figures = path, figures
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.changed: list[tuple[int, str]] = []
        self.count = self.drawn = 0

    def fresh(self, text: str) -> str:
        """`text` with the output of its blocks as they print it, run in an empty folder."""
        if (needed := DATA.search(text)) is not None and not self.find(needed["names"].split(",")):
            return text
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("default")
            os.chdir(folder)
            try:
                return BLOCK.sub(lambda block: self.run(block, text[: block.start()].count("\n") + 1), text)
            finally:
                os.chdir(before)

    def find(self, names: list[str]) -> bool:
        """Whether the reference data are there; the examples know their folder as `reference`."""
        given = os.environ.get("REMLBLUP_REFERENCE")
        folder = Path(given) if given else ROOT.parent / "shared" / "reference"
        self.names["reference"] = folder
        return all((folder / name.strip()).exists() for name in names)

    def run(self, block: re.Match, line: int) -> str:
        """A block with its output, if it shows one."""
        self.count += 1
        if block["session"] is not None:
            return self.compared(line, block["session"], self.console(block["session"], line), "console")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + block["code"], str(self.path), "exec"), self.names)
        shown = f"```python\n{block['code']}```\n"
        if block["output"] is not None:
            shown += "\n" + self.compared(line, block["output"], tidy(printed.getvalue()), "text")
        return shown + self.pictures()

    def compared(self, line: int, said: str, prints: str, kind: str) -> str:
        if not alike(said, prints):
            self.changed.append((line, prints))
        return f"```{kind}\n{prints}\n```\n"

    def console(self, session: str, line: int) -> str:
        """The commands, each with what it printed."""
        shown = []
        for command in re.findall(r"^\$ (.*(?:\\\n.*)*)$", session, re.M):
            ours = re.sub(r"^remlblup\b", f"{sys.executable} -m remlblup.cli", command)
            done = subprocess.run(ours, shell=True, capture_output=True, text=True, check=False)
            if done.returncode:
                where = f"{self.path.name}, block at line {line}"
                raise SystemExit(f"{where}: exit code {done.returncode} of {command}\n{done.stderr}")
            shown.append(f"$ {command}\n{tidy(done.stdout)}".rstrip())
        return "\n".join(shown)

    def pictures(self) -> str:
        """The figures that a block has drawn, closed."""
        if "matplotlib.pyplot" not in sys.modules:
            return ""
        import matplotlib.pyplot as plt

        shown = ""
        for number in plt.get_fignums() if self.figures is not None else ():
            assert self.figures is not None
            self.drawn += 1
            file = self.figures / f"{self.path.stem}-{self.drawn}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            figure = plt.figure(number)
            figure.savefig(file, dpi=120)
            said = next((text for ax in figure.axes for loc in ("left", "center") if (text := ax.get_title(loc))), "")
            shown += f"\n![{said or 'figure'}](/{file.relative_to(ROOT / 'docs').as_posix()})\n"
        plt.close("all")
        return shown


def as_documented() -> None:
    """The settings that the outputs were printed with."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    import numpy as np
    import pandas as pd

    pd.set_option("display.width", 110, "display.max_columns", 30)
    np.set_printoptions(precision=4, suppress=True, linewidth=110)


def documents() -> list[Path]:
    """All files with examples."""
    return [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if not p.name.startswith("_"))]


def main() -> None:
    """Refresh or check the files named on the command line, or all of them."""
    as_documented()
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    check = len(arguments) < len(sys.argv) - 1
    wrong = 0
    for path in [Path(a).resolve() for a in arguments] or documents():
        document = Document(path)
        new = document.fresh(path.read_text(encoding="utf-8"))
        print(f"{path.name}: {document.count} blocks")
        for line, prints in document.changed if check else ():
            wrong += 1
            print(f"{path}:{line} prints\n{prints}", file=sys.stderr)
        if not check:
            path.write_text(new, encoding="utf-8")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
