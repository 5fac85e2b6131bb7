"""R scripts for lme4, nlme, sommer and LMMsolver, whose output our readers take."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.crosschecking.writers.plan import Plan, Random, refuse


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


def _data(plan: Plan) -> tuple[str, list[str]]:
    """data.csv, and lines that read it: factors as factors, in our order of levels."""
    used = [*plan.responses, *(c for f in plan.fixed for c in (*f.factors, *f.covariates))]
    used += [c for t in plan.random for c in (*t.group, *filter(None, t.covariates))]
    columns = list(dict.fromkeys([*used, *filter(None, [plan.weights])]))
    factors = dict.fromkeys([*(c for f in plan.fixed for c in f.factors), *(c for t in plan.random for c in t.group)])
    lines = ['d <- read.csv("data.csv", check.names = FALSE, stringsAsFactors = FALSE)']
    for name in factors:
        column = plan.frame[name]
        own = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else sorted(column.unique())
        levels = ", ".join(_text(str(v)) for v in own)
        lines.append(f"d${_quoted(name)} <- factor(as.character(d${_quoted(name)}), levels = c({levels}))")
    return plan.frame[columns].to_csv(index=False, na_rep="NA", lineterminator="\n"), lines


def _fixed(plan: Plan) -> str:
    parts = [":".join(map(_quoted, (*f.factors, *f.covariates))) for f in plan.fixed if f.factors or f.covariates]
    constant = any(not f.factors and not f.covariates for f in plan.fixed)
    return " + ".join(["1" if constant else "0", *parts])


def _one_trait(plan: Plan, program: str) -> None:
    if plan.several:
        raise refuse(program, "several traits", "this writer has one; write for BLUPF90, ASReml or WOMBAT")


def _independent(plan: Plan, program: str) -> None:
    for term in plan.random:
        if term.relationship is not None:
            raise refuse(program, f"'{term.name}'", "it has no relationship matrices; write for sommer or BLUPF90")


def _effects(term: Random) -> str:
    return " + ".join(["1" if "" in term.covariates else "0", *(_quoted(c) for c in term.covariates if c)])


def write_lme4(plan: Plan) -> tuple[dict[str, str], list[str]]:
    """`lmer`; VarCorr, ranef and the summary are written for the readers."""
    _one_trait(plan, "lme4")
    _independent(plan, "lme4")
    bars = [
        f"({_effects(t)} {'|' if t.joint or len(t.covariates) == 1 else '||'} {':'.join(map(_quoted, t.group))})"
        for t in plan.random
    ]
    data, lines = _data(plan)
    weights = "" if plan.weights is None else f", weights = {_quoted(plan.weights)}"
    formula = f"{_quoted(plan.responses[0])} ~ {' + '.join([_fixed(plan), *bars])}"
    control = "control = lmerControl(optCtrl = list(ftol_abs = 0, ftol_rel = 1e-15, xtol_abs = 0, xtol_rel = 1e-10))"
    lines += [
        "library(lme4)",
        f"fit <- lmer({formula}, d{weights}, REML = {'TRUE' if plan.method == 'REML' else 'FALSE'}, {control})",
        "print(summary(fit), digits = 10)",
        'write.csv(as.data.frame(VarCorr(fit)), "VarCorr.csv", row.names = FALSE)',
        'write.csv(as.data.frame(ranef(fit, condVar = TRUE)), "ranef.csv", row.names = FALSE)',
    ]
    return {"data.csv": data, "model.R": "\n".join([f"# {plan.title}", *lines]) + "\n"}, []


def write_nlme(plan: Plan) -> tuple[dict[str, str], list[str]]:
    """`lme`: its groups lie within one another."""
    _one_trait(plan, "nlme")
    _independent(plan, "nlme")
    terms = sorted(plan.random, key=lambda t: len(t.group))
    if not terms:
        raise refuse("nlme", "a model without random terms", "lme needs one")
    for inner, outer in zip(terms[1:], terms[:-1], strict=True):
        if not set(outer.group) < set(inner.group):
            raise refuse("nlme", f"'{inner.name}'", f"its levels do not lie within those of '{outer.name}'")
    parts, done = [], set()
    for term in terms:
        own = [g for g in term.group if g not in done]
        if len(own) != 1:
            raise refuse("nlme", f"'{term.name}'", "write each level of nesting as a term of its own")
        done.add(own[0])
        inside = f"~ {_effects(term)}"
        if len(term.covariates) > 1 and not term.joint:
            inside = f"pdDiag({inside})"
        parts.append(f"{_quoted(own[0])} = {inside}")
    data, lines = _data(plan)
    weights = "" if plan.weights is None else f", weights = varFixed(~ I(1 / {_quoted(plan.weights)}))"
    lines += [
        "library(nlme)",
        # Its optimiser stops when ℓ does, at 4 digits of a variance; EM steps ahead bring them to 7.
        f"fit <- lme({_quoted(plan.responses[0])} ~ {_fixed(plan)}, d, random = list({', '.join(parts)}){weights},"
        f' method = "{plan.method}", control = lmeControl(niterEM = 1000))',
        "print(summary(fit), digits = 10)",
        "options(digits = 12)",
        'writeLines(capture.output(print(VarCorr(fit, rdig = 12))), "VarCorr.txt")',
    ]
    return {"data.csv": data, "model.R": "\n".join([f"# {plan.title}", *lines]) + "\n"}, []


def write_sommer(plan: Plan) -> tuple[dict[str, str], list[str]]:
    """`mmer` with relationship matrices as CSV."""
    _one_trait(plan, "sommer")
    if plan.weights is not None:
        raise refuse("sommer", f"weights='{plan.weights}'", "this writer has none; write for BLUPF90 or ASReml")
    data, lines = _data(plan)
    files = {"data.csv": data}
    parts = []
    for k, term in enumerate(plan.random, 1):
        if term.covariates != ("",) or len(term.group) > 1:
            raise refuse("sommer", f"'{term.name}'", "this writer has one effect of one factor a term")
        name = _quoted(term.group[0])
        if term.relationship is None:
            parts.append(name)
            continue
        kept = np.unique(term.codes)
        K = pd.DataFrame(term.relationship.among(kept), index=[term.levels[j] for j in kept])
        K.columns = K.index
        files[f"K{k}.csv"] = K.to_csv(lineterminator="\n")
        lines.append(f'K{k} <- as.matrix(read.csv("K{k}.csv", row.names = 1, check.names = FALSE))')
        parts.append(f"vsr({name}, Gu = K{k})")
    random = f", random = ~ {' + '.join(parts)}" if parts else ""
    lines += [
        "library(sommer)",
        f"fit <- mmer({_quoted(plan.responses[0])} ~ {_fixed(plan)}{random}, rcov = ~ units, data = d)",
        "print(summary(fit)$varcomp)",
    ]
    notes = ["K is cut to the levels with records, which leaves the likelihood as it is"]
    return files | {"model.R": "\n".join([f"# {plan.title}", *lines]) + "\n"}, notes if len(files) > 1 else []


def write_lmmsolver(plan: Plan) -> tuple[dict[str, str], list[str]]:
    """`LMMsolve` with inverses of relationship matrices as row, column, value.

    It takes the levels that the data have, so that K is cut to them before it is inverted: part of an inverse is not
    the inverse of the part.
    """
    _one_trait(plan, "LMMsolver")
    data, lines = _data(plan)
    files, names, inverses = {"data.csv": data}, [], []
    for k, term in enumerate(plan.random, 1):
        if term.covariates != ("",):
            raise refuse("LMMsolver", f"'{term.name}'", "it has no random regressions; write for lme4 or BLUPF90")
        kept = np.unique(term.codes)
        names.append(f"r{k}")
        levels = ", ".join(_text(term.levels[j]) for j in kept)
        group = ", ".join(f"as.character(d${_quoted(g)})" for g in term.group)
        lines.append(f'd$r{k} <- factor(paste({group}, sep = ":"), levels = c({levels}))  # {term.name}')
        if term.relationship is None:
            continue
        whole = len(kept) == len(term.levels)
        inverse = term.relationship.precision if whole else np.linalg.inv(term.relationship.among(kept))
        files[f"inverse{k}.csv"] = _entries(inverse)
        lines += [
            f'q{k} <- as.matrix(read.csv("inverse{k}.csv"))',
            f"Q{k} <- matrix(0, {len(kept)}, {len(kept)})",
            f"Q{k}[q{k}[, 1:2]] <- q{k}[, 3]",
        ]
        inverses.append(f"r{k} = Q{k}")
    random = f", random = ~ {' + '.join(names)}" if names else ""
    random += f", ginverse = list({', '.join(inverses)})" if inverses else ""
    weights = "" if plan.weights is None else f", weights = {_text(plan.weights)}"
    renamed = " ".join(f"r{k} is {t.name}" + ";" * (k < len(plan.random)) for k, t in enumerate(plan.random, 1))
    lines += [
        "library(LMMsolver)",
        f"fit <- LMMsolve({_quoted(plan.responses[0])} ~ {_fixed(plan)}{random}{weights}, data = d, tolerance = 1e-10)",
        'v <- summary(fit, which = "variances")',
        f"terms <- c({', '.join([*map(_text, (t.name for t in plan.random)), _text('residual')])})",
        "rows <- data.frame(quantity = 'component', term = terms, estimate = sprintf('%.12g', v[[2]]))",
        "logl <- data.frame(quantity = 'loglik', term = '', estimate = sprintf('%.10g', as.numeric(logLik(fit))))",
        "name <- data.frame(quantity = 'program', term = '', estimate = 'LMMsolver')",
        "write.csv(rbind(rows, logl, name), 'results.csv', row.names = FALSE)",
        "print(v, digits = 10)",
    ]
    notes = [f"random factors are columns of their own: {renamed}"] if names else []
    if inverses:
        notes.append("K is cut to the levels with records and then inverted, which leaves the likelihood as it is")
    return files | {"model.R": "\n".join([f"# {plan.title}", *lines]) + "\n"}, notes


def _text(value: str) -> str:
    """A string in R."""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _entries(matrix: object) -> str:
    """The entries of a symmetric matrix that are not zero, as row, column, value from 1."""
    part = sp.coo_array(matrix)
    table = pd.DataFrame({"row": part.row + 1, "column": part.col + 1, "value": part.data})
    return table[table["value"] != 0.0].to_csv(index=False, lineterminator="\n", float_format="%.15g")
