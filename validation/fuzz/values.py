"""Every argument of the public functions with values of every type: an answer or a refusal,
never an error of Python's."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Draw = Any

VALUES = ["None", "np.nan", "np.inf", "-1", "0", "1e300", "1e-300", "''", "'x'", "[]", "{}", "()", "True", "np.ones(3)",
          "object()", "b'g'", "1j", "np.int64(3)", "'\\0'", "pd.NA", "'g'", "3", "0.5", "pd.DataFrame()", "[['g']]",
          "10**30", "'all'", "[None]", "[1.5]", "{'a': 1}", "pd.Series([1, 2])", "{1, 2}", "['g', 'g']", "{'g': 'x'}",
          "range(2)", "np.array('g')", "np.zeros((2, 2))", "(np.eye(2), ['a', 'b'])", "pd.NaT", "float('-inf')",
          "[[1, 2], [3]]", "np.datetime64('2020')", "sp.csr_array(np.eye(2))", "Path('x')", "'a' * 300",
          "-0.0"]  # fmt: skip
DATA = """\
rng = np.random.default_rng(0)
d = pd.DataFrame({'y': rng.normal(size=24), 'z': rng.normal(size=24), 'x': np.linspace(1, 3, 24).round(2)})
d['t'] = np.arange(24) % 4
d['g'], d['f'] = ['g%d' % (i % 6) for i in range(24)], ['f%d' % (i % 3) for i in range(24)]
"""
FIT = "fit = rb.MixedModel('y ~ x + (1 + x | g)', d).fit(starts=1, progress=False, max_iterations=8)\n"
FACTORS = (
    "fit = rb.MixedModel('y ~ 1 + us(leg(x, 1) | g) + fa(f | g, k=1)', d).fit(starts=1, progress=False, "
    "max_iterations=4)\n"
)
FIELD = (
    "fit = rb.MixedModel('y ~ x', d.assign(row=d.index // 6, col=d.index % 6), "
    "residual='ar1(row):ar1(col)').fit(progress=False, max_iterations=4)\n"
)
PEDIGREE = "p = rb.Pedigree(list('abcd'), [None, None, 'a', 'a'], [None, None, 'b', 'b'])\n"
GENOTYPES = "G = rb.Genotypes.from_matrix(rng.integers(0, 3, (5, 9)), ids=list('abcde'))\n"
MODEL = "rb.MixedModel('y ~ x + (1 | g)', d"


def with_each(call: str, names: str, others: str = "") -> list[str]:
    """The call with one of its arguments given, and what else it needs."""
    needed = dict(part.split("=", 1) for part in others.split("; ")) if others else {}
    return [call.format(", ".join(f"{k}={v}" for k, v in (needed | {name: "V"}).items())) for name in names.split()]


CALLS: dict[str, list[str]] = {
    "": [
        *with_each(MODEL + ", {})", "residual weights missing engine relationships unknown_parents"),
        "rb.MixedModel(V, d)", "rb.MixedModel('y ~ x', V)", "rb.MixedModel('y ~ x + (1 | vm(g, K))', d, {'K': V})",
        "rb.MixedModel('y ~ x + known(f | g, matrix=K)', d, {'K': V})",
        *with_each(MODEL + ").fit({})", "method algorithm constrain max_iterations tolerance starts start fix progress",
                   "progress=False; starts=1; max_iterations=2"),
        *with_each("rb.fit_many({})",
                   "formula data responses relationships residual weights missing engine start method progress",
                   "formula='~ x + (1 | g)'; data=d; responses=['y']; max_iterations=2"),
        *with_each("rb.MixedModel.from_matrices({})", "y X Z K names weights fixed_names engine",
                   "y=d.y; X=np.ones((24, 1)); Z=[np.eye(6)[d.index % 6]]"),
        *with_each("rb.henderson({})", "y X Z G R",
                   "y=d.y; X=np.ones((24, 1)); Z=np.eye(6)[d.index % 6]; G=1.0; R=2.0"),
        MODEL + ").solve(V)", MODEL + ").loglik(V)", MODEL + ").solve({'g': V, 'residual': 1})",
        MODEL + ").solve({'g': 1, 'residual': V})", MODEL + ").solve({'g': 1, 'residual': 1}, method=V)",
        MODEL + ").approximate_reliabilities(V, 'g')", "rb.load(V)", "rb.load('x', verify=V)", "rb.datasets.load(V)",
        "rb.register_function(V, np.log)", "rb.register_function('of_fuzz', V)", "rb.register_structure(V)",
        *with_each("rb.Relationship({})", "matrix labels inverse bend", "matrix=np.eye(2); labels=['a', 'b']"),
        *with_each("rb.Pedigree({})", "ids sires dams unknown", "ids=['a', 'b']; sires=[0, 0]; dams=[0, 'a']"),
        *with_each("rb.Pedigree.from_frame(pd.DataFrame({{'id': [1, 2], 'sire': [0, 0], 'dam': [0, 1]}}), {})",
                   "id sire dam unknown groups selfing clones"),
        "rb.Pedigree([1, 2, 3], ['s', 's', 1], ['d', 'd', 2], groups=['s', 'd']).with_random_groups(V)",
        "rb.Pedigree([1, 2, 3], ['s', 's', 1], ['d', 'd', 2], groups=['s', 'd']).with_metafounders(V)",
        "rb.Pedigree.from_frame(V)", *with_each("rb.Genotypes.from_matrix({})", "M ids markers missing",
                                                "M=np.ones((2, 2)); ids=['a', 'b']"), "rb.Genotypes.from_text(V)",
        "rb.Genotypes.from_vcf(V)", "rb.Genotypes.from_bed(V)",
    ],
    FIT: [
        "fit.predict(V)", *with_each("fit.predict(d, {})", "include new_levels se nonestimable"),
        *with_each("fit.intervals({})", "method level functions"), "fit.function(V)", "fit.contrasts(V, ['g0', 'g1'])",
        "fit.contrasts('g', V)", "fit.contrasts('1 + x | g', ['g0', 'g1'], V)", "fit.save(V)", "fit.blup(V)",
        "fit.accuracy(V)", *with_each("fit.check_starts({})", "n seed progress", "n=1"), "fit.covariance(V)",
        "fit.correlation(V)", "fit.correlation_errors(V)", "fit.loadings(V)", "fit.save('x', escape=V)",
        *with_each("rb.cross_validate(fit, {})", "folds term groups seed refit h2 progress"), "rb.cross_validate(V)",
        "rb.snp_effects(fit, 'g', V)",
    ],
    FACTORS: ["fit.covariance_function('us(leg(x, 1) | g)', V)", "fit.eigenfunctions('us(leg(x, 1) | g)', V)",
              "fit.loadings('fa(f | g, k=1)', V)", "fit.factor_scores('fa(f | g, k=1)', V)",
              "fit.covariance_function(V)", "fit.factor_scores(V)"],
    FIELD: with_each("fit.variogram({})", "trial row col"),
    PEDIGREE: ["p.dense(V)", "p.subset(V)", "p.index(V)", "p.inverse_subset(V)", "p.multiply(V)",
               "rb.SingleStep(V, p.subset(p.labels))", "rb.SingleStep(p, V)",
               *with_each("rb.blend(p.subset(p.labels), p.subset(p.labels), {})", "weight"),
               *with_each("rb.tune(p.subset(p.labels), p.subset(p.labels), {})", "method")],
    GENOTYPES: ["rb.genomic_relationship(V)", *with_each("rb.genomic_relationship(G, {})", "method frequencies block"),
                "rb.genomic_matrix(V)"],
}  # fmt: skip
MEANS = "fit = rb.MixedModel('y ~ f * x + (1 | g)', d).fit(starts=1, progress=False, max_iterations=8)\n"
#: What methods of a fit need beside the argument in question.
NEEDED = {
    "bootstrap": "n=2; workers=1; progress=False", "check_starts": "n=1", "intervals": "", "profile": "points=2",
    "surface": "a='g'; b='residual'; points=3", "plot_surface": "a='g'; b='residual'; points=3",
    "marginal_means": "factors='f'", "heritability": "term='g'", "refit": "y=d.y", "test": "L=[[1, 0, 0, 0, 0, 0]]",
    "report": "path='r.html'", "save": "path='s'", "contrasts": "term='g'; between=[('g0', 'g1')]",
    "function": "expression='g/residual'",
}  # fmt: skip


def of_methods() -> list[str]:
    """Every public method of a fit with each of its arguments."""
    import inspect

    from remlblup import Fit

    calls = []
    for name, method in inspect.getmembers(Fit, inspect.isfunction):
        taken = [] if name.startswith("_") else list(inspect.signature(method).parameters)[1:]
        if taken:
            needed = NEEDED.get(name, "term='g'" if "term" in taken else "")
            calls += with_each(f"fit.{name}({{}})", " ".join(taken), needed)
    return calls


CALLS[MEANS] = [
    *of_methods(), "rb.likelihood_ratio(V, fit)", "rb.likelihood_ratio(fit, V)", "rb.compare(fit, V)", "rb.compare(V)",
    *with_each("rb.likelihood_ratio(rb.MixedModel('y ~ f * x', d).fit(progress=False), fit, {})", "null seed"),
    *with_each("fit.marginal_means('f').contrasts({})", "method adjust reference"),
    "fit.marginal_means('f').letters(V)",
]  # fmt: skip
PAIRS = [(setting, call) for setting, calls in CALLS.items() for call in calls]


@st.composite
def values(draw: Draw) -> str:
    """One call with one value."""
    setting, call = draw(st.sampled_from(PAIRS))
    return f"{DATA}{setting}V = {draw(st.sampled_from(VALUES))}\n{call}\n"
