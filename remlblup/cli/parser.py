"""The arguments of every command."""

from __future__ import annotations

import argparse
from typing import NoReturn

from remlblup._version import __version__
from remlblup.cli import commands, crosschecking
from remlblup.equations.computation import DEVICES, ENGINES

EXAMPLES = """\
examples:
  remlblup demo
      Two analyses, of real and of simulated data, with reports and plots in ./remlblup_demo.
  remlblup fit sleepstudy.csv "Reaction ~ Days + (1 + Days | Subject)" --out sleep
      Random intercepts and slopes; report.html, report.txt, fit.json, tables and plots in ./sleep.
  remlblup fit gryphon.csv "BWT ~ SEX + (1 | BYEAR) + (1 | vm(ANIMAL, A))" --pedigree A=pedigree.csv
           --factor SEX --function "h2 = vm(ANIMAL, A) / (vm(ANIMAL, A) + BYEAR + residual)"
      An animal model with its heritability.
  remlblup blup calves.csv "gain ~ 0 + sex + (1 | vm(animal, A))" --pedigree A=pedigree.csv
           --variances "vm(animal, A)=20" "residual=40"
      Breeding values at known variances.

exit codes: 0 all well, 1 not converged or validation failed, 2 wrong input
"""

VALUES = 'as "term=1.5", "term=[[612, 10], [10, 35]]" (covariance matrix), or "term=var(Intercept):612, var(Days):35"'


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that explains its most puzzling message."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("the following arguments are required: DATA"):
            message += " (put DATA and FORMULA first, the options behind them)"
        self.exit(2, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of ``remlblup``."""
    parser = Parser(
        prog="remlblup",
        description="Variance components by REML and BLUPs from Henderson's mixed model equations.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"remlblup {__version__}")
    parser.set_defaults(run=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    _demo(subparsers)
    _fit(subparsers)
    _blup(subparsers)
    _crosscheck(subparsers)
    _write(subparsers)
    p = subparsers.add_parser("warmup", help="compile the kernels of large models ahead of their first use")
    p.set_defaults(run=commands.warmup)
    subparsers.add_parser("validate", help="compare with published results (validate --help)", add_help=False)
    return parser


def _demo(subparsers: argparse._SubParsersAction) -> None:
    p = subparsers.add_parser("demo", help="fit a real and a simulated data set, with reports and plots")
    p.add_argument("--out", metavar="DIR", default="remlblup_demo", help="folder to write to (default %(default)s)")
    p.set_defaults(run=commands.demo)


def _fit(subparsers: argparse._SubParsersAction) -> None:
    p = subparsers.add_parser(
        "fit",
        help="estimate variance components, fixed and random effects",
        description="Estimate variance components by REML, and with them fixed effects and BLUPs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _data(p)
    g = p.add_argument_group("estimation")
    g.add_argument("--method", type=str.upper, choices=("REML", "ML"), default="REML", help="default REML")
    g.add_argument(
        "--algorithm",
        choices=("auto", "ai", "em", "px-em"),
        default="auto",
        help="average information, EM, parameter-expanded EM; auto: AI with EM as its rescue",
    )
    g.add_argument("--start", nargs="+", action="extend", metavar="TERM=VALUE", help=f"start values, {VALUES}")
    g.add_argument("--fix", nargs="+", action="extend", metavar="TERM=VALUE", help="components held at a value")
    g.add_argument(
        "--no-constrain", action="store_true", help="allow negative components while V stays positive definite"
    )
    g.add_argument("--max-iterations", type=int, metavar="N", help="default 200, for EM 20000")
    g.add_argument(
        "--tolerance", type=float, default=1e-8, metavar="T", help="of the scale-free gradient (default 1e-8)"
    )
    g.add_argument("--seed", type=int, default=0, metavar="N", help="of the probes of --engine stochastic (default 0)")
    g.add_argument(
        "--probes", type=int, metavar="N", help="how many --engine stochastic draws (default: what its error calls for)"
    )
    g.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="keep the state of the fit in this file (.npz); the same command goes on from it after a stop",
    )
    g = p.add_argument_group("output")
    g.add_argument(
        "--function",
        nargs="+",
        action="extend",
        metavar="NAME=EXPR",
        help="functions of the components, with s.e.: 'h2=vm(id, A) / (vm(id, A) + residual)'",
    )
    g.add_argument(
        "--means",
        nargs="+",
        action="extend",
        metavar="FACTOR",
        help="marginal means in the report: variety, or variety:nitro of two factors",
    )
    g.add_argument("--report", metavar="FILE.html", help="the report as one page, which needs no other file")
    g.add_argument("--quiet", action="store_true", help="the report alone: no iteration lines, no notes")
    g.add_argument(
        "--out", metavar="DIR", help="folder for report.html, report.txt, fit.json, tables (CSV), plots (PNG)"
    )
    _escape(g)
    p.set_defaults(run=commands.fit)


def _blup(subparsers: argparse._SubParsersAction) -> None:
    p = subparsers.add_parser(
        "blup",
        help="fixed effects and BLUPs at known variances",
        description="Solve Henderson's mixed model equations at known variances.",
        allow_abbrev=False,
    )
    _data(p)
    p.add_argument(
        "--variances",
        nargs="+",
        action="extend",
        metavar="TERM=VALUE",
        required=True,
        help=f"every component and the residual, {VALUES}",
    )
    p.add_argument("--quiet", action="store_true", help="no notes")
    p.add_argument("--out", metavar="DIR", help="folder for fixed_effects.csv, random_effects.csv, fitted.csv")
    _escape(p)
    p.set_defaults(run=commands.blup)


def _crosscheck(subparsers: argparse._SubParsersAction) -> None:
    p = subparsers.add_parser(
        "crosscheck",
        help="judge what another program found for the same model",
        description="Fit the model, and put the estimates of another program into our likelihood: who is right, and by"
        " how much. Exit code 0: they agree; 1: they do not.",
        allow_abbrev=False,
    )
    _data(p)
    p.add_argument(
        "--other",
        nargs="+",
        metavar="FILE",
        required=True,
        help="output of the other program, recognised from the file; several of one fit, such as a log and solutions",
    )
    p.add_argument("--program", metavar="NAME", help="which program, if the file does not tell")
    p.add_argument("--match", nargs="+", action="extend", metavar="THEIRS=OURS", help="their term is ours")
    p.add_argument("--method", type=str.upper, choices=("REML", "ML"), default="REML", help="of our fit; default REML")
    p.add_argument("--no-reasons", action="store_true", help="do not try the dull reasons")
    p.add_argument("--pairs", action="store_true", help="try two of them at once, however large the model")
    p.add_argument("--quiet", action="store_true", help="no notes")
    p.add_argument("--report", metavar="FILE", help="write verdict, tables and plot: .html as one page, else text")
    p.set_defaults(run=crosschecking.crosscheck)


def _write(subparsers: argparse._SubParsersAction) -> None:
    p = subparsers.add_parser(
        "write",
        help="write the model as input for another program",
        description="Write data, relationships and the model as another program reads them; what it cannot express is"
        " refused by name.",
        allow_abbrev=False,
    )
    _data(p)
    p.add_argument(
        "--program",
        required=True,
        choices=("blupf90", "asreml", "wombat", "gcta", "lme4", "nlme", "sommer", "lmmsolver"),
    )
    p.add_argument("--out", metavar="DIR", required=True, help="folder to write to")
    p.add_argument("--quiet", action="store_true", help="no notes")
    p.set_defaults(run=crosschecking.write)


def _escape(p: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    p.add_argument(
        "--no-escape",
        action="store_true",
        help="write text that begins with = + - @ as it is, not behind an apostrophe for spreadsheets",
    )


def _data(p: argparse.ArgumentParser) -> None:
    """Arguments that make the model."""
    p.add_argument(
        "data", metavar="DATA", help="CSV or TSV (also .gz), parquet, feather or .xlsx; NA . * and blanks are missing"
    )
    p.add_argument("formula", metavar="FORMULA", help='such as "y ~ x + (1 | group) + (1 | vm(animal, A))"')
    g = p.add_argument_group("model")
    g.add_argument(
        "--pedigree",
        nargs="+",
        action="extend",
        metavar="NAME=FILE",
        help="pedigree: columns animal, sire, dam; 0, NA, . or blank for an unknown parent",
    )
    g.add_argument(
        "--pedigree-columns",
        metavar="ID,SIRE,DAM",
        help="names of these columns in the pedigree files, where they are not the usual ones",
    )
    g.add_argument(
        "--relationship",
        nargs="+",
        action="extend",
        metavar="NAME=FILE",
        help="relationship matrix: square, its levels named, or columns level, level, value",
    )
    g.add_argument(
        "--genotypes",
        nargs="+",
        action="extend",
        metavar="NAME=FILE",
        help="NAME is VanRaden's genomic matrix of PLINK .bed, .vcf, .zarr, BLUPF90 text or CSV genotypes",
    )
    g.add_argument(
        "--groups",
        nargs="+",
        action="extend",
        metavar="LABEL",
        help="these parents in the pedigree are groups of unknown parents",
    )
    g.add_argument("--inverse", nargs="+", action="extend", metavar="NAME", help="these matrices are inverses")
    g.add_argument("--hermaphrodites", action="store_true", help="animals of a pedigree can be sire and dam (plants)")
    g.add_argument(
        "--residual",
        default="units",
        metavar="STRUCTURE",
        help="structure of R (default units); known(O): that of --relationship O=FILE, known(v): a column",
    )
    g.add_argument("--weights", metavar="COLUMN", help="weights w: residual variance over w")
    g.add_argument(
        "--factor", action="append", metavar="COLUMN,COLUMN", help="columns to treat as factors though numeric"
    )
    g.add_argument(
        "--missing", choices=("drop", "error"), default="drop", help="rows with missing values (default drop)"
    )
    g.add_argument(
        "--unknown-parents",
        default="keep",
        metavar="keep|drop|error|COLUMN,COLUMN",
        help="records with an unknown sire or dam in vm(sire, A): kept, the parent adding nothing (default), "
        "dropped or refused; or the columns that hold parents, where their names do not tell",
    )
    g.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="how V is worked with; stochastic: by products alone, with a Monte Carlo error and no log-likelihood",
    )
    g.add_argument("--device", choices=DEVICES, default="cpu", help="where --engine dense works (default cpu)")
    g.add_argument("--sep", metavar="CHAR", help=r"separator of the columns in DATA (default: found out; \t for tabs)")
