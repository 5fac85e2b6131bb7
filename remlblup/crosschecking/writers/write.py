"""`write_model`: the same model as input for another program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from remlblup.crosschecking.writers import asreml, blupf90, gcta, r_scripts, wombat
from remlblup.crosschecking.writers.plan import Plan, plan, refuse
from remlblup.errors import OptionError, StoreError, choose
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import within_memory
from remlblup.mixed_model import MixedModel
from remlblup.result import Fit

#: Program → its name in print, and its writer.
WRITERS: Mapping[str, tuple[str, Callable[[Plan], tuple[Mapping[str, str | bytes], list[str]]]]] = {
    "blupf90": ("BLUPF90", blupf90.write),
    "asreml": ("ASReml", asreml.write),
    "wombat": ("WOMBAT", wombat.write),
    "gcta": ("GCTA", gcta.write),
    "lme4": ("lme4", r_scripts.write_lme4),
    "nlme": ("nlme", r_scripts.write_nlme),
    "sommer": ("sommer", r_scripts.write_sommer),
    "lmmsolver": ("LMMsolver", r_scripts.write_lmmsolver),
}
NOTES = "notes.txt"
#: Programs that also maximise the likelihood itself.
BY_ML = ("lme4", "nlme")


@known_arguments
@within_memory
def write_model(model: MixedModel | Fit, program: str, folder: str | Path) -> Path:
    """Write the same model as input for another program.

    What stands in the files is the model as it is: relationships as inverses with inbreeding, missing values by their
    code, weights. What the program cannot express is refused; what its reader should know stands in ``notes.txt``.

    Parameters
    ----------
    model : MixedModel or Fit
        Of a fit the estimates are the start values, and its method is theirs; else equal parts of the variance of the
        response, and REML.
    program : {"blupf90", "asreml", "wombat", "gcta", "lme4", "nlme", "sommer", "lmmsolver"}
    folder : where to write; it is made if it is not there, and files of the same names are replaced

    Returns
    -------
    Path of the folder.

    Raises
    ------
    ModelError
        For what the program cannot express, by name.
    StoreError
        If it cannot be written.

    Examples
    --------
    >>> folder = rb.write_model(model, "lme4", "for_lme4")
    >>> sorted(path.name for path in folder.iterdir())
    ['data.csv', 'model.R', 'notes.txt']
    """
    choose("program", program, WRITERS)
    name, writer = WRITERS[program]
    said = planned(model, name)
    if said.method == "ML" and program not in BY_ML:
        raise refuse(name, "estimates by ML", "it maximises the restricted likelihood alone; fit(method='REML') first")
    files, notes = writer(said)
    out = Path(folder)
    words = [f"Input for {name}, written by remlblup.", *(f"- {note}" for note in notes)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, content in {**files, NOTES: "\n".join(words) + "\n"}.items():
            if isinstance(content, bytes):
                (out / file).write_bytes(content)
            else:
                (out / file).write_text(content, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}.") from None
    return out


def planned(model: Any, program: str) -> Plan:
    """What a model or a fit says, in shared words."""
    if not isinstance(model, (MixedModel, Fit)):
        raise OptionError(f"model= must be a MixedModel or a Fit, not {type(model).__name__}.")
    if isinstance(model, Fit):
        return replace(plan(model.specification, model.theta, program), method=model.method)
    return plan(model.specification, None, program)
