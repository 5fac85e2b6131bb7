"""Words of other programs in formulas and in residual=, and what is written here for them.

Whoever meets a word that is not known looks it up before saying so. What an answer quotes, ours, can be read as it
stands: a test reads all of them.
"""

from __future__ import annotations

from remlblup.structure.table import STRUCTURES

RELATED = "write the random term as '(1 | vm(id, A))', with A the pedigree or the matrix given in relationships="
LEVELS = "write '(1 | id)' for independent levels"
AT = (
    "write 'f:x' for a slope in each level of f, 'I(f == \"a\"):x' for one level alone; random effects of their own in"
    " each level are 'diag(f | id)', in one level alone '(0 + I(f == \"a\") | id)'"
)
DIAGONAL = "write 'diag(f | id)' for a variance in each level of f"
UNSTRUCTURED = "write 'us(f | id)'"
CORRELATED = "write 'corg(f | id)' with one variance, 'corgh(f | id)' with one for each level"
FACTORS = "write 'fa(f | id, k=1)'"
AUTOREGRESSIVE = (
    "write 'ar1(t | id)' with one variance, 'ar1h(t | id)' with one for each time; others than of the first order there"
    " are none, but 'toep(t | id)' and 'us(t | id)' hold them"
)
PLACES = (
    "write 'exp(row, col | 1)', or with a range for each coordinate 'exp(row, col | 1, metric=each)'; "
    "'gau', 'sph' and 'mat' alike"
)
SECTIONS = (
    "write residual='diag(f | units)' for a variance in each level of f, 'ar1(row):ar1(col) | f' for a field in each"
)
SUM = "write one effect of several columns as '(1 | id + pair)', or '(1 | vm(id, A) + vm(pair, A))'"
COLUMNS = "give the matrix of its columns to MixedModel.from_matrices, with Z=[…]"
STEP = "make the column first, in pandas"

WORDS: dict[str, str] = {
    # relationships: ASReml, sommer, brms, MCMCglmm, pedigreemm, glmmTMB
    **dict.fromkeys(("ped", "giv", "ginv", "grm", "animal", "gr", "nrm", "vsr", "vsc", "vs", "ic"), RELATED),
    "propto": "write '(1 | vm(id, A))', or known(f | id, matrix=A) for a known Σ times a variance",
    "equalto": "write 'id(f | vm(id, A))' with variances held by fix=",
    # independent levels
    "ide": f"{LEVELS}, beside '(1 | vm(id, A))' the permanent environment",
    **dict.fromkeys(("idv", "ism", "homdiag"), f"{LEVELS}, 'id(f | id)' for one variance in all levels of f"),
    "id": LEVELS,
    "fac": "write 'C(t)' for a factor in the fixed part; behind a bar every column is one",
    # covariance structures by other names
    **dict.fromkeys(("at", "atr", "atc", "atm"), AT),
    **dict.fromkeys(("idh", "dsr", "dsc", "dsm", "pdDiag", "vc"), DIAGONAL),
    **dict.fromkeys(("usr", "usc", "usm", "un", "unst", "unstr", "pdSymm", "chol", "uncor"), UNSTRUCTURED),
    **dict.fromkeys(("ante", "ante1", "antedependence"), f"{UNSTRUCTURED}, which holds antedependence"),
    **dict.fromkeys(("corgv", "corb", "corbv", "corbh", "unr"), CORRELATED),
    **dict.fromkeys(
        ("cor", "coru", "corv", "coruv", "csr", "csm", "csc", "homcs", "pdCompSymm", "corCompSymm"),
        "write 'cs(f | id)'",
    ),
    **dict.fromkeys(("coruh", "hcs"), "write 'csh(f | id)'"),
    **dict.fromkeys(("facv", "xfa", "fak"), FACTORS),
    **dict.fromkeys(("rrc", "rrm"), "write 'rr(f | id, k=1)'"),
    **dict.fromkeys(
        ("ar1v", "ar2", "ar2v", "ar3", "ar3v", "sar", "sar2", "ma1", "ma2", "arma", "hetar1", "corAR1", "corCAR1"),
        AUTOREGRESSIVE,
    ),
    **dict.fromkeys(("expv", "exph", "ou"), "write 'exp(x | id)'"),
    **dict.fromkeys(
        ("iexp", "aexp", "ieuc", "igau", "agau", "iexpv", "aexpv", "igauv", "agauv", "isp", "lvr", "cir", "ieucv"),
        PLACES,
    ),
    **dict.fromkeys(("mtrn", "mtrnv", "matern"), "write 'mat(row, col | 1)'"),
    # residuals
    **dict.fromkeys(("dsum", "varIdent"), SECTIONS),
    "varPower": "write residual='power(x)' beside the formula",
    # columns
    "and": SUM,
    "mm": SUM,
    "overlay": SUM,
    "gvs": "write 'us(vm(id, A) + vm(pair, A))' for effects of two factors with their covariance",
    "str": "write 'us(vm(id, A) + vm(pair, A))' for effects of two factors with their covariance",
    **dict.fromkeys(("grp", "group", "mbf"), COLUMNS),
    "lin": "write 'x' alone for the covariate itself",
    "pol": "write 'poly(x, 2)', in random effects 'us(leg(x, 1) | id)'",
    "dev": "write 'spl(x)', which has the deviations from the line in it",
    "SpATS": "write 'pspline(row, col)' for a smooth surface",
    "PSANOVA": "write 'pspline(row, col)' for a smooth surface",
    "con": "write 'C(f, contr.sum)'",
    **dict.fromkeys(("uni", "sub"), STEP),
}


