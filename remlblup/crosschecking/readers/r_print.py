"""What R prints: `summary` of lme4, nlme, sommer and MCMCglmm, `VarCorr` of nlme."""

from __future__ import annotations

import re

import numpy as np

from remlblup.crosschecking.readers.text import NUMBER, Lines, Number, number
from remlblup.crosschecking.results import COMPONENTS, FIXED, Results, component, of_deviations, table

LME4 = r"^Linear mixed model fit by"
NLME = r"^Linear mixed-effects model fit by"
NLME_VARCORR = r"^\S.* =\s*pd\w+\("
#: What lme4 says of its search stands right below the coefficients where there is one alone.
_MESSAGES = r"\s*(Correlation|---|Standardized|optimizer \(|convergence code|boundary \(singular\) fit|Model failed)"
SOMMER = r"^\s*VarComp\s+VarCompSE\s+Zratio"
MCMC = r"post\.mean\s+l-95% CI\s+u-95% CI\s+eff\.samp"


def coefficients(lines: Lines, head: int, columns: str) -> list[tuple]:
    """The rows below a head of columns, to the next line that is none: name, estimate, standard error."""
    row = re.compile(rf"^(\S.*?)\s+({NUMBER})\s+({NUMBER})\s")
    rows: list[tuple] = []
    for at in range(head + 1, len(lines)):
        if not lines.lines[at].strip() or re.match(_MESSAGES, lines.lines[at]):
            break
        match = row.match(lines.take(at, "a coefficient"))
        if match is None or len(lines.lines[at][match.end() :].split()) < columns.count(" ") - 1:
            lines.fail(at, f"a coefficient with {columns}")
        value = lines.number(at, match[2])
        rows.append((match[1].strip(), value.value, lines.number(at, match[3]).value, value.rounding))
    if not rows:
        lines.fail(head + 1, "a coefficient")
    return rows


def read_lme4(lines: Lines) -> Results:
    """``print(summary(lmer(…)))``."""
    first, _ = lines.find(LME4, "'Linear mixed model fit by …'")
    ml = "maximum likelihood" in lines.lines[first]
    head, _ = lines.find(r"^ Groups\s+Name\s+(Variance\s+)?Std\.Dev\.", "the table of variances", first)
    end, records = lines.find(r"^Number of obs: (\d+)", "'Number of obs:'", head)
    rows, term = [], ""
    groups: dict[str, list[tuple[str, Number, list[str]]]] = {}
    for at in range(head + 1, end):
        match = re.match(rf"^ (\S*(?: \S+)*?)\s+(\S.*?)?\s+({NUMBER})\s+({NUMBER})((?:\s+{NUMBER})*)\s*$",
                         lines.take(at, "a variance"))  # fmt: skip
        if match is None:
            lines.fail(at, "group, name, variance, standard deviation")
        term = match[1] or term
        sd = lines.number(at, match[4])
        _accord(lines, at, lines.number(at, match[3]), sd)
        groups.setdefault(term, []).append((match[2] or "", lines.number(at, match[3]), (match[5] or "").split()))
    if "Residual" not in groups:
        lines.fail(end, "a row 'Residual'")
    for name, members in groups.items():
        rows += _group("residual" if name == "Residual" else name, members)
    fixed, _ = lines.find(r"^\s+Estimate\s+Std\. Error", "the table of fixed effects", end)
    loglik = _lme4_likelihood(lines, head, ml)
    return Results(
        "lme4",
        None,
        lines.path,
        "ML" if ml else "REML",
        table(rows, COMPONENTS),
        table(coefficients(lines, fixed, "Estimate Std.Error t"), FIXED),
        loglik=None if loglik is None else loglik.value,
        loglik_rounding=0.0 if loglik is None else loglik.rounding,
        n_obs=int(records[1]),
    )


def _accord(lines: Lines, at: int, variance: Number, sd: Number) -> None:
    """A variance and its root say the same."""
    if abs(sd.value**2 - variance.value) > 4.0 * (sd.value * sd.rounding + variance.rounding):
        lines.fail(at, "a variance and its root")


def _group(term: str, members: list[tuple[str, Number, list[str]]]) -> list[tuple]:
    """Variances as printed, covariances from the correlations."""
    effects = ["" if term == "residual" else name for name, _, _ in members]
    variances = np.array([v.value for _, v, _ in members])
    sd = np.sqrt(np.maximum(variances, 0.0))
    correlations, rounding = np.eye(len(members)), 0.0
    for i, (_, _, row) in enumerate(members):
        for j, text in enumerate(row[:i]):
            correlations[i, j] = correlations[j, i] = number(text).value
            rounding = max(rounding, number(text).rounding)
    roundings = np.array([v.rounding for _, v, _ in members]) / np.where(sd > 0.0, 2.0 * sd, 1.0)
    return of_deviations(term, effects, sd, correlations, roundings, rounding)


