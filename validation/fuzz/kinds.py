"""The kinds of inputs: for each a strategy that draws a script."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from remlblup.validation.fuzz import formulas
from remlblup.validation.fuzz.columns import NUMBERS, WILD, frame, labels, numbers, odd, shown
from remlblup.validation.fuzz.files import clicks, genotype_files, pedigree_files, tables
from remlblup.validation.fuzz.values import values

Draw = Any
Script = st.SearchStrategy[str]

LEVELS = "['g%d' % i for i in range(9)] + ['only']"
GIVEN = (
    f"L = {LEVELS}\n"
    "rels = {'K': (0.5 + 0.5 * np.eye(10), L), 'S': pd.DataFrame(0.3 + np.eye(3), ['g0', 'g1', 'g2'], ['g0', 'g1', "
    "'g2'])}\n"
)
TAME = (
    "np.random.default_rng({seed}).normal(size={n}).round(3) + np.random.default_rng({seed} + "
    "1).normal(size=7)[np.arange({n}) % 7].round(2)"
)
JUNK = ["None", "np.nan", "np.inf", "-1", "0", "1e300", "1e-300", "''", "'x'", "[]", "{}", "()", "True", "np.ones(3)",
        "object()", "b'g'", "1j", "np.int64(3)", "'\\0'", "pd.NA", "'g'", "3", "0.5", "lambda v: v", "pd.DataFrame()",
        "[['g']]", "10**30", "'all'"]  # fmt: skip
junk = st.sampled_from(JUNK)


def tame(seed: int, n: int) -> str:
    return TAME.format(seed=seed, n=n)


@st.composite
def frames(draw: Draw) -> str:
    """Any column in any place."""
    n = draw(st.sampled_from([1, 2, 3, 4, 6, 12, 20, 30]))
    data = draw(frame(n, response=draw(st.one_of(st.none(), st.integers(0, 99).map(lambda s: f"list({tame(s, n)})")))))
    formula = draw(formulas.formula())
    weights = draw(st.sampled_from([None] * 5 + ["w", "x", "y", "g", "nothing"]))
    missing = draw(st.sampled_from(["drop"] * 5 + ["error"]))
    return (
        f"{GIVEN}d = {data}\nmodel = rb.MixedModel({formula!r}, d, rels, weights={weights!r}, missing={missing!r})\n"
        "fit = checked(model.fit(max_iterations=30, starts=1, progress=False), d)\n"
    )


@st.composite
def formula_texts(draw: Draw) -> str:
    """Any text as a formula, over tame data; nothing is written."""
    n = 24
    where = draw(st.sampled_from(["formula"] * 6 + ["residual", "residual", "weights", "many", "response"]))
    text = draw(st.one_of(formulas.jumbled(), formulas.formula()))
    residual = st.one_of(st.just(text), st.sampled_from(formulas.RESIDUALS))
    call = {
        "formula": f"rb.MixedModel({text!r}, d, rels, {draw(st.sampled_from(formulas.RESIDUALS))!r})",
        "residual": f"rb.MixedModel('y ~ x + (1 | g)', d, rels, {draw(residual)!r})",
        "weights": f"rb.MixedModel('y ~ x + (1 | g)', d, rels, weights={text!r})",
        "response": f"rb.MixedModel({text.partition('~')[0] + ' ~ x + (1 | g)'!r}, d, rels)",
        "many": f"rb.fit_many({'~' + text.partition('~')[2]!r}, d, ['y', {text.partition('~')[0]!r}], rels)",
    }[where]
    then = "str(m)" if where == "many" else "checked(m.fit(max_iterations=20, starts=1, progress=False))"
    data = (
        f"d = pd.DataFrame({{'y': {tame(draw(st.integers(0, 50)), n)}, 'x': np.linspace(1, 3, {n}).round(2), 'z':"
        f" np.arange({n}) % 5 + 0.5, 'w': 1.0 + np.arange({n}) % 2, 'g': ['g%d' % (i % 7) for i in range({n})], 'h':"
        f" ['g%d' % (i // 4) for i in range({n})], 'f': ['g%d' % (i % 3) for i in range({n})], 't':"
        f" np.arange({n}) // 6}})"
    )
    return f"{GIVEN}{data}\nm = {call}\n{then}\ncanary()\n"


@st.composite
def models(draw: Draw) -> str:
    """Models that should fit: checked against the dense evaluation, other orders, names, units, engines,
    and a saved copy."""
    n, seed = draw(st.sampled_from([12, 20, 30, 40])), draw(st.integers(0, 10_000))
    random = draw(st.sampled_from(["(1 | g)", "(1 | g) + (1 | h)", "(1 + x | g)", "diag(f | g)", "us(f | g)",
                                   "(x || g)", "cs(f | g)", "(1 | vm(g, K))", "ar1(t | g)", "(1 | g:f)", "spl(x)",
                                   "us(1 + x | vm(g, K))", "(0 + x | g)", "csh(f | g)", "(1 | g/f)", "exp(x, w | g)",
                                   "sph(x, t | f)", "gau(x, w | f)"]))  # fmt: skip
    residual = draw(st.sampled_from(["units"] * 6 + ["diag(f | units)", "ar1(t | h)", "exp(x | h)", "exp(x, t) + units",
                                                     "sph(x, w) + units"]))  # fmt: skip
    formula = f"y ~ {draw(st.sampled_from(['1', 'x', 'x + f', 'f', 'x*f', '0 + f', 'poly(x, 2)']))} + {random}"
    scale = draw(st.sampled_from([1.0, 1.0, 1.0, 1e-6, 1e6, 1e12]))
    method, constrain = draw(st.sampled_from(["REML", "REML", "ML"])), draw(st.sampled_from([True, True, True, False]))
    weights = draw(st.sampled_from([None, None, "w"]))
    given = {"relationships": "rels", "residual": repr(residual), "weights": repr(weights)}
    text = ", ".join(f"{k!r}: {v}" for k, v in given.items())
    return (
        f"{GIVEN}rng = np.random.default_rng({seed})\nn = {n}\n"
        "d = pd.DataFrame({'x': rng.normal(size=n).round(2), 'w': rng.integers(1, 4, n), 't': np.arange(n) % 4})\n"
        f"d['g'], d['h'] = ['g%d' % k for k in rng.integers(0, {draw(st.integers(3, 8))}, n)], ['h%d' % (k // 4) for k "
        "in range(n)]\nd['f'] = ['f%d' % (k % 3) for k in range(n)]\n"
        f"d['y'] = {scale} * (d['x'] + {draw(st.sampled_from([0.0, 0.5, 2.0]))} * "
        f"rng.normal(size=10)[d['g'].str[1:].astype(int)] + rng.normal(size=n))\ngiven = {{{text}}}\n"
        f"fit = checked(rb.MixedModel({formula!r}, d, **given).fit({method!r}, constrain={constrain}, "
        f"max_iterations=60, starts=1, progress=False), d)\ninvariant(fit, {formula!r}, d, 'g', given)\n"
        + ("saved_and_loaded(fit)\n" if draw(st.integers(0, 3)) == 0 else "")
    )


@st.composite
def pedigrees(draw: Draw) -> str:
    """Pedigrees, whole and broken: A against the tabular method, or an error."""
    n = draw(st.integers(1, 9))
    name = st.sampled_from([f"a{k}" for k in range(n + 1)])
    unknown = st.sampled_from(["0", "", None, "NA", 0, float("nan")])
    parent = st.one_of(unknown, unknown, name)
    ids = [f"a{k}" for k in range(n)]
    sound = draw(st.booleans())
    sires = [
        draw(st.one_of(st.none(), st.sampled_from(ids[:k:2] or [None]))) if sound else draw(parent) for k in range(n)
    ]
    dams = [
        draw(st.one_of(st.none(), st.sampled_from(ids[1:k:2] or [None]))) if sound else draw(parent) for k in range(n)
    ]
    if not sound and draw(st.booleans()):
        ids[draw(st.integers(0, n - 1))] = draw(st.one_of(name, unknown, st.integers(0, 3)))
    order = draw(st.permutations(range(n)))
    columns = [shown([c[k] for k in order]) for c in (ids, sires, dams)]
    make = draw(st.sampled_from(["rb.Pedigree({}, {}, {})"] * 4 + [
        "rb.Pedigree.from_frame(pd.DataFrame({{'id': {}, 'sire': {}, 'dam': {}}}))", "rb.Pedigree({}, {}, {}[:-1])",
        "rb.Pedigree.from_frame(pd.DataFrame({{'animal': {}, 'father': {}, 'mother': {}}}).astype('string'))",
        "rb.Pedigree(pd.Categorical({}), np.array({}, dtype=object), pd.Series({}))"]))  # fmt: skip
    after = draw(st.sampled_from(["", "", "p.inbreeding", "p.subset(p.labels[:2])", "p.dominance()", "str(p)",
                                  "p.statistics()", f"p.subset({draw(junk)})", f"p.dense({draw(junk)})"]))  # fmt: skip
    fit = (
        "d = pd.DataFrame({'id': np.tile(p.labels, 3), 'y': np.random.default_rng(1).normal(size=3 * "
        "len(p)).round(2)})\n"
        "checked(rb.MixedModel('y ~ 1 + (1 | vm(id, A))', d, {'A': p}).fit(progress=False, max_iterations=20), d)\n"
    )
    return f"p = {make.format(*columns)}\nnumerator(p)\n{after}\n" + (fit if draw(st.integers(0, 3)) == 0 else "")


@st.composite
def matrices(draw: Draw) -> str:
    """Matrices of every format, whole and broken, into every entry; Henderson's equations against least squares."""
    n, q = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    cells = st.one_of(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, WILD) if draw(st.booleans()) else NUMBERS

    def dense(rows: int, columns: int) -> str:
        values = [draw(st.lists(cells, min_size=columns, max_size=columns)) for _ in range(rows)]
        return f"np.array({shown(values)}).reshape({rows}, {columns})"

    kind = draw(st.sampled_from(["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]))
    as_sparse = f"sp.{kind}_{draw(st.sampled_from(['array', 'matrix']))}"
    spoil = draw(st.sampled_from([""] * 4 + [
        "m.indices[0] = 99", "m.indices[0] = -2", "m.indptr[1] = 77", "m.indptr = m.indptr[:-1]",
        "m.indices = m.indices.astype('int64')", "m.data = m.data[:-1]", "m.data = m.data.astype(object)",
        "m.data = m.data.astype(complex)", "m.data[0] = np.nan", "m.data = m.data.astype('float16')",
        "m.indices = m.indices[::-1].copy()", "m.indices[:] = 0", "m.coords = (m.coords[0] + 5, m.coords[1])",
        "m.row[0] = -1", "m.rows[0] = [0, 99]", "m.offsets = np.array([50])", "m.offsets = m.offsets.astype(float)",
        "m.indptr = m.indptr.astype('int64')", "m._shape = (2, 2)", "m.data = m.data * 1e300",
        "m.indptr = m.indptr[::-1].copy()", "m.indptr[-1] = 10**9", "m.data = m.data[:, :-1]",
        "m.indptr = m.indptr.astype(float)", "m._shape = (1000, 1000)", "dict.__setitem__(m, (50, 50), 1.0)",
        "m._dict[(50, 50)] = 1.0", "m._dict[(-1, 0)] = 1.0", "m.data = m.data.astype('U3')",
        "m.data = m.data.astype(bool)"]))  # fmt: skip
    guard = f"try:\n    {spoil or 'pass'}\nexcept (AttributeError, IndexError, ValueError, TypeError):\n    pass\n"
    entry = draw(
        st.sampled_from(
            [
                "Z",
                "X",
                "K",
                "relationship",
                "inverse",
                "henderson",
                "G",
                "R",
                "genotypes",
                "known",
                "pair",
                "dict",
                "plain",
                "weights",
                "step",
            ]
        )
    )
    head = f"n, q = {n}, {q}\ny, X, Z = np.arange(n) % 3 + 0.5, np.ones((n, 1)), {dense(n, q)}\n"
    rows, columns = {"Z": (n, q), "X": (n, q), "henderson": (n, q), "R": (n, n), "genotypes": (n, q)}.get(entry, (q, q))
    base = dense(rows, columns) if entry in ("Z", "X", "henderson", "genotypes") else f"product({dense(rows, columns)})"
    head += (
        f"m = {as_sparse}({base})\n{guard}"
        if entry not in ("plain", "weights") and draw(st.booleans())
        else f"m = {base}\n"
    )
    ids = "['i%d' % k for k in range(m.shape[0])]"
    call = {
        "Z": "checked(rb.MixedModel.from_matrices(y, X, [m]).fit(progress=False, max_iterations=20))",
        "X": "checked(rb.MixedModel.from_matrices(y, m, [Z]).fit(progress=False, max_iterations=20))",
        "K": "checked(rb.MixedModel.from_matrices(y, X, [Z], [m]).fit(progress=False, max_iterations=20))",
        "relationship": f"same_matrix(rb.Relationship(m, {ids}), m.toarray() if sp.issparse(m) else m)",
        "inverse": f"r = rb.Relationship(m, {ids}, inverse=True); r.dense(); r.logdet; r.diagonal",
        "henderson": "rb.henderson(y, X, m, 1.0, 2.0)",
        "G": "rb.henderson(y, X, Z, m, 1.0)",
        "R": "rb.henderson(y, X, Z, 1.0, m)",
        "genotypes": f"rb.genomic_relationship(rb.Genotypes.from_matrix(m, ids={ids})).dense()",
        "known": "rb.MixedModel('y ~ known(t | g, matrix=K)', {'y': np.arange(4.0 * q), 't': list(range(q)) * 4, "
        "'g': np.repeat(list('abcd'), q)}, {'K': m})",
        "pair": f"rb.SingleStep(rb.Pedigree({ids}, [0] * m.shape[0], [0] * m.shape[0]), (m, {ids})).precision",
        "dict": f"rb.MixedModel('y ~ 1 + (1 | vm(id, K))', {{'y': np.arange(2.0 * q), 'id': ({ids}) * 2}}, "
        f"{{'K': {{'matrix': m, 'labels': {ids}}}}})",
        "plain": "same_solution(rb.henderson(y, X, Z, 2.0, 1.0), y, X, Z, 2.0, 1.0)",
        "weights": f"rb.MixedModel.from_matrices(y, X, [Z], weights={draw(st.one_of(junk, numbers(n)))})",
        "step": f"rb.MixedModel.from_matrices({draw(st.one_of(junk, numbers(n)))}, "
        f"{draw(st.one_of(junk, st.just('X')))}, {draw(st.one_of(junk, st.just('[Z]')))}, K={draw(junk)})",
    }[entry]
    return f"{head}{call}\n"


@st.composite
def options(draw: Draw) -> str:
    """Any value for any option of fit, predict, function, intervals, contrasts, cross_validate."""
    n, seed = 24, draw(st.integers(0, 30))
    formula = draw(
        st.sampled_from(
            [
                "y ~ x + (1 | g)",
                "y ~ f + (1 + x | g)",
                "y ~ x + (1 | g) + (1 | h)",
                "y ~ x",
                "y ~ x + spl(z)",
                "y ~ f + diag(f | g)",
            ]
        )
    )
    data = f"d = {draw(frame(n, wild=False, response=f'list({tame(seed, n)})'))}"
    value = draw(st.one_of(junk, junk, junk, numbers(n), odd(n), labels(n)))
    number = st.sampled_from(
        [
            "0",
            "1",
            "-1",
            "1e-9",
            "1e9",
            "1e160",
            "np.nan",
            "0.5",
            "[[1, 0], [0, 1]]",
            "[[1, 2], [2, 1]]",
            "{'var(x)': 1}",
            "'a'",
        ]
    )
    mapping = (
        f"{{{draw(st.sampled_from(['g', 'residual', 'h', 'x', '', 'us(1+x|g)', '(1 + x | g)', 'units']))!r}: "
        f"{draw(number)}, 'residual': {draw(number)}}}"
    )
    name = draw(
        st.sampled_from(
            [
                "method",
                "algorithm",
                "constrain",
                "max_iterations",
                "tolerance",
                "starts",
                "start",
                "fix",
                "progress",
                "nothing",
            ]
        )
    )
    good = {
        "method": "'ML'",
        "algorithm": draw(st.sampled_from(["'ai'", "'em'", "'px-em'"])),
        "constrain": "False",
        "starts": "2",
        "start": mapping,
        "fix": mapping,
        "max_iterations": "3",
        "tolerance": "1e-3",
        "progress": "True",
        "nothing": "1",
    }[name]
    keyword = f"{name}={draw(st.sampled_from([good, good, value]))}"
    limit = "" if name == "max_iterations" else ", max_iterations=25"
    fit = f"m = rb.MixedModel({formula!r}, d)\nfit = m.fit(starts=1, progress=False{limit})\n"
    what = draw(st.sampled_from(["fit", "fit", "fit", "solve", "predict", "predict", "include", "new", "function",
                                 "function", "intervals", "contrasts", "cross", "folds", "blup", "save", "variogram",
                                 "starts", "many", "describe", "plot"]))  # fmt: skip
    extra = {"starts": "", "progress": ""}.get(name, ", starts=1, progress=False")
    new = draw(frame(draw(st.integers(0, 4))))
    of_term = ["blup", "accuracy", "covariance", "correlation", "loadings", "covariance_function", "correlation_errors"]
    plots = ["plot_convergence", "plot_residuals", "plot_random_effects", "plot_variogram"]
    call = {
        "fit": f"checked(rb.MixedModel({formula!r}, d).fit({keyword}{extra}{limit}), d)",
        "solve": f"s = rb.MixedModel({formula!r}, d).{draw(st.sampled_from(['solve', 'loglik']))}"
        f"({draw(st.sampled_from([mapping, value]))})\nstr(s)",
        "predict": f"{fit}fit.predict({draw(st.sampled_from(['d', 'd.iloc[:3]', 'None', 'd.iloc[:0]', value]))}, "
        f"{draw(st.sampled_from(['include', 'new_levels', 'se', 'interval', 'nonestimable']))}="
        f"{draw(st.sampled_from([value, 'True', repr('population')]))})",
        "include": f"{fit}fit.predict(d, include="
        f"[{draw(st.one_of(formulas.jumbled(), st.sampled_from(['g', 'h', '(1 | g)', 'x'])))!r}])",
        "new": f"{fit}fit.predict({new}, new_levels='population')",
        "function": f"{fit}str(fit.function({draw(formulas.function())!r}))",
        "intervals": f"{fit}fit.intervals({draw(st.sampled_from(['method', 'level', 'functions']))}="
        f"{draw(st.sampled_from([value, repr('wald'), '0.9']))})",
        "contrasts": f"{fit}fit.contrasts({draw(st.sampled_from([repr('g'), value]))}, {value})",
        "cross": f"{fit}str(rb.cross_validate(fit, {draw(st.sampled_from(['3', repr('loo'), '2', value]))}))",
        "folds": f"{fit}str(rb.cross_validate(fit, 3, "
        f"{draw(st.sampled_from(['term', 'groups', 'seed', 'refit', 'h2']))}={value}))",
        "blup": f"{fit}fit.{draw(st.sampled_from(of_term))}({draw(st.sampled_from([repr('g'), value]))})",
        "save": f"{fit}rb.load(fit.save({draw(st.sampled_from(['s', 'a/b', 's.csv', '.', 'é', 's s', '-s', '']))!r}))\n"
        f"fit.save({value})",
        "variogram": f"{fit}fit.variogram("
        f"{draw(st.sampled_from(['', 'row=' + repr('t') + ', col=' + repr('z'), value]))})",
        "starts": f"{fit}str(fit.check_starts("
        f"{draw(st.sampled_from(['n=1', 'seed=2, n=1', 'n=' + value, 'seed=' + value + ', n=1']))}))",
        "many": f"str(rb.fit_many('~ x + (1 | g)', d, {draw(st.sampled_from([repr(['y', 'z']), repr('y'), value]))}, "
        f"{draw(st.sampled_from(['', 'max_iterations=5', 'relationships=' + value]))}))",
        "describe": f"str(rb.MixedModel({formula!r}, d, engine="
        f"{draw(st.sampled_from([repr('dense'), repr('sparse'), repr('spectral'), value]))}).describe())",
        "plot": f"{fit}import matplotlib.pyplot as plt\nfit.{draw(st.sampled_from(plots))}()\nplt.close('all')",
    }[what]
    return f"{data}\n{call}\n"


@st.composite
def folders(draw: Draw) -> str:
    """Damaged folders of saved fits."""
    return f"damaged_folder({draw(st.integers(0, 1_000_000))})\n"


KINDS: dict[str, Script] = {
    "frames": frames(),
    "formulas": formula_texts(),
    "models": models(),
    "pedigrees": pedigrees(),
    "matrices": matrices(),
    "options": options(),
    "values": values(),
    "tables": tables(),
    "genotypes": genotype_files(),
    "pedigree files": pedigree_files(),
    "commands": clicks(),
    "folders": folders(),
}
