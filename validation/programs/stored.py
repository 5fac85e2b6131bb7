"""What is stored: cases, and the outputs of other programs in each."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from remlblup import Fit, MixedModel, Pedigree, datasets
from remlblup.errors import DataError, some
from remlblup.validation.compare import KINDS
from remlblup.validation.reference_cases import build
from remlblup.validation.reference_structures import NLME_ANSWERS, STRUCTURED_ANSWERS
from remlblup.validation.reference_table import DENSE_ANSWERS, LME4_ANSWERS, Stored

#: The folder of the cases, part of the package.
HOME = Path(__file__).resolve().parents[1] / "stored"
#: Who may be right.
WHO = ("ours", "theirs", "both")
#: A file of the reference folder, which is no part of the package.
REFERENCE = "reference:"


@dataclass(frozen=True)
class Output:
    """What one program found, and what is known of it.

    Attributes
    ----------
    name : within the case
    program : its name and version
    files : as it wrote them, read together; ``reference:`` before those of the reference folder
    peer : in place of files, how its name begins among the ``peers`` of the answer file
    terms : of a peer, our term of each of its components
    rename : their term or coefficient → ours, where names do not say it
    coefficients : a fixed effect of theirs that is listed among the random ones → our coefficients, by level
    made : how the files were made: the name of a writer of ``rb.write_model``, or a script of the folder
    digits : required, by kind
    verdict : how that of `rb.crosscheck` begins
    reason : the dull reason that is named
    shortfall : ℓ at ours less ℓ at theirs (of theirs in their own model, where a reason is named), as stored
    disagreement : where the estimates differ: who is right (ours, theirs, both), a colon, and why
    differs : kind → the same, where only this differs
    """

    name: str
    program: str
    files: tuple[str, ...] = ()
    peer: str = ""
    terms: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    coefficients: Mapping[str, list[str]] = field(default_factory=dict)
    made: str = ""
    digits: Mapping[str, float] = field(default_factory=dict)
    verdict: str = "they agree"
    reason: str | None = None
    shortfall: float | None = None
    disagreement: str = ""
    differs: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_reference(self) -> bool:
        """Whether it is in the reference folder alone."""
        return bool(self.peer) or any(f.startswith(REFERENCE) for f in self.files)


@dataclass(frozen=True)
class StoredCase:
    """One model, and what other programs found for it.

    Attributes
    ----------
    name : of its folder
    folder : where its files are
    title : what the data are
    source : of the data, and on what terms they are here
    outputs : of other programs
    data : a name of `DATA`
    formula, residual, method : the model
    fix : variances that are known
    answer : in place of these, the answer file of the reference folder whose model it is
    """

    name: str
    folder: Path
    title: str
    source: str
    outputs: tuple[Output, ...]
    data: str = ""
    formula: str = ""
    residual: str = "units"
    method: str = "REML"
    fix: Mapping[str, float] = field(default_factory=dict)
    answer: str = ""

    def model(self, reference: Path | None) -> MixedModel:
        """Ours."""
        if self.answer:
            assert reference is not None
            return build(reference, answer_of(self.answer))
        frame, pedigrees = DATA[self.data]() if self.data in DATA else (datasets.load(self.data), {})
        return MixedModel(self.formula, frame, pedigrees or None, self.residual)

    def fit(self, reference: Path | None) -> Fit:
        """Ours, fitted."""
        constrain = not self.answer or answer_of(self.answer).constrain
        options: dict[str, Any] = {"fix": dict(self.fix)} if self.fix else {}
        return self.model(reference).fit(self.method, constrain=constrain, progress=False, **options)

    def needs_reference(self, output: Output) -> bool:
        """Whether an output can be judged only where the reference folder is."""
        return bool(self.answer) or output.needs_reference


def _mrode() -> tuple[pd.DataFrame, dict[str, Pedigree]]:
    pedigree = Pedigree.from_frame(datasets.mrode_pedigree(), id="id", sire="sire", dam="dam")
    return datasets.load("mrode_weaning"), {"A": pedigree}


def _flock() -> tuple[pd.DataFrame, dict[str, Pedigree]]:
    flock = datasets.simulate_flock(300, seed=15)
    return flock.data, {"A": Pedigree.from_frame(flock.pedigree, id="id", sire="sire", dam="dam")}


#: Data with a pedigree; other names are those of `rb.datasets`.
DATA: Mapping[str, Callable[[], tuple[pd.DataFrame, dict[str, Pedigree]]]] = {"mrode": _mrode, "flock300": _flock}


def answer_of(name: str) -> Stored:
    """The model of an answer file, by the first spelling of it."""
    known = (*LME4_ANSWERS, *DENSE_ANSWERS, *STRUCTURED_ANSWERS, *NLME_ANSWERS)
    return next(s for s in known if s.answer == name)


def stored_cases(home: Path = HOME) -> list[StoredCase]:
    """Every case of the folder, by name."""
    return [read_case(path) for path in sorted(home.glob("*/case.toml"))]


def read_case(path: Path) -> StoredCase:
    """A case from its ``case.toml``.

    Raises
    ------
    DataError
        For an entry that means nothing or is not there, by file and name.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: {error}") from None
    outputs = tuple(
        _made(Output, entry, f"{path}, [[outputs]] {k}") for k, entry in enumerate(told.pop("outputs", []), 1)
    )
    case: StoredCase = _made(
        StoredCase, told | {"name": path.parent.name, "folder": path.parent, "outputs": outputs}, str(path)
    )
    if not outputs or bool(case.answer) == bool(case.formula):
        raise DataError(f"{path} needs [[outputs]], and either answer = or data = and formula =.")
    for output in outputs:
        for words in filter(None, (output.disagreement, *output.differs.values())):
            if words.split(":")[0] not in WHO:
                raise DataError(f"{path}, '{output.name}': a disagreement begins with {some(WHO)} and a colon: {words}")
        if unknown := [k for k in (*output.digits, *output.differs) if k not in KINDS]:
            raise DataError(f"{path}, '{output.name}': {some(unknown)}: known are {some(KINDS)}.")
    return case


def _made(kind: Any, entries: dict[str, Any], where: str) -> Any:
    names = {f.name for f in fields(kind)}
    if unknown := [k for k in entries if k not in names]:
        raise DataError(f"{where}: {some(unknown)} means nothing; known are {some(sorted(names), 20)}.")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise DataError(f"{where}: {error}.") from None
