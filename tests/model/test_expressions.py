"""Expressions of formulas: what they mean, and that text is never code."""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import remlblup as rb
from remlblup import cli, errors
from remlblup.model.algebra import read_terms
from remlblup.model.evaluation import evaluate
from remlblup.model.expression import read
from remlblup.model.wilkinson import parsed_formula


def frame(seed: int = 5, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    d = pd.DataFrame({"a": rng.integers(2, 30, n), "b": rng.integers(1, 9, n), "g": np.arange(n) % 10})
    d["f"] = np.array(list("pqr"))[np.arange(n) // 2 % 3]
    u = rng.normal(size=10)
    d["post"] = np.round(20 + 2 * u[d["g"]] + 0.3 * d["a"] + rng.normal(size=n)).astype(int)
    d["pre"] = np.round(12 + u[d["g"]] + rng.normal(size=n)).astype(int)
    return d


# -- the response is arithmetic on columns ---------------------------------------------------

RESPONSES = {
    "post - pre": lambda d: d["post"] - d["pre"],
    "post-pre": lambda d: d["post"] - d["pre"],
    "(post-pre)": lambda d: d["post"] - d["pre"],
    "post + pre": lambda d: d["post"] + d["pre"],
    "post * pre": lambda d: d["post"] * d["pre"],
    "post / pre": lambda d: d["post"] / d["pre"],
    "(post - pre)/pre": lambda d: (d["post"] - d["pre"]) / d["pre"],
    "log(post)-log(pre)": lambda d: np.log(d["post"]) - np.log(d["pre"]),
    "log(post/pre)": lambda d: np.log(d["post"] / d["pre"]),
    "post^2": lambda d: d["post"] ** 2,
    "post**2": lambda d: d["post"] ** 2,
    "-post^2 + 1": lambda d: 1 - d["post"] ** 2,
    "2^(post/10)": lambda d: 2.0 ** (d["post"] / 10),
    "post - 1": lambda d: d["post"] - 1,
    "-post": lambda d: -d["post"],
    "100 * post": lambda d: 100 * d["post"],
    "{post - pre}": lambda d: d["post"] - d["pre"],
    "I(post - pre)": lambda d: d["post"] - d["pre"],
    "np.sqrt(post) % 3": lambda d: np.sqrt(d["post"]) % 3,
    "post // 7": lambda d: d["post"] // 7,
    "where(post > 20, post, pre)": lambda d: d["post"].where(d["post"] > 20, d["pre"]),
    "Q('post') - pre": lambda d: d["post"] - d["pre"],
}


@pytest.mark.parametrize("response", RESPONSES)
def test_the_response_is_arithmetic(response, tmp_path):
    d = frame()
    fit = rb.MixedModel(f"{response} ~ f + (1 | g)", d).fit(progress=False)
    plain = rb.MixedModel("made ~ f + (1 | g)", d.assign(made=RESPONSES[response](d))).fit(progress=False)
    assert fit.loglik == pytest.approx(plain.loglik, abs=1e-9)
    assert fit.specification.response == response
    np.testing.assert_allclose(fit.fitted + fit.residuals, RESPONSES[response](d), rtol=1e-12, atol=1e-10)
    new = d.iloc[3:9].drop(columns=["post", "pre"])
    np.testing.assert_allclose(fit.predict(new)["prediction"], plain.predict(new)["prediction"], rtol=1e-9)
    again = rb.load(fit.save(tmp_path / "fit"))
    assert again.loglik == pytest.approx(fit.loglik, abs=1e-9)
    ours, theirs = rb.cross_validate(fit, 5), rb.cross_validate(plain, 5)
    np.testing.assert_allclose(ours.predictions, theirs.predictions, rtol=1e-7)
    many = rb.fit_many("~ f + (1 | g)", d, [response, "pre"])
    assert many[response].loglik == pytest.approx(plain.loglik, abs=1e-9)


def test_traits_may_be_arithmetic_and_are_called_as_written():
    d = frame()
    formula = "c({}, pre) ~ trait + trait:f + us(trait | g)"
    given = {"us(trait | g)": np.diag([2.0, 1.0]), "residual": np.diag([1.0, 2.0])}
    model = rb.MixedModel(formula.format("post - pre"), d, residual="us(trait | units)")
    plain = rb.MixedModel(formula.format("made"), d.assign(made=d["post"] - d["pre"]), residual="us(trait | units)")
    assert model.loglik(given) == pytest.approx(plain.loglik(given), abs=1e-9)
    assert model.specification.responses == ("post - pre", "pre")
    assert model.specification.records.frame["trait"].cat.categories.tolist() == ["post - pre", "pre"]
    assert rb.MixedModel("cbind(post, pre) ~ trait + (1 | g)", d).specification.responses == ("post", "pre")


def test_rows_where_a_part_of_the_response_is_missing_are_set_aside():
    d = frame().astype({"pre": float})
    d.loc[4, "pre"] = np.nan
    assert rb.MixedModel("post - pre ~ f + (1 | g)", d).specification.records.dropped == {"pre": 1}


# -- powers ----------------------------------------------------------------------------------

POWERS = {
    "I(a^2)": lambda d: d["a"] ** 2,
    "{a^2}": lambda d: d["a"] ** 2,
    "I(a**2)": lambda d: d["a"] ** 2,
    "exp(-(a/10)^2)": lambda d: np.exp(-((d["a"] / 10) ** 2)),
    "I(a^2 + b^2)": lambda d: d["a"] ** 2 + d["b"] ** 2,
    "I(a^0.5)": lambda d: d["a"] ** 0.5,
    "I(a^-1)": lambda d: 1.0 / d["a"],
    "I(2^b)": lambda d: 2.0 ** d["b"],
    "I(a*b)": lambda d: d["a"] * d["b"],
    "I(a > 10)": lambda d: (d["a"] > 10).astype(float),
    "I((a > 10) * (b < 5))": lambda d: ((d["a"] > 10) & (d["b"] < 5)).astype(float),
    "I((a > 10) + (b < 5) + (f == 'p'))": lambda d: (d["a"] > 10) * 1.0 + (d["b"] < 5) + (d["f"] == "p"),
    "I(5 < a < 20)": lambda d: d["a"].between(5, 20, inclusive="neither").astype(float),
    "I(f == 'p')": lambda d: (d["f"] == "p").astype(float),
    "sqrt(a)": lambda d: np.sqrt(d["a"]),
    "log10(a)": lambda d: np.log10(d["a"]),
    "abs(a - 15)": lambda d: np.abs(d["a"] - 15),
    "np.maximum(a, 10)": lambda d: np.maximum(d["a"], 10),
    "I(np.pi * a)": lambda d: np.pi * d["a"],
    "exp10(b/10)": lambda d: 10 ** (d["b"] / 10),
    "center(a)": lambda d: d["a"] - d["a"].mean(),
}


@pytest.mark.parametrize("kind", [int, float, "Int64", "float32"])
@pytest.mark.parametrize("text", POWERS)
def test_operators_inside_calls_are_arithmetic(text, kind):
    d = frame().astype({"a": kind, "b": kind})
    expected = POWERS[text](frame()).to_numpy(dtype=float)
    tolerance = 1e-6 if kind == "float32" else 1e-13
    X = rb.MixedModel(f"post ~ {text} + (1 | g)", d).specification.fixed.matrix
    np.testing.assert_allclose(X[:, 1], expected, rtol=tolerance, atol=tolerance)
    (design,) = rb.MixedModel(f"post ~ (0 + {text} | g)", d).specification.random
    np.testing.assert_allclose(design.columns[0].toarray().sum(axis=1), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("text", ["a^2", "(a)^2", "a**3", "(f:a)^2"])
@pytest.mark.parametrize("formula", ["post ~ {} + (1 | g)", "post ~ ({} | g)"])
def test_a_power_of_a_single_term_is_not_taken_for_that_term(text, formula):
    with pytest.raises(rb.FormulaError, match=r"I\("):
        rb.MixedModel(formula.format(text), frame())


@pytest.mark.parametrize(
    "text, advice", [("I(a & b)", r"\(a > 1\) \* "), ("I(a | b)", r"\(a > 1\) \+ "), ("I(~a)", "1 - ")]
)
def test_operators_of_bits_are_refused_with_what_to_write(text, advice):
    with pytest.raises(rb.FormulaError, match=advice):
        rb.MixedModel(f"post ~ {text} + (1 | g)", frame())


def arithmetic() -> st.SearchStrategy[tuple[str, str]]:
    """Arithmetic on the columns a and b: as a formula has it, and as Python has it on arrays of floats."""

    def pair(ours: str, python: str | None = None):
        return lambda *parts: (
            ours.format(*(p[0] if isinstance(p, tuple) else p for p in parts)),
            (python or ours).format(*(p[1] if isinstance(p, tuple) else p for p in parts)),
        )

    leaf = st.sampled_from(
        [("a", "a"), ("b", "b"), ("`a`", "a"), ("2", "two"), ("0.5", "(two/4)"), ("3.25", "(two*1.625)")]
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(pair("({} {} {})"), inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner),
            st.builds(pair("({} {} {})", "(1.0*({} {} {}))"), inner, st.sampled_from(["<", ">=", "==", "!="]), inner),
            st.builds(pair("{}({})"), st.sampled_from(["abs", "np.sign", "sqrt", "np.log1p", "-", "+"]), inner),
            st.builds(pair("({})^{}", "({})**{}"), inner, st.sampled_from(["2", "-1", "0.5"])),
        ),
        max_leaves=12,
    )


@given(arithmetic())
@settings(max_examples=150)
def test_arithmetic_is_that_of_python(texts):
    d = frame(n=20)
    names = {"np": np, "sqrt": np.sqrt, "abs": np.abs, "two": np.full(20, 2.0)}
    names |= {c: d[c].to_numpy(dtype=float) for c in ("a", "b")}
    with np.errstate(all="ignore"):
        expected = eval(texts[1], names)
        got = evaluate(read(texts[0]), d)
    np.testing.assert_allclose(np.asarray(got, dtype=float), expected, rtol=1e-12)
    np.testing.assert_array_equal(evaluate(read(read(texts[0]).text), d), got)


# -- terms: against formulaic's own reading --------------------------------------------------

ALGEBRA = (
    "1;0;-1;a;a+b;a*b;a*b*c;a:b;a/b;a/b/c;a/(b+c);(a+b)/c;(a+b)^2;(a+b+c)**2;(a+b+c)^3;a*b-a:b;a*b-a;0+a;a-1;a+0;"
    "b %in% a;a+b %in% a;(a+b)*(c+d);a*(b+c)-a:c;log(a)*b;C(a)+b:C(a);-1+a:b;`my x`*b;(a+b)^2-b;a:(b+c);(a*b):c;"
    "a+(b+c);a-a;(a+b)-a;a/b*c;a*b/c;poly(a, 2):b;1+a;a+1;0+a:b+c;(a*b*c)^2;a+b-1-b;a+b+a;I(a + b);{a + b};np.log(a);"
    "a.b*c"
)


@pytest.mark.parametrize("text", ALGEBRA.split(";"))
def test_terms_are_those_of_wilkinson(text):
    from formulaic import Formula

    assert list(map(repr, parsed_formula(text))) == list(map(repr, Formula(text)))


# -- text is never code ----------------------------------------------------------------------

ATTACKS = (
    "np.f2py.os.system('touch {0}')", "x.to_csv('{0}')", "np.save('{0}', x)", "np.savetxt('{0}', x)",
    "I(open('{0}', 'w'))", "open('{0}', 'w')", "numpy.f2py.os.system('touch {0}')",
    "np.lib.npyio.os.system('touch {0}')", "I(np.f2py.os.system('touch {0}'))", "log(np.f2py.os.system('touch {0}'))",
    "{{np.f2py.os.system('touch {0}')}}", "(np.f2py.os.system('touch {0}'))(x)", "(np.f2py.os.system)('touch {0}')",
    "x[np.f2py.os.system('touch {0}')]", "__import__('os').system('touch {0}')",
    "I(__import__('os').system('touch {0}'))", "eval('open(\"{0}\", \"w\")')", "exec('open(\"{0}\", \"w\")')",
    "getattr(x, 'to_csv')('{0}')", "x.pipe(lambda d: d.to_csv('{0}'))", "I((lambda q: q.to_csv('{0}'))(x))",
    "I([open('{0}', 'w') for i in [1]])", "I({{open('{0}', 'w') for i in [1]}})",
    "I(sum(open('{0}', 'w') for i in [1]))", "I((q := open('{0}', 'w')))", "I(f'{{open(\"{0}\", \"w\")}}')",
    "I('{{0.__class__}}'.format(x))", "I('%s' % open('{0}', 'w'))", "x.__class__.__mro__", "I(x.__class__.__base__)",
    "I(().__class__.__bases__[0].__subclasses__())", "I(x if open('{0}', 'w') else x)", "I(x and open('{0}', 'w'))",
    "I(x < open('{0}', 'w'))", "C(x, contr.treatment(open('{0}', 'w')))", "C(f, contr.__init__.__globals__)",
    "poly(x, degree=open('{0}', 'w'))", "bs(x, knots=[open('{0}', 'w')])", "center(x, _state=open('{0}', 'w'))",
    "I(*[open('{0}', 'w')])", "I(**{{'data': open('{0}', 'w')}})", "Q(open('{0}', 'w'))", "Q('x').to_csv('{0}')",
    "np.vectorize(open)('{0}')", "np.frompyfunc(open, 2, 1)('{0}', 'w')", "ｎｐ.f2py.os.system('touch {0}')",
    "ｏｐｅｎ('{0}', 'w')", "ｅｖａｌ('open(\"{0}\", \"w\")')", "np.log.__class__('{0}')", "leg(x, open('{0}', 'w'))",
    "poly.__globals__", "I(yield x)", "I(await x)", "where(x > 1, open('{0}', 'w'), x)", "I(`x`.to_csv('{0}'))",
    "`__import__`('os').system('touch {0}')", "I(x.T.to_csv('{0}'))", "scale(x.to_csv('{0}'))",
)  # fmt: skip
WAYS_IN = {
    "fixed": "y ~ {} + (1 | g)",
    "bracket": "y ~ (x + {}):f + (1 | g)",
    "offset": "y ~ x + offset({}) + (1 | g)",
    "slope": "y ~ x + (1 + {} | g)",
    "group": "y ~ x + (1 | {})",
    "structure": "y ~ x + us({} | g)",
    "smooth": "y ~ x + spl({})",
    "option": "y ~ x + fa(f | g, k={})",
    "response": "{} ~ x + (1 | g)",
    "trait": "c(y, {}) ~ trait + (1 | g)",
}


def small() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    f = np.array(list("pq"))[np.arange(24) // 2 % 2]
    return pd.DataFrame({"y": rng.normal(size=24), "x": rng.uniform(2, 3, 24), "g": np.arange(24) % 6, "f": f})


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("attack", ATTACKS)
def test_text_is_never_code(attack, way, tmp_path):
    target = tmp_path / "touched"
    with pytest.raises(rb.RemlBlupError) as raised:
        rb.MixedModel(WAYS_IN[way].replace("{}", attack.format(target)), small())
    assert not target.exists()
    assert "Traceback" not in str(raised.value) and "ufunc" not in str(raised.value)


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_is_never_code_by_other_entries(attack, tmp_path, saved, capsys):
    target = tmp_path / "touched"
    text = attack.format(target)
    for call in (
        lambda: rb.MixedModel("y ~ x + (1 | g)", small(), residual=text),
        lambda: rb.MixedModel("y ~ x + (1 | g)", small(), residual=f"diag({text} | units)"),
        lambda: rb.MixedModel("y ~ x + (1 | g)", small(), weights=text),
        lambda: rb.fit_many(f"~ {text} + (1 | g)", small(), ["y"])["y"],
        lambda: rb.fit_many("~ x + (1 | g)", small(), [text]),
        lambda: saved[1].function(text),
    ):
        with pytest.raises(rb.RemlBlupError):
            call()
    folder = saved[0]
    content = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    content["model"]["formula"] = f"y ~ {text} + (1 | g)"
    (tmp_path / "data.csv").write_bytes((folder / "data.csv").read_bytes())
    (tmp_path / "fit.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(rb.RemlBlupError):
        rb.load(tmp_path)
    assert cli.main(["fit", str(folder / "data.csv"), f"y ~ {text} + (1 | g)", "--quiet"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_is_never_code_as_a_name(attack, tmp_path, saved, capsys, monkeypatch):
    """Where the name of a term, a function, a relationship or a folder of a fit is asked for,
    text is no code either."""
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "touched"
    text = attack.format(target)
    folder, fit = saved
    model = rb.MixedModel("y ~ x + (1 | g)", small())
    calls = [
        lambda: fit.predict(small(), include=[text]),
        lambda: fit.predict(small(), include=text),
        lambda: fit.intervals(functions=[text]),
        lambda: fit.covariance(text),
        lambda: fit.blup(text),
        lambda: fit.contrasts(text, [0, 1]),
        lambda: rb.cross_validate(fit, 3, term=text),
        lambda: rb.register_function(text, np.log),
        lambda: model.fit(start={text: 1.0}),
        lambda: model.fit(fix={"residual": text}),
        lambda: model.solve({text: 1.0, "residual": 1.0}),
        lambda: model.loglik({"g": text, "residual": 1.0}),
        lambda: rb.MixedModel(f"y ~ x + (1 | vm(g, {text}))", small()),
        lambda: rb.MixedModel(f"y ~ x + known(f | g, matrix={text})", small()),
        lambda: rb.MixedModel(text, small()),
    ]
    for call in calls:
        with pytest.raises(rb.RemlBlupError):
            call()
    for key in ("formula", "residual", "weights", "response"):
        content = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
        for part in (content, content["model"]):
            if key in part:
                part[key] = f"{text} ~ x + (1 | g)" if key == "formula" else text
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / "data.csv").write_bytes((folder / "data.csv").read_bytes())
        (tmp_path / "d" / "fit.json").write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(rb.RemlBlupError):
            rb.load(tmp_path / "d", verify=key != "formula")
    data = str(folder / "data.csv")
    plain = [data, "y ~ x + (1 | g)", "--quiet"]
    lines = [
        ["fit", data, f"{text} ~ x + (1 | g)"],
        ["fit", *plain, f"--residual={text}"],
        ["fit", *plain, f"--weights={text}"],
        ["fit", *plain, f"--function={text}"],
        ["fit", *plain, f"--function=h={text}"],
        ["fit", *plain, f"--start={text}=1"],
        ["fit", *plain, f"--fix=residual={text}"],
        ["fit", *plain, f"--factor={text}"],
        ["fit", text, "y ~ x + (1 | g)"],
        ["fit", *plain, f"--relationship=K={text}"],
        ["blup", *plain, f"--variances={text}=1"],
    ]
    for arguments in lines[
        ATTACKS.index(attack) % 4 :: 4
    ]:  # every option with every fourth attack: a command takes its time
        assert cli.main(arguments) == 2, arguments
    assert "Traceback" not in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"d"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, rb.Fit]:
    fit = rb.MixedModel("y ~ x + (1 | g)", small()).fit(progress=False)
    return fit.save(tmp_path_factory.mktemp("saved") / "fit"), fit


def test_nothing_is_evaluated_while_a_formula_is_read():
    for text in ("f(x)", "np.f2py.os.system('x')", "x.to_csv('y')"):
        with pytest.raises(rb.FormulaError):
            read(text)
        with pytest.raises(rb.FormulaError):
            read_terms(f"a + {text}")


@pytest.mark.parametrize("text", ["9**9**9**9", "I(9**9**9**9)", "I(x*10**400)", "I(" + "-" * 3000 + "x)",
                                  "I(" + "(" * 300 + "x" + ")" * 301, "*".join(f"I(x+{i})" for i in range(40)),
                                  "(x+g+f)^99", "(" * 250 + "x" + ")" * 250, "bs(x, df=10**9)", "bs(x, df=1000000000)",
                                  "poly(x, 999999999)", "leg(x, 50)", "spl(x, knots=100000)",
                                  "pspline(x, g, knots=(100000, 100000))", "I(x\0)", "\0", "I(" + "1" * 5000 + "*x)",
                                  "x" * 6000 + "(x)"])  # fmt: skip
def test_what_would_take_for_ever_is_refused_at_once(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rb.CodesWarning)
        with pytest.raises(rb.RemlBlupError):
            rb.MixedModel(f"y ~ {text} + (1 | g)", small())


# -- functions of the user's -----------------------------------------------------------------


def test_a_registered_function_is_called(tmp_path):
    def thi(temperature, humidity, scale=1.0):
        return scale * (temperature - 0.55 * (1 - humidity / 100) * (temperature - 14.5))

    rb.register_function("thi_of_test", thi)
    d = frame().assign(t=lambda d: d["a"] + 10.0, h=lambda d: 60.0 + d["b"])
    formula = "post ~ thi_of_test(t, h, scale=2) + (1 | g)"
    fit = rb.MixedModel(formula, d).fit(progress=False)
    np.testing.assert_allclose(fit.specification.fixed.matrix[:, 1], thi(d["t"], d["h"], 2), rtol=1e-14)
    plain = rb.MixedModel("post ~ made + (1 | g)", d.assign(made=thi(d["t"], d["h"], 2))).fit(progress=False)
    new = d.iloc[:7]
    made = new.assign(made=thi(new["t"], new["h"], 2))
    np.testing.assert_allclose(fit.predict(new)["prediction"], plain.predict(made)["prediction"], rtol=1e-9)
    folder = fit.save(tmp_path / "fit")
    assert rb.load(folder).loglik == pytest.approx(fit.loglik, abs=1e-9)
    from remlblup.model import functions

    del functions._registered.functions["thi_of_test"]
    read.cache_clear()
    read_terms.cache_clear()
    with pytest.raises(rb.RemlBlupError, match=r"thi_of_test.*register_function"):
        rb.load(folder)


@pytest.mark.parametrize("name", ["log", "C", "vm", "a.b", "class", "1x", "", "__x", "np", 3])
def test_names_that_cannot_be_registered(name):
    with pytest.raises(rb.OptionError, match="register"):
        rb.register_function(name, np.log)


def test_wrong_values_of_a_registered_function_are_named():
    rb.register_function("short_of_test", lambda x: np.ones(3))
    rb.register_function("broken_of_test", lambda x: 1 / 0)
    with pytest.raises(rb.FormulaError, match=r"short_of_test.*each of the rows"):
        rb.MixedModel("post ~ short_of_test(a) + (1 | g)", frame())
    with pytest.raises(rb.FormulaError, match="broken_of_test"):
        rb.MixedModel("post ~ broken_of_test(a) + (1 | g)", frame())
    with pytest.raises(rb.OptionError, match="function"):
        rb.register_function("nothing_of_test", 3)


# -- spellings of R --------------------------------------------------------------------------

SAME = {
    "factor(b)": "C(b)",
    "as.factor(b)": "C(b)",
    "ns(a, df=3)": "cr(a, df=4)",
    "ns(a, 4)": "cr(a, df=5)",
    "ns(a, knots=c(8, 16))": "cr(a, knots=[8, 16])",
    "poly(a, 2, raw=TRUE)": "a + I(a*a)",
    "sqrt(a) + log10(a) + abs(b - 4)": "np.sqrt(a) + log(a) + np.abs(b - 4)",
    "ifelse(a > 10, 1, 0)": "I(a > 10)",
    "C(f, Treatment('q'))": "f",
    "C(f, contr.sum)": "f",
    "C(f, Treatment(reference='q'))": "f",
    "C(b, contr.treatment(4))": "C(b)",
    "C(f, {'u': [1, 0, -1], 'v': [0, 1, -1]})": "f",
    "C(f, [[1, 0], [0, 1], [-1, -1]])": "f",
}


@pytest.mark.parametrize("written", SAME)
def test_spellings_of_r_work(written):
    d = frame()
    first, second = (
        rb.MixedModel(f"post ~ {fixed} + (1 | g)", d).fit(method="ML", progress=False)
        for fixed in (written, SAME[written])
    )
    assert first.loglik == pytest.approx(second.loglik, abs=1e-7)
    np.testing.assert_allclose(first.predict(d.iloc[:9])["prediction"], first.fitted[:9], rtol=1e-9)
    np.testing.assert_allclose(first.fitted, second.fitted, rtol=1e-6)


def test_the_dot_is_all_other_columns(tmp_path):
    d = frame().rename(columns={"b": "b (kg)"})
    fit = rb.MixedModel("post ~ . - pre + (1 | g)", d).fit(progress=False)
    plain = rb.MixedModel("post ~ a + `b (kg)` + f + (1 | g)", d).fit(progress=False)
    assert fit.loglik == pytest.approx(plain.loglik, abs=1e-9)
    assert list(rb.load(fit.save(tmp_path / "fit")).params.index) == list(fit.params.index) == list(plain.params.index)
    squared = rb.MixedModel("post ~ (. - pre)^2 + (1 | g)", d).specification
    assert squared.p == rb.MixedModel("post ~ (a + `b (kg)` + f)^2 + (1 | g)", d).specification.p
    many = rb.fit_many("~ . + (1 | g)", d, ["post", "pre"])
    assert list(many["post"].params.index) == list(many["pre"].params.index) == list(plain.params.index)
    with pytest.raises(rb.FormulaError, match="fixed part"):
        rb.MixedModel("post ~ a + (. | g)", d)
    with pytest.raises(rb.FormulaError, match="no column is left"):
        rb.MixedModel("post ~ . + (1 | g)", d[["post", "g"]])


WRITE = {
    "post ~ (1 g)": r"\(1 \| g\)",
    "post ~ a + (1 + a g)": r"operator is missing between 'a' and 'g'",
    "post ~ a b": "operator is missing",
    "post ~ a + s(b)": r"spl\(x\)",
    "post ~ mean(a)": r"center\(x\)",
    "post ~ np.mean(a)": r"center\(x\)",
    "post ~ Error(g)": r"\(1 \| block\)",
    "post ~ relevel(f, ref='q')": "contr.treatment",
    "post ~ C(f, contr.treatment('z'))": "'z'.*levels are 'p'",
    "post ~ C(f, levels=['p', 'q'])": "leaves out 'r'",
    "post ~ C(f, 3)": "a coding is",
    "post ~ C(f, [1, 2, 3])": "a coding is",
    "post ~ C(f, {'u': [1, 2]})": "weights of the 3 levels",
    "post ~ C(f, contr.sum(3))": "'treatment'",
    "post ~ C(f, levels='pqr')": "list",
    "post ~ log(a - 12)": r"row\(s\)",
    "post ~ (log(a - 12) | g)": r"row\(s\)",
    "post ~ a − b": "only looks like '-'",
    "post ~ log(a × b)": r"only looks like '\*'",
    "post ~ C(f, contr.treatment(‘q’))": "only looks like",
    "post ~ spl(units)": "'units'",
    "post ~ a + (1 | g + units)": "units",
    "post ~ as.numeric(f)": "to_numeric",
    "post ~ cut(a, 3)": "pandas.cut",
    "post ~ lag(a)": "earlier values",
    "post ~ poly(a, 2.5)": "whole number",
    "post ~ poly(a)(b)": "missing between|closes|cannot",
    "post ~ poly(a, deg=2)": "degree",
    "post ~ log(a, 2)": r"log\(\) takes 1",
    "post ~ log(f)": "'f'.*holds text",
    "post ~ f - 'p'": "quotes",
    "post ~ 2*a": r"I\(2\*x\)",
    "post ~ a +": "nothing after",
    "post ~ a %% 2": "'%'",
    "post ~ I(a = 2)": "option",
    "post ~ I(a && b)": "multiply",
    "post ~ a - offset(b)": "offset",
    "post ~ I(offset(b))": "stands alone",
    "C(post) ~ a": "factor",
    "poly(post, 2) ~ a": "several",
    "3 ~ a": "no column",
    "f ~ a": "'f' holds text",
    "post ~ nothing(a)": "'nothing'.*not known",
    "post ~ bs(a, knots='x')": "knots are places",
    "post ~ bs(a, df=3, lower_bound='x')": "lower_bound",
    "post ~ spl(a, knots=100)": "100 knots",
    "post ~ leg(a, 40)": "polynomial",
}


@pytest.mark.parametrize("formula", WRITE)
def test_errors_say_what_to_write(formula):
    with pytest.raises(rb.RemlBlupError, match=WRITE[formula]) as raised:
        rb.MixedModel(formula if "|" in formula else f"{formula} + (1 | g)" if formula[-1] != "+" else formula, frame())
    assert not any(
        word in str(raised.value) for word in ("ufunc", "SyntaxError", "Traceback", "⧛", "TypeError", "formulaic")
    )


WORDS = {
    "reml": (lambda: rb.MixedModel("post ~ a + (1 | g)", frame(), reml=False), "method='ML'"),
    "REML": (lambda: rb.MixedModel("post ~ a + (1 | g)", frame(), REML=False), "method='ML'"),
    "fit, reml": (lambda: rb.MixedModel("post ~ a + (1 | g)", frame()).fit(reml=False), "method='ML'"),
    "maxiter": (lambda: rb.MixedModel("post ~ a + (1 | g)", frame()).fit(maxiter=9), "max_iterations="),
    "a slip": (lambda: rb.MixedModel("post ~ a + (1 | g)", frame()).fit(max_iteration=9), "max_iterations="),
    "of fit": (lambda: rb.MixedModel("post ~ a + (1 | g)", frame(), method="ML"), r"argument of fit\(\)"),
    "of the model": (
        lambda: rb.MixedModel("post ~ a + (1 | g)", frame()).fit(weights="a"),
        r"argument of MixedModel\(\)",
    ),
    "groups": (lambda: rb.MixedModel("post ~ a", frame(), groups="g"), r"\(1 \| g\)"),
    "pedigree": (lambda: rb.MixedModel("post ~ a", frame(), pedigree=1), "relationships="),
    "no data": (lambda: rb.MixedModel("post ~ a"), "needs data="),
    "too many": (lambda: rb.MixedModel("post ~ a", frame(), None, "units", None, 1), "at most 5"),
    "many": (lambda: rb.fit_many("~ a + (1 | g)", frame(), ["post"], maxiter=9), "max_iterations="),
    "predict": (
        lambda: rb.MixedModel("post ~ a + (1 | g)", frame()).fit(progress=False).predict(frame(), level=1),
        "level=",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_arguments_of_other_programs_name_ours(case):
    call, match = WORDS[case]
    with pytest.raises(rb.OptionError, match=match):
        call()


@pytest.mark.parametrize(
    "value", [5, [1], {"a": 1}, None, np.ones(3), pd.DataFrame(), object(), float("nan"), (1, 2), ""]
)
def test_arguments_of_other_types_are_errors_of_ours(value):
    d = frame()
    fit = rb.MixedModel("post ~ a + (1 | g)", d).fit(progress=False)
    calls = [
        lambda: rb.MixedModel(value, d),
        lambda: rb.MixedModel("post ~ a", value),
        lambda: rb.fit_many(value, d, ["post"]),
    ]
    calls += [lambda n=n: rb.MixedModel("post ~ a", d, **{n: value}) for n in ("missing", "engine")]
    calls += [
        lambda n=n: rb.MixedModel("post ~ a + (1 | g)", d).fit(**{n: value})
        for n in ("method", "algorithm", "tolerance", "constrain")
    ]
    calls += [lambda: fit.function(value), lambda: fit.covariance(value), lambda: rb.load(value)]
    for call in calls:
        with pytest.raises(rb.RemlBlupError):
            call()


def test_powers_in_functions_of_components():
    fit = rb.MixedModel("post ~ a + (1 | g)", frame()).fit(progress=False)
    assert float(fit.function("g^2 / (g + residual)^2")) == float(fit.function("g**2 / (g + residual)**2"))
    for text in ("9**9**9**9", "(" * 400 + "g" + ")" * 400, "-" * 5000 + "g", "g\0"):
        with contextlib.suppress(rb.FormulaError):
            assert not np.isfinite(float(fit.function(text)))


# -- values ----------------------------------------------------------------------------------


def test_transforms_remember_the_data_of_the_fit():
    d = frame()
    for text in (
        "center(a)",
        "scale(a)",
        "poly(a, 2)",
        "bs(a, df=5)",
        "ns(a, df=3)",
        "leg(a, 2)",
        "I(center(log(a))*2)",
    ):
        fit = rb.MixedModel(f"post ~ {text} + (1 | g)", d).fit(progress=False)
        for rows in (d.iloc[[4]], d.iloc[10:20]):
            np.testing.assert_allclose(fit.predict(rows)["prediction"], fit.fitted[rows.index], rtol=1e-9)


@pytest.mark.parametrize("coding", ["C(f, contr.treatment('q'))", "C(f, Sum)", "C(f, levels=['r', 'q', 'p'])", "f"])
def test_codings_are_those_of_the_fit_where_new_data_lack_levels(coding):
    d = frame()
    fit = rb.MixedModel(f"post ~ {coding} + (1 | g)", d).fit(progress=False)
    for rows in (d[d["f"] == "p"], d[d["f"] == "q"].iloc[:1]):
        np.testing.assert_allclose(fit.predict(rows)["prediction"], fit.fitted[rows.index], rtol=1e-9)


def test_new_data_beyond_the_knots_are_refused_with_what_to_do():
    fit = rb.MixedModel("post ~ bs(a, df=5) + (1 | g)", frame()).fit(progress=False)
    with pytest.raises(rb.DataError, match="lower_bound="):
        fit.predict(frame().assign(a=1000))


def test_evaluation_of_a_constant_fills_the_rows():
    d = frame()
    assert evaluate(read("2^3 + np.pi*0"), d).tolist() == [8.0] * len(d)
    assert issubclass(errors.CodesWarning, UserWarning)
