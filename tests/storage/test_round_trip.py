"""A saved fit is plain JSON, CSV and arrays, and comes back the same."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from equations.models import animals, case, field

import remlblup as rb
from remlblup import datasets


def same(one, other) -> None:
    assert other.converged == one.converged
    assert str(other.convergence) == str(one.convergence)
    assert other.method == one.method
    assert other.status == one.status
    assert other.options == one.options
    assert np.array_equal(one.theta, other.theta)
    assert other.loglik == pytest.approx(one.loglik, rel=1e-13)
    for name in ("variance_components", "fixed_effects", "random_effects", "history"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12, obj=name)
    pd.testing.assert_series_equal(one.residuals, other.residuals, rtol=1e-8, atol=1e-10)


def round_trip(fit, tmp_path):
    folder = fit.save(tmp_path / "fit")
    back = rb.load(folder)
    same(fit, back)
    return back


def test_pedigree_model(tmp_path):
    frame, pedigree, *_ = animals(5)
    fit = rb.MixedModel("y ~ x + (1 | vm(animal, A)) + (1 | dam)", frame, {"A": pedigree}, weights="w").fit()
    back = round_trip(fit, tmp_path)
    expression = "animal / (animal + dam + residual)"
    assert tuple(back.function(expression)) == pytest.approx(tuple(fit.function(expression)), rel=1e-9)
    pd.testing.assert_frame_equal(back.predict(frame.head()), fit.predict(frame.head()), rtol=1e-9)


def test_pedigree_with_options_keeps_its_matrix(tmp_path):
    """What ids, sires and dams do not say is not lost."""
    frame, pedigree, *_ = animals(5)
    known = np.append(np.asarray(pedigree.labels, dtype=object), None)
    columns = pedigree.labels, known[pedigree.sire], known[pedigree.dam]
    for options in (
        {"ignore_inbreeding": True},
        {"selfing": np.where(pedigree.sire < 0, 1, 0), "hermaphrodites": True},
    ):
        changed = rb.Pedigree(*columns, **options)
        assert abs(changed.precision - pedigree.precision).max() > 0.01
        fit = rb.MixedModel("y ~ x + (1 | vm(animal, A))", frame, {"A": changed}).fit()
        same(fit, rb.load(fit.save(tmp_path / str(len(options)))))


def test_pedigree_with_text_labels_that_look_like_numbers(tmp_path):
    labels = ["007", "010", "a b", "1e3", "NA", "x,y"]
    pedigree = rb.Pedigree(
        labels, [None, None, "007", "007", "007", "a b"], [None, None, "010", "010", "010", "1e3"], unknown=()
    )
    rng = np.random.default_rng(0)
    d = pd.DataFrame({"y": rng.normal(size=24), "id": np.tile(labels, 4)})
    back = round_trip(rb.MixedModel("y ~ 1 + (1 | vm(id, P))", d, {"P": pedigree}).fit(), tmp_path)
    assert set(back.random_effects["level"]) == set(labels)


def test_categories_keep_their_order_and_reference_level(tmp_path):
    d = field(11)
    d["site"] = pd.Categorical(d["site"], categories=["c", "a", "b"], ordered=True)
    d["g"] = pd.Categorical(d["gk"] + 1)
    d["flag"] = d["z"] > 0
    fit = rb.MixedModel("y ~ site + flag + x + (1 | g)", d).fit(method="ML")
    back = round_trip(fit, tmp_path)
    assert list(back.fixed_effects.index) == list(fit.fixed_effects.index)
    pd.testing.assert_frame_equal(back.predict(d), fit.predict(d), rtol=1e-9)


@pytest.mark.parametrize("index", [[f"plot {k}" for k in range(48)], list(range(1000, 1048)), pd.RangeIndex(5, 53)])
def test_custom_index(tmp_path, index):
    d = field(11).set_index(pd.Index(index))
    d.iloc[3, d.columns.get_loc("x")] = np.nan
    back = round_trip(rb.MixedModel("y ~ x + (1 + x | g)", d).fit(), tmp_path)
    assert list(back.residuals.index) == [v for k, v in enumerate(index) if k != 3]


def test_index_of_dates(tmp_path):
    d = field(11).set_index(pd.date_range("2020-01-01", periods=48))
    back = round_trip(rb.MixedModel("y ~ x + (1 | g)", d).fit(), tmp_path)
    assert back.residuals.index.equals(d.index)


def test_aliased_columns_of_matrices_are_remembered(tmp_path):
    c = case("id")
    X = np.column_stack([c.oracle.X, 2 * c.oracle.X[:, 1]])
    fit = rb.MixedModel.from_matrices(c.oracle.y, X, [c.oracle.terms[0].Z[0]]).fit()
    assert fit.aliased == ("x2",)
    assert round_trip(fit, tmp_path).aliased == ("x2",)


@pytest.mark.parametrize("name", ["us3", "diag2", "site", "vm_us", "wide"])
def test_structures(tmp_path, name):
    round_trip(case(name).model.fit(), tmp_path)


def test_boundary_fixed_and_not_converged(tmp_path):
    model = rb.MixedModel("Yield ~ 1 + (1 | Batch)", datasets.load("dyestuff2"))
    assert round_trip(model.fit(), tmp_path).status == ("boundary", "free")
    assert round_trip(model.fit(fix={"Batch": 1.5}), tmp_path).status == ("fixed", "free")
    assert not round_trip(model.fit(max_iterations=1), tmp_path).converged


def test_relationship_matrix(tmp_path):
    rng = np.random.default_rng(2)
    M = rng.normal(size=(9, 30))
    K = pd.DataFrame(
        M @ M.T / 30 + 0.05 * np.eye(9), index=[f"g{k}" for k in range(9)], columns=[f"g{k}" for k in range(9)]
    )
    round_trip(rb.MixedModel("y ~ x + (1 | vm(g, K))", field(11), {"K": K}).fit(), tmp_path)


@pytest.mark.parametrize("engine", ["sparse", "dense", "spectral"])
def test_singular_relationship_by_every_engine(tmp_path, engine):
    labels = [f"g{k}" for k in range(9)]
    M = np.random.default_rng(2).normal(size=(9, 30))
    M -= M.mean(axis=0)
    K = pd.DataFrame(M @ M.T / 30, index=labels, columns=labels)
    fit = rb.MixedModel("y ~ x + (1 | vm(g, K))", field(11), {"K": K}, engine=engine).fit()
    assert "9 levels, 9 with records, rank 8" in str(fit.summary())
    round_trip(fit, tmp_path)


def test_model_from_matrices(tmp_path):
    c = case("vm")
    terms = c.oracle.terms
    model = rb.MixedModel.from_matrices(
        c.oracle.y, c.oracle.X, [t.Z[0] for t in terms], [terms[0].K, None], ["animal", "dam"], weights=c.oracle.weights
    )
    back = round_trip(model.fit(), tmp_path)
    assert back.formula is None


def test_what_is_written_is_plain_json_and_csv(tmp_path):
    fit = case("us2").model.fit()
    folder = fit.save(tmp_path / "out" / "fit")
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".json", ".csv"}
    content = json.loads(
        (folder / "fit.json").read_text(encoding="utf-8"), parse_constant=lambda c: pytest.fail(f"{c} is not JSON")
    )
    assert content["formula"] == "y ~ x + (1 + x | g)"
    assert content["converged"] is True
    assert content["loglik"] == fit.loglik
    table = pd.read_csv(folder / "variance_components.csv")
    np.testing.assert_allclose(table["estimate"], fit.theta, rtol=1e-12)
    for name in ("fixed_effects", "random_effects", "history"):
        assert len(pd.read_csv(folder / f"{name}.csv")) == len(getattr(fit, name))


def test_to_dict_is_json():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", datasets.load("dyestuff2")).fit()
    text = json.dumps(fit.to_dict(), allow_nan=False)
    content = json.loads(text)
    assert content["variance_components"][0]["std_error"] is None
    assert content["variances"] == {"Batch": 0.0, "residual": fit.theta[1]}


def test_loading_what_is_not_a_fit(tmp_path):
    with pytest.raises(rb.DataError, match=r"fit\.json"):
        rb.load(tmp_path)
    (tmp_path / "fit.json").write_text("{}", encoding="utf-8")
    with pytest.raises(rb.DataError, match=r"fit\.json"):
        rb.load(tmp_path / "fit.json")
    (tmp_path / "fit.json").write_text("no json", encoding="utf-8")
    with pytest.raises(rb.DataError, match=r"fit\.json"):
        rb.load(tmp_path)
    with pytest.raises(rb.DataError, match="is a file"):
        case("id").model.fit().save(tmp_path / "fit.json")


def forest() -> tuple[pd.DataFrame, dict]:
    """Records of ramets, and the pedigree of their ortets."""
    rng = np.random.default_rng(8)
    rows = {
        "ids": ["p", "q", "t1", "t2", "t3", "r1", "r2", "r3"],
        "sires": [None, None, "p", "p", "t1", None, None, None],
        "dams": [None, None, "q", "q", "t2", None, None, None],
        "clones": {"r1": "t1", "r2": "t1", "r3": "t3"},
    }
    d = pd.DataFrame({"id": ["r1", "r2", "r3", "t2", "p", "q"] * 4, "x": rng.normal(size=24)})
    level = {"p": 1.0, "q": -1.0, "t2": 2.0, "r1": 3.0, "r2": 3.0, "r3": -2.0}
    return d.assign(y=rng.normal(size=24) + d["id"].map(level)), rows


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hermaphrodites": True},
        {"ignore_inbreeding": True},
        {"selfing": [3, 0.5, 0, 2, 0, 0, 0, 0], "hermaphrodites": True},
        {"selfing": [np.inf, 1, 0, 2, 0, 0, 0, 0], "groups": ["G", "H"]},
        {"groups": ["G", "H"], "ignore_inbreeding": True},
    ],
)
def test_every_option_of_a_pedigree_is_kept(tmp_path, options):
    d, rows = forest()
    if "groups" in options:
        rows = rows | {
            "sires": ["G", "G", "p", "p", "t1"] + [None] * 3,
            "dams": ["H", "G", "q", "q", "t2"] + [None] * 3,
        }
    given = rb.Pedigree(**rows, **options)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": given}).fit(max_iterations=3)
    back = round_trip(fit, tmp_path)
    held = back.specification.random[0].relationship
    assert isinstance(held, rb.Pedigree)
    assert held.labels.tolist() == given.labels.tolist()
    assert abs(held.precision - given.precision).max() == 0
    assert held.ramets.tolist() == given.ramets.tolist()
    assert held.hermaphrodites == given.hermaphrodites
    assert held.ignore_inbreeding == given.ignore_inbreeding
    new = pd.DataFrame({"id": ["r1", "t1", "r3", "t3", "p"], "x": 0.5})
    pd.testing.assert_frame_equal(back.predict(new), fit.predict(new), rtol=1e-9)
    prediction = fit.predict(new)["prediction"].to_numpy()
    assert prediction[0] == prediction[1]
    assert prediction[2] == prediction[3]


@pytest.mark.parametrize("kind", ["random groups", "metafounders", "X"])
def test_clones_of_what_a_pedigree_makes_are_kept(tmp_path, kind):
    d, rows = forest()
    if kind == "X":
        given = rb.Pedigree(**rows).sex_linked(dict.fromkeys(["p", "t1"], "M") | dict.fromkeys(["q", "t2", "t3"], "F"))
    else:
        groups = {"sires": ["G", "G", "p", "p", "t1"] + [None] * 3, "dams": ["H", "G", "q", "q", "t2"] + [None] * 3}
        ped = rb.Pedigree(**(rows | groups), groups=["G", "H"])
        given = ped.with_random_groups(0.4) if kind == "random groups" else ped.with_metafounders(0.4)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": given}).fit(max_iterations=3)
    back = round_trip(fit, tmp_path)
    new = pd.DataFrame({"id": ["r1", "t1", "r3", "t3"], "x": 0.5})
    pd.testing.assert_frame_equal(back.predict(new), fit.predict(new), rtol=1e-9)


def test_new_records_of_ramets_are_those_of_their_ortet():
    """They had no effect at all, as levels that are not in the model."""
    d, rows = forest()
    solved = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": rb.Pedigree(**rows)}).solve(
        {"vm(id, A)": 2.0, "residual": 1.0}
    )
    for new_levels in ("error", "population"):
        at = solved.predict(pd.DataFrame({"id": ["r1", "t1", "r3"], "x": 0.0}), new_levels=new_levels, se=True)
        u = solved.random_effects.set_index("level")["estimate"]
        expected = solved.fixed_effects.loc["Intercept", "estimate"] + u[["t1", "t1", "t3"]].to_numpy()
        np.testing.assert_allclose(at["prediction"], expected, rtol=1e-12)
        assert at["std_error"].iloc[0] == at["std_error"].iloc[1]
    assert set(u.index) == {"p", "q", "t1", "t2", "t3"}


def test_the_count_of_dropped_records_comes_back(tmp_path):
    data = datasets.load("sleepstudy")
    data.loc[[3, 9], "Reaction"] = np.nan
    fit = rb.MixedModel("Reaction ~ Days + (1 | Subject)", data).fit()
    again = rb.load(fit.save(tmp_path / "fit"))
    assert "2 more dropped for missing values: Reaction 2" in str(fit.summary())
    assert str(again.summary()) == str(fit.summary())