def _lme4_likelihood(lines: Lines, head: int, ml: bool) -> Number | None:
    if not ml:
        found = lines.search(rf"^REML criterion at convergence: ({NUMBER})", 0, head)
        value = None if found is None else lines.number(found[0], found[1][1])
        return None if value is None else Number(-0.5 * value.value, 0.5 * value.rounding)
    names = lines.search(r"^\s+AIC\s+BIC\s+logLik", 0, head)
    if names is None:
        return None
    numbers = lines.numbers(names[0] + 1)
    if len(numbers) < 4:
        lines.fail(names[0] + 1, "AIC, BIC, logLik, deviance")
    return numbers[2]


def read_nlme(lines: Lines) -> Results:
    """``print(summary(lme(…)))``: standard deviations by level of grouping."""
    first, match = lines.find(NLME + r" (REML|maximum likelihood)", "'Linear mixed-effects model fit by …'")
    names, _ = lines.find(r"^\s+AIC\s+BIC\s+logLik", "'AIC BIC logLik'", first)
    criteria = lines.numbers(names + 1)
    if len(criteria) != 3:
        lines.fail(names + 1, "AIC, BIC, logLik")
    random, _ = lines.find(r"^Random effects:", "'Random effects:'", names)
    fixed, _ = lines.find(r"^Fixed effects:", "'Fixed effects:'", random)
    head, _ = lines.find(r"^\s+Value\s+Std\.Error\s+DF", "the table of fixed effects", fixed)
    records = lines.find(r"^Number of Observations:\s*(\d+)", "'Number of Observations:'", head)[1]
    rows: list[tuple] = []
    formulas = lines.all(r"^ Formula: ~\s*(.*) \| (.*?)\s*$", random, fixed)
    if not formulas:
        lines.fail(random + 1, "'Formula: ~ … | …'")
    for (at, formula), stop in zip(formulas, [*(f[0] for f in formulas[1:]), fixed], strict=True):
        rows += _nlme_level(lines, at, stop, formula[2])
    residual = [r for r in rows if r[0] == "residual"]
    if len(residual) != 1:
        lines.fail(fixed, "one 'Residual'")
    rows = [r for r in rows if r[0] != "residual"] + residual
    return Results(
        "nlme",
        None,
        lines.path,
        "REML" if match[1] == "REML" else "ML",
        table(rows, COMPONENTS),
        table(coefficients(lines, head, "Value Std.Error DF t p"), FIXED),
        loglik=criteria[2].value,
        loglik_rounding=criteria[2].rounding,
        n_obs=int(records[1]),
    )


def _nlme_level(lines: Lines, at: int, stop: int, term: str) -> list[tuple]:
    """One grouping: its standard deviations across, or down with correlations beside."""
    across = lines.search(rf"^StdDev:\s+{NUMBER}", at, stop)
    if across is not None:
        names = re.findall(r"\(\w+\)|\S+", lines.lines[across[0] - 1])
        values = [lines.number(across[0], t) for t in lines.take(across[0], "StdDev").split()[1:]]
        if len(names) != len(values):
            lines.fail(across[0], f"standard deviations of {', '.join(names)}")
        members = list(zip(names, values, strict=True))
        own = [(n, v) for n, v in members if n != "Residual"]
        rows = [r for n, v in own for r in _deviations(term, [(n, v)], np.eye(1), 0.0)]  # across: without correlations
        return rows + [
            r for n, v in members if n == "Residual" for r in _deviations("residual", [("", v)], np.eye(1), 0.0)
        ]
    down, _ = lines.find(r"^\s+StdDev(\s+Corr)?", "the standard deviations", at, stop)
    return _nlme_rows(lines, down, stop, term, squared=False)


