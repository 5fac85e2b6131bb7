"""A saved fit comes back on the equations it was made by, whatever would be chosen for its model now."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.equations.choice import make_equations
from remlblup.storage.verified import checksum

K = np.kron(np.eye(6), 0.5 * np.ones((2, 2)) + 0.5 * np.eye(2))
FAMILY = "y ~ x + (1 | vm(id, K))"
#: Formula, residual, options of the model; the equations it ends on.
CASES = {
    "field at correlations of 1": (FAMILY, "ar1(row):ar1(col)", {}, "V with the residual among the effects"),
    "dense relationship": (FAMILY, "diag(t | units)", {}, "equations"),
    "dense relationship, in time": (FAMILY, "ar1(t | g)", {}, "equations"),
    "asked for dense": (FAMILY, "units", {"engine": "dense"}, "V"),
    "asked for sparse": (FAMILY, "units", {"engine": "sparse"}, "equations"),
    "asked for spectral": (FAMILY, "units", {"engine": "spectral"}, "spectral"),
    "groups": ("y ~ x + (1 | g)", "units", {}, "equations"),
}


def records() -> pd.DataFrame:
    rng, n = np.random.default_rng(1), np.arange(12)
    g = n // 2
    u = rng.normal(size=6)
    d = pd.DataFrame({"g": g, "t": n % 2, "y": u[g] + 1e-9 * rng.normal(size=12), "x": rng.normal(size=12)})
    return d.assign(row=n // 4, col=n % 4, id=n, noisy=d["y"] + rng.normal(size=12))


def same(one: rb.Fit, other: rb.Fit) -> None:
    assert other._equations.kind == one._equations.kind
    assert other._equations.stats.engine == one._equations.stats.engine
    assert other.loglik == one.loglik and np.array_equal(other.theta, one.theta)
    for name in ("random_effects", "fixed_effects", "variance_components"):
        pd.testing.assert_frame_equal(getattr(other, name), getattr(one, name), rtol=1e-12, atol=1e-14, obj=name)


@pytest.mark.filterwarnings("ignore::remlblup.ConvergenceWarning", "ignore::remlblup.CodesWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_equations_of_the_fit(tmp_path, case):
    formula, residual, options, kind = CASES[case]
    data = records()
    if kind != "V with the residual among the effects":
        data["y"] = data["noisy"]
    fit = rb.MixedModel(formula, data, {"K": (K, np.arange(12))}, residual=residual, **options).fit(progress=False)
    assert fit._equations.kind == kind
    same(fit, rb.load(fit.save(tmp_path / "fit")))


def test_these_cases_are_not_chosen_anew():
    """What the saved engine would have led to before is another one in at least two of them."""
    others = []
    for formula, residual, options, kind in CASES.values():
        model = rb.MixedModel(formula, records(), {"K": (K, np.arange(12))}, residual=residual, **options)
        chosen = make_equations(model.specification, make_equations(model.specification, model.computation).asked)
        others.append(chosen.kind != kind)
    assert sum(others) >= 2


def test_the_reduction_shared_by_many_responses(tmp_path):
    fits = rb.fit_many(
        "~ x + (1 | vm(id, K))", records(), ["noisy", "col"], {"K": (K, np.arange(12))}, engine="spectral"
    )
    assert fits["noisy"]._equations.kind == "spectral"
    for name, fit in fits.items():
        same(fit, rb.load(fit.save(tmp_path / name)))


def rewritten(folder: Path, change: dict) -> None:
    """The same fit.json with other content, its checksum right."""
    file = folder / "fit.json"
    content = {k: v for k, v in json.loads(file.read_text()).items() if k != "checksum"} | change
    content = {k: v for k, v in content.items() if v is not None or k not in change}
    file.write_text(json.dumps({**content, "checksum": checksum(content)}))


def test_folders_that_do_not_say_it_and_ones_that_say_what_is_not(tmp_path):
    fit = rb.MixedModel("noisy ~ x + (1 | g)", records()).fit(progress=False)
    folder = fit.save(tmp_path / "fit")
    assert json.loads((folder / "fit.json").read_text())["equations"] == "equations"
    rewritten(folder, {"equations": None})  # as versions before wrote it
    assert "equations" not in json.loads((folder / "fit.json").read_text())
    assert rb.load(folder).loglik == pytest.approx(fit.loglik, rel=1e-12)
    for wrong in ("magic", 1, ["V"]):
        rewritten(folder, {"equations": wrong})
        with pytest.raises(rb.StoreError):
            rb.load(folder)
