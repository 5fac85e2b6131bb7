"""`read_results`: the program is recognised from what stands in the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from remlblup.crosschecking.readers import airemlf90, asreml, csv_tables, dmu, genetics, r_print
from remlblup.crosschecking.readers.text import Lines
from remlblup.crosschecking.results import Results
from remlblup.errors import OptionError, ReaderError, choose
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import within_memory


@dataclass(frozen=True)
class Form:
    """One form of output.

    Attributes
    ----------
    program : its name for `program=`
    what : in words
    mark : what a line of such a file looks like, and no line of another
    read : from its lines to `Results`
    """

    program: str
    what: str
    mark: str
    read: Callable[[Lines], Results]


#: In the order in which they are looked for.
FORMS = (
    Form("gemma", "GEMMA log", genetics.GEMMA, genetics.read_gemma),
    Form("asreml", "ASReml-R summary(fit)$varcomp", asreml.VARCOMP, asreml.read_varcomp),
    Form("asreml", "ASReml .sln", asreml.SLN, asreml.read_sln),
    Form("asreml", "ASReml .asr", asreml.ASR, asreml.read_asr),
    Form("blupf90", "BLUPF90 solutions", airemlf90.SOLUTIONS, airemlf90.read_solutions),
    Form("blupf90", "AIREMLF90, REMLF90 or BLUPF90+ log", airemlf90.LOG, airemlf90.read_log),
    Form("wombat", "WOMBAT SumEstimates.out", genetics.WOMBAT, genetics.read_wombat),
    Form("gcta", "GCTA .hsq", genetics.GCTA, genetics.read_gcta),
    Form("lme4", "summary of lme4", r_print.LME4, r_print.read_lme4),
    Form("nlme", "summary of nlme", r_print.NLME, r_print.read_nlme),
    Form("nlme", "VarCorr of nlme", r_print.NLME_VARCORR, r_print.read_nlme_varcorr),
    Form("sommer", "summary of sommer", r_print.SOMMER, r_print.read_sommer),
    Form("mcmcglmm", "summary of MCMCglmm", r_print.MCMC, r_print.read_mcmcglmm),
    Form("lme4", "as.data.frame(VarCorr(fit)) as CSV", csv_tables.LME4, csv_tables.read_varcorr),
    Form("lme4", "as.data.frame(ranef(fit)) as CSV", csv_tables.RANEF, csv_tables.read_ranef),
    Form("broom", "broom.mixed::tidy(fit) as CSV", csv_tables.BROOM, csv_tables.read_broom),
    Form("plain", "a table with columns term and estimate", csv_tables.PLAIN, csv_tables.read_plain),
    Form("dmu", "DMU listing", dmu.LISTING, dmu.read_listing),
    Form("dmu", "DMU PAROUT", dmu.PAROUT, dmu.read_parout),
    Form("dmu", "DMU PAROUT_STD", dmu.PAROUT_STD, dmu.read_parout_std),
)
PROGRAMS = tuple(dict.fromkeys(form.program for form in FORMS))


@known_arguments
@within_memory
def read_results(path: str | os.PathLike | Sequence[str | os.PathLike], program: str | None = None) -> Results:
    """Read what another program printed.

    Parameters
    ----------
    path : a file, or several of one fit, such as a log and the solutions
    program : by default recognised from the file; one of "asreml" (.asr, .sln, tables of ASReml-R), "blupf90" (logs of
        AIREMLF90, REMLF90, BLUPF90+, and solutions), "wombat" (SumEstimates.out), "gcta" (.hsq), "gemma" (.log.txt),
        "dmu" (PAROUT, with standard errors where PAROUT_STD is given beside it), "lme4", "nlme", "sommer", "mcmcglmm"
        (printed summaries; of lme4 also VarCorr and ranef as CSV),
        "broom" (CSV of broom.mixed), "plain": a CSV with the columns term and estimate, and perhaps quantity
        (component, fixed, random, loglik, method, program), effect, other (of a covariance), level, std_error

    Returns
    -------
    Results

    Raises
    ------
    ReaderError
        If the file is of no kind known, cut off or damaged: the line, and what was expected there.
    DataError
        If there is no such file.

    Examples
    --------
    >>> with open("theirs.csv", "w") as file:
    ...     _ = file.write("term,estimate\\nanimal,3.395\\nresidual,3.829\\n")
    >>> rb.read_results("theirs.csv")
    <results of the other program: 2 components>
    >>> rb.read_results(["airemlf90.log", "solutions"])  # doctest: +SKIP
    """
    if program is not None:
        choose("program", program, PROGRAMS)
    files = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not files:
        raise OptionError("path=[] names no file.")
    found = reduce(Results.joined, [_read(file, program) for file in files])
    if found.is_numbered:
        raise ReaderError(
            f"{found.path} numbers its parameters and does not say of what they are: give the file that does together"
            f" with it, as in read_results(['PAROUT', 'PAROUT_STD']).", str(found.path), 1, "PAROUT beside it"
        )  # fmt: skip
    return found


def _read(path: str | os.PathLike, program: str | None) -> Results:
    lines = Lines.of(path)
    if not lines.lines or not any(line.strip() for line in lines.lines):
        raise ReaderError(f"{path}, line 1: expected the output of a program, the file is empty.", str(path), 1)
    for form in FORMS:
        if program in (None, form.program) and lines.search(form.mark) is not None:
            return form.read(lines)
    known = [form for form in FORMS if program in (None, form.program)]
    expected = "; ".join(form.what for form in known)
    lines.fail(0, f"a line that is typical of one of these: {expected}")