def _nlme_rows(lines: Lines, head: int, stop: int, term: str, squared: bool) -> list[tuple]:
    """Rows name, (variance,) standard deviation, correlations with those above; the residual may be among them."""
    members: list[tuple[str, Number]] = []
    tails: list[list[str]] = []
    rows: list[tuple] = []
    for at in range(head + 1, stop):
        if not lines.lines[at].strip():
            break
        variance = rf"({NUMBER})\s+" if squared else "()"
        match = re.match(rf"^(\S+)\s+{variance}({NUMBER})\s*(.*)$", lines.take(at, "a standard deviation"))
        if match is None:
            lines.fail(at, "a name and its standard deviation")
        sd = lines.number(at, match[3])
        if squared:
            _accord(lines, at, lines.number(at, match[2]), sd)
        if match[1] == "Residual":
            rows += _deviations("residual", [("", sd)], np.eye(1), 0.0)
            break
        members.append((match[1], sd))
        tails.append(re.findall(NUMBER, match[4]) if not match[4].startswith("(") else [])
    correlations, rounding = np.eye(len(members)), 0.0
    diagonal = any(
        re.search("pdDiag|pdIdent|Diagonal|Multiple", line) for line in lines.lines[max(head - 2, 0) : head + 1]
    )
    for i, tail in enumerate(tails):
        if len(tail) != i and not diagonal:
            lines.fail(head + 1 + i, f"{i} correlations of {members[i][0]} with the effects above it")
        for j, text in enumerate(tail[:i]):
            correlations[i, j] = correlations[j, i] = number(text).value
            rounding = max(rounding, number(text).rounding)
    if diagonal:
        return [r for member in members for r in _deviations(term, [member], np.eye(1), 0.0)] + rows
    return _deviations(term, members, correlations, rounding) + rows


def _deviations(term: str, members: list[tuple[str, Number]], correlations: np.ndarray, rounding: float) -> list[tuple]:
    if not members:
        return []
    values = np.array([v.value for _, v in members])
    own = np.array([v.rounding for _, v in members])
    return of_deviations(term, [n for n, _ in members], values, correlations, own, rounding)


def read_nlme_varcorr(lines: Lines) -> Results:
    """``print(VarCorr(lme(…)))``."""
    heads = lines.all(NLME_VARCORR)
    if not heads:
        lines.fail(0, "a grouping '… = pdLogChol(…)'")
    rows: list[tuple] = []
    for (at, _), stop in zip(heads, [*(h[0] for h in heads[1:]), len(lines)], strict=True):
        first = at + 1 if re.match(r"^\s+Variance", lines.lines[min(at + 1, len(lines) - 1)]) else at
        rows += _nlme_rows(lines, first, stop, lines.lines[at].split(" =")[0].strip(), squared=True)
    if not rows or rows[-1][0] != "residual":
        lines.fail(len(lines), "a last row 'Residual'")
    return Results("nlme", None, lines.path, None, table(rows, COMPONENTS))


def read_sommer(lines: Lines) -> Results:
    """``summary(mmer(…))``: rows ``u:term.trait-trait``."""
    head, _ = lines.find(SOMMER, "'VarComp VarCompSE Zratio'")
    rows = []
    for at in range(head + 1, len(lines)):
        match = re.match(rf"^(\S+)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+(\w+)\s*$", lines.take(at, "a component"))
        if match is None:
            break
        name, _, traits = match[1].rpartition(".")
        first, _, second = traits.partition("-")
        term = "residual" if name.split(":")[-1] == "units" else name.removeprefix("u:")
        value = lines.number(at, match[2])
        error = lines.number(at, match[3]).value
        same = first == second
        pair = ("variance", first, "") if same else ("covariance", first, second)
        rows.append((term, *pair, value.value, error, value.rounding))
    if not any(r[0] == "residual" for r in rows):
        lines.fail(len(lines), "a component 'units'")
    if len({r[2] for r in rows}) == 1:  # one trait: its name says nothing
        rows = [(r[0], r[1], "", "", *r[4:]) for r in rows]
    return Results("sommer", None, lines.path, components=table(rows, COMPONENTS))


def read_mcmcglmm(lines: Lines) -> Results:
    """``summary(MCMCglmm(…))``: posterior means, which are no maximum of any likelihood."""
    random, _ = lines.find(r"^\s*G-structure:", "'G-structure:'")
    residual, _ = lines.find(r"^\s*R-structure:", "'R-structure:'", random)
    fixed, _ = lines.find(r"^\s*Location effects:", "'Location effects:'", residual)
    rows, names = [], []
    row = re.compile(rf"^\s*(\S+(?: \S+)*?)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})")
    for at in range(random, len(lines)):
        if not (match := row.match(lines.lines[at])):
            continue
        lines.take(at, "a posterior mean")
        value = lines.number(at, match[2])
        if at > fixed:
            names.append((match[1], value.value, np.nan, value.rounding))
        else:
            rows.append(component("residual" if at > residual else match[1], value.value, value.rounding))
    if not any(r[0] == "residual" for r in rows):
        lines.fail(fixed, "a posterior mean of the R-structure")
    if not names:
        lines.fail(len(lines), "posterior means of the location effects")
    return Results("MCMCglmm", None, lines.path, "posterior means", table(rows, COMPONENTS), table(names, FIXED))
