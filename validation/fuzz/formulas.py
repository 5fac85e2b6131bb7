"""Formulas, residuals and functions of components as text: of a grammar, and of its tokens in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Draw = Any

COVARIATES = ["x", "z", "t"]
FACTORS = ["g", "h", "f"]
CALLS = ["log(x)", "I(x^2)", "poly(x, 2)", "bs(x, df=4)", "ns(x, df=3)", "center(x)", "scale(z)", "leg(x, 2)", "C(t)",
         "C(f, Sum)", "exp(z)", "sqrt(x)", "x:z", "f:x", "f*x", "C(f)", "C(g)", "np.log1p(x)", "{x + z}",
         "where(x > 1, x, z)", "I(x > 0)", "x/z", "offset(z)", "factor(t)", "cr(x, df=4)", "cc(z, df=3)", "bs(x, df=2)",
         "poly(z, 40)", "C(f, contr.treatment('g9'))", "(x + z)^2", "x %in% f", "standardize(x)", "I(1/x)", "leg(z, 0)",
         "scale(t)", "x - x", "0", "-1", "1"]  # fmt: skip
RANDOM = ["(1 | g)", "(1 | h)", "(1 | g) + (1 | h)", "(1 + x | g)", "(x || g)", "(0 + x | g)", "(1 | g/h)", "(1 | g:h)",
          "diag(f | g)", "us(f | g)", "us(1 + x | g)", "cs(f | g)", "csh(f | g)", "ar1(t | g)", "ar1h(t | g)",
          "exp(x | g)", "toep(t | g)", "corg(f | g)", "corgh(f | g)", "fa(f | g, k=1)", "rr(f | g, k=1)",
          "us(leg(x, 1) | g)", "spl(x)", "spl(z)", "pspline(x, z)", "(1 | g + h)", "(1 | units)", "(f | g)",
          "(1 | vm(g, K))", "us(1 + x | vm(g, K))", "diag(f | vm(g, K))", "(1 | vm(g, K) + vm(h, K))",
          "us(vm(g, K) + vm(h, K))", "known(f | g, matrix=S)", "(1 | f)", "(1 | t)", "(poly(x, 2) | g)",
          "(bs(x, df=4) | g)", "(x + z || g)", "fa(t | g, k=2)", "rr(t | g, k=2)", "diag(t | h)", "exp(x, z | g)",
          "gau(t, w | f)", "sph(x, w | g)", "lin(z, t | h)", "ratio(x, z | f)", "mat(x, w | f)", "mat(x | g, nu=1.5)",
          "exp(x, z | f, metric=each)", "sph(x, z | f, metric=angle)", "gau(x, z | f, metric=earth)",
          "(1 | vm(g, K):vm(h, L))", "(1 | vm(g, K):f)", "us(f | vm(g, K):h)", "(1 | vm(g, K):vm(g, K))",
          "us(vm(g, K) + (0.5*vm(g, K) + w*vm(h, K)))", "(1 | w*g + z*h)", "(1 | 0.5*g + h)"]  # fmt: skip
RESIDUALS = ["units"] * 12 + ["diag(f | units)", "ar1(t | g)", "us(t | g)", "exp(x | g)", "cs(f | g)", "power(x)",
                              "power(w)", "ar1(t):ar1(h)", "ar1(t):ar1(x) + units", "units | f", "toep(t | g)",
                              "corgh(f | g)", "csh(t | g)", "fa(t | g, k=1)", "ar1h(t | g)", "exp(t | g) | f",
                              "diag(g | units)", "us(f | units)", "known(f | g, matrix=S)", "nothing", "",
                              "exp(x, w) + units", "exp(x, z)", "sph(x, t | f) + units", "gau(t, w | g)",
                              "mat(x, w) + units", "lin(x, z | h) + units", "ratio(x, w | f)", "known(w)",
                              "known(w) + units", "known(K)", "known(g, K) + units"]  # fmt: skip
TOKENS = [*"yxzgfhtw", "y", "g", "x", "|", "||", "~", "+", "-", "*", ":", "/", "^", "(", ")", "[", "]", "{", "}", ",",
          "1", "0", "2", "0.5", "1e3", "=", "'a'", '"', "`x`", "`", ".", "..", "vm(g, K)", "log", "poly", "bs", "C",
          "I", "us", "diag", "fa", "ar1", "leg", "spl", "units", "trait", "c(", "k=2", "%in%", "<", "==", "!", "&", "@",
          "#", ";", "\\", "\n", " ", "None", "lambda", "x.T", "__class__", "f'", "ｘ", "é", "²", "π", "−", "‘a’",
          "np.log", "np.", "offset(", "where(", "True", "nan", "inf", "!=", "**", "//", "->", ":=", "9" * 40, "a" * 300,
          "\0", "\ufeff"]  # fmt: skip


@st.composite
def fixed(draw: Draw) -> str:
    """The fixed part."""
    parts = draw(st.lists(st.sampled_from(COVARIATES * 3 + FACTORS * 2 + CALLS), max_size=3))
    return " + ".join(["1", *parts]) if draw(st.booleans()) else " + ".join(parts or ["1"])


@st.composite
def formula(draw: Draw) -> str:
    """A formula that makes sense more often than not."""
    left = draw(
        st.sampled_from(
            ["y"] * 12
            + ["log(y)", "y - x", "c(y, x)", "c(y, z, x)", "y^2", "-y", "g", "I(y)", "cbind(y, z)", "`y`", "trait"]
        )
    )
    random = draw(st.lists(st.sampled_from(RANDOM), max_size=2))
    body = draw(fixed())
    if left.startswith(("c(", "cbind")):
        body = f"trait + {body}"
        random = [
            draw(
                st.sampled_from(
                    ["us(trait | g)", "diag(trait | g)", "(1 | g)", "fa(trait | g, k=1)", "us(trait | vm(g, K))"]
                )
            )
        ]
    return f"{left} ~ {' + '.join([body, *random])}"


@st.composite
def jumbled(draw: Draw) -> str:
    """Tokens in any order, or a formula with some of them in it."""
    if draw(st.booleans()):
        return draw(st.sampled_from(["", " "])).join(draw(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=14)))
    text = draw(formula())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 2))
        text = text[:place] + draw(st.sampled_from(TOKENS)) + text[place + cut :]
    return text


@st.composite
def function(draw: Draw) -> str:
    """A function of the components, or something that is none."""
    names = [
        "g",
        "residual",
        "h",
        "vm(g, K)",
        "us(1 + x | g)[x]",
        "us(1 + x | g)[Intercept, x]",
        "0",
        "1",
        "2.5",
        "1e300",
        "(g + residual)",
    ]
    operators = ["+", "-", "*", "/", "^", "**", "%", "//", ">", ",", " ", "@"]
    text = draw(st.sampled_from(names))
    for _ in range(draw(st.integers(0, 3))):
        text += draw(st.sampled_from(operators[:6] * 3 + operators)) + draw(st.sampled_from(names))
    return draw(
        st.sampled_from(
            [
                "{}",
                "{}",
                "{}",
                "log({})",
                "sqrt({})",
                "exp({})",
                "({}",
                "{})",
                "__import__({})",
                "-{}",
                "[{}]",
                "{}.real",
            ]
        )
    ).format(text)