FIELD = "write 'ar1(row):ar1(col)', which has its variance, with '+ units' for an independent part"
# Of residual=, where they differ from those above.
RESIDUALS: dict[str, str] = {
    **dict.fromkeys(("idv", "ism", "ide", "homdiag"), "write 'units'"),
    **dict.fromkeys(
        ("idh", "at", "atr", "dsr", "dsc", "dsm", "varIdent", "dsum", "sat"), SECTIONS.replace("residual=", "")
    ),
    **dict.fromkeys(
        ("ped", "giv", "ginv", "grm", "vm", "gr", "vsr", "vsc", "vs"), "a relationship belongs to a random term"
    ),
    **dict.fromkeys(
        ("ar1v", "ar2", "ar2v", "ar3", "ar3v", "sar", "sar2", "ma1", "ma2", "arma", "hetar1"),
        f"{FIELD}, or 'ar1(t | id)' for times within subjects",
    ),
    **dict.fromkeys(("corAR1", "corCAR1", "ou"), "write 'exp(x | id)', or 'ar1(t | id)' for times that are counted"),
    **dict.fromkeys(
        (
            "iexp",
            "aexp",
            "ieuc",
            "igau",
            "agau",
            "iexpv",
            "aexpv",
            "igauv",
            "agauv",
            "isp",
            "cir",
            "corExp",
            "corGaus",
            "corSpher",
            "corRatio",
            "corLin",
        ),
        "write 'exp(row, col)', 'gau', 'sph', 'ratio' and 'lin' alike",
    ),
    **dict.fromkeys(("mtrn", "mtrnv", "matern"), "write 'mat(row, col)'"),
    **dict.fromkeys(("varPower", "varExp"), "write 'power(x)'"),
    **dict.fromkeys(("nugget", "units", "nug"), "add '+ units'"),
}


def ours(name: str) -> str | None:
    """What to write for a word of another program, or for a structure without its bar; None for any other word."""
    if name in STRUCTURES and name not in WORDS:
        return f"a structure stands around a bar: write {name}(f | g) for {name}(f):g"
    return WORDS.get(name)


def ours_of_group(text: str) -> str | None:
    """The same of what stands behind a bar, ``ped(id)``, where every column is a factor as it is."""
    name = text.partition("(")[0].strip()
    return WORDS["fac"] if name in ("C", "factor", "as.factor") else ours(name)


def ours_of_residual(name: str) -> str | None:
    """The same of a word in residual=."""
    return RESIDUALS.get(name) or WORDS.get(name)
