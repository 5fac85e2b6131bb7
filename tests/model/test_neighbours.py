"""Direct and competition effects with their covariance, and memberships of several groups: against dense algebra."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from oracle import Oracle, Term

import remlblup as rb

SIDE = 12
SIDES = ["north", "south", "east", "west"]
SUM = " + ".join(f"vm({side}, A)" for side in SIDES)
WEIGHED = "us(vm(tree, A) + (w*vm(north, A) + vm(south, A)))"
BOTH = f"us(vm(tree, A) + ({SUM}))"


def pedigree(n: int = SIDE * SIDE) -> rb.Pedigree:
    """Trees of 12 fathers and 24 mothers."""
    rng = np.random.default_rng(4)
    parents = [f"p{k}" for k in range(36)]
    trees = [f"t{k}" for k in range(n)]
    sires = [None] * 36 + [parents[k] for k in rng.integers(0, 12, n)]
    dams = [None] * 36 + [parents[k] for k in rng.integers(12, 36, n)]
    return rb.Pedigree(parents + trees, sires, dams)


def stand(side: int = SIDE) -> pd.DataFrame:
    """A square of trees, their four neighbours and the distances of these, none beyond the edge."""
    trees = np.array([f"t{k}" for k in range(side * side)], dtype=object).reshape(side, side)
    outer = np.full((side + 2, side + 2), None, dtype=object)
    outer[1:-1, 1:-1] = trees
    shifts = {"north": outer[:-2, 1:-1], "south": outer[2:, 1:-1], "east": outer[1:-1, 2:], "west": outer[1:-1, :-2]}
    d = pd.DataFrame({"tree": trees.ravel(), **{name: part.ravel() for name, part in shifts.items()}})
    rng = np.random.default_rng(8)
    for name in SIDES:
        d[f"w_{name}"] = np.where(d[name].isna(), np.nan, rng.uniform(0.5, 1.5, len(d)))
    return d


def incidence(column: pd.Series, labels, weights=None) -> np.ndarray:
    Z = np.array([[float(value == label) for label in labels] for value in column])
    return Z if weights is None else Z * np.nan_to_num(np.asarray(weights, dtype=float))[:, None]


@pytest.fixture(scope="module")
def trial() -> tuple[pd.DataFrame, rb.Pedigree, np.ndarray, np.ndarray, np.ndarray]:
    """Records of 144 trees with direct and competition effects of a negative correlation; Z of both, and A."""
    d, A = stand(), pedigree()
    K = A.dense()
    Zd, Zc = incidence(d["tree"], A.labels), sum(incidence(d[side], A.labels) for side in SIDES)
    rng = np.random.default_rng(1)
    u = np.linalg.cholesky(K) @ rng.normal(size=(len(K), 2)) @ np.linalg.cholesky([[4.0, -0.9], [-0.9, 0.5]]).T
    d["height"] = 20 + Zd @ u[:, 0] + Zc @ u[:, 1] + rng.normal(size=len(d))
    return d, A, Zd, Zc, K


@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_direct_and_competition_effects(trial, engine):
    d, A, Zd, Zc, K = trial
    model = rb.MixedModel(f"height ~ 1 + {BOTH}", d, {"A": A}, engine=engine)
    (design,) = model.specification.random
    assert design.structure.effects == ("tree", "north + south + east + west")
    np.testing.assert_array_equal(design.columns[0].toarray(), Zd)
    np.testing.assert_array_equal(design.columns[1].toarray(), Zc)
    assert model.specification.records.unknown_parents == dict.fromkeys(SIDES, 12)
    assert "a missing level adds nothing: north in 12, south in 12, east in 12, west in 12" in str(model.describe())
    dense = Oracle(d["height"].to_numpy(), np.ones((len(d), 1)), [Term([Zd, Zc], K, "us")])
    theta = np.array([3.0, -0.5, 0.7, 1.4])
    sigma = np.array([[3.0, -0.5], [-0.5, 0.7]])
    assert model.loglik({BOTH: sigma, "residual": 1.4}) == pytest.approx(dense.loglik(theta), abs=1e-9)
    solved = model.solve({BOTH: sigma, "residual": 1.4})
    np.testing.assert_allclose(solved.blup(BOTH).T.to_numpy(), dense.u(0, theta), atol=1e-8)
    np.testing.assert_allclose(solved.random_effects["pev"], np.diag(dense.pev(0, theta)), atol=1e-8)
    fit = model.fit()
    assert fit.converged
    np.testing.assert_allclose(dense.score(fit.theta), 0.0, atol=1e-4)
    assert fit.loglik == pytest.approx(dense.loglik(fit.theta), abs=1e-8)


def test_without_covariance_as_from_matrices(trial):
    d, A, Zd, Zc, _ = trial
    direct = rb.MixedModel(f"height ~ 1 + (1 | vm(tree, A)) + (1 | {SUM})", d, {"A": A}).fit()
    diagonal = rb.MixedModel(f"height ~ 1 + {BOTH.replace('us', 'diag', 1)}", d, {"A": A}).fit()
    own = rb.MixedModel.from_matrices(
        d["height"], np.ones((len(d), 1)), [Zd, Zc], [A, A], names=["direct", "competition"]
    ).fit()
    for fit in (direct, diagonal):
        assert fit.loglik == pytest.approx(own.loglik, abs=1e-8)
        np.testing.assert_allclose(fit.theta, own.theta, rtol=1e-5)


def test_weights_by_numbers_and_columns(trial):
    d, A, *_ = trial
    weighed = "vm(north, A) + 0.5*w_south*vm(south, A) - w_east*w_east*vm(east, A)"
    name = f"us(vm(tree, A) + 2*({weighed}))"
    model = rb.MixedModel(f"height ~ 1 + {name}", d, {"A": A})
    (design,) = model.specification.random
    assert design.structure.effects[1] == "2*north + w_south*south - 2*w_east*w_east*east"
    labels = A.labels
    expected = 2 * incidence(d["north"], labels) + incidence(d["south"], labels, d["w_south"])
    expected -= 2 * incidence(d["east"], labels, d["w_east"] ** 2)
    np.testing.assert_allclose(design.columns[1].toarray(), expected, atol=1e-12)
    assert set(model.specification.records.used) >= {"w_south", "w_east"}


def test_memberships_of_several_schools():
    rng = np.random.default_rng(6)
    d = pd.DataFrame(rng.choice(9, (80, 3)), columns=["s1", "s2", "s3"]).astype("Int64")  # 0 is a school like others
    d.loc[5:15, "s2"], d.loc[10:30, "s3"] = pd.NA, pd.NA
    w = rng.dirichlet(np.ones(3), 80)
    d[["w1", "w2", "w3"]] = w
    labels = list(range(9))
    Z = sum(incidence(d[f"s{k}"].map(lambda v: -1 if pd.isna(v) else v), labels, w[:, k - 1]) for k in (1, 2, 3))
    d["y"] = Z @ rng.normal(0, 2, 9) + rng.normal(size=80)
    term = "w1*s1 + w2*s2 + w3*s3"
    dense = Oracle(d["y"].to_numpy(), np.ones((80, 1)), [Term([Z], np.eye(9))])
    for engine in ("sparse", "dense"):
        model = rb.MixedModel(f"y ~ 1 + (1 | {term})", d, engine=engine)
        np.testing.assert_allclose(model.specification.random[0].columns[0].toarray(), Z, atol=1e-14)
        assert model.loglik({term: 2.0, "residual": 0.9}) == pytest.approx(dense.loglik([2.0, 0.9]), abs=1e-9)
    fit = model.fit()
    np.testing.assert_allclose(dense.score(fit.theta), 0.0, atol=1e-4)
    assert model.specification.records.unknown_parents == {"s2": 11, "s3": 21}


def test_neighbours_without_relationships():
    d = stand(5).assign(y=np.random.default_rng(3).normal(size=25))
    term = "us(tree + (north + south))"
    d["tree"], d["north"], d["south"] = (d[c].str[-1] for c in ("tree", "north", "south"))  # ten varieties
    model = rb.MixedModel(f"y ~ 1 + {term}", d)
    Z = [incidence(d["tree"], list("0123456789")), incidence(d["north"], list("0123456789"))]
    Z[1] += incidence(d["south"], list("0123456789"))
    dense = Oracle(d["y"].to_numpy(), np.ones((25, 1)), [Term(Z, np.eye(10), "us")])
    values = {term: [[1.0, 0.2], [0.2, 0.5]], "residual": 0.8}
    assert model.loglik(values) == pytest.approx(dense.loglik([1.0, 0.2, 0.5, 0.8]), abs=1e-9)


def test_neighbours_by_environment():
    """A product in every summand: an edge tree lacks its neighbour, not its environment."""
    d, A = stand(6), pedigree(36)
    d["env"] = np.repeat(["a", "b"], 18)
    d["y"] = np.random.default_rng(5).normal(size=36)
    term = "us(vm(tree, A):env + (vm(north, A):env + vm(south, A):env))"
    model = rb.MixedModel(f"y ~ 1 + {term}", d, {"A": A})
    assert model.specification.n == 36
    e = incidence(d["env"], ["a", "b"])

    def by_env(column: str) -> np.ndarray:
        return np.einsum("na,ne->nae", incidence(d[column], A.labels), e).reshape(36, -1)

    dense = Oracle(
        d["y"].to_numpy(),
        np.ones((36, 1)),
        [Term([by_env("tree"), by_env("north") + by_env("south")], np.kron(A.dense(), np.eye(2)), "us")],
    )
    values = {term: [[1.0, -0.2], [-0.2, 0.5]], "residual": 0.8}
    assert model.loglik(values) == pytest.approx(dense.loglik([1.0, -0.2, 0.5, 0.8]), abs=1e-9)


def test_saved_read_back_and_predicted(trial, tmp_path):
    d, A, *_ = trial
    term = f"us(vm(tree, A) + ({' + '.join(f'w_{side}*vm({side}, A)' for side in SIDES)}))"
    fit = rb.MixedModel(f"height ~ 1 + {term}", d, {"A": A}).fit()
    loaded = rb.load(fit.save(tmp_path / "fit"))
    assert loaded.loglik == pytest.approx(fit.loglik, abs=1e-9)
    new = d.iloc[:20].assign(height=np.nan)
    pd.testing.assert_frame_equal(loaded.predict(new), fit.predict(new), rtol=1e-8)
    np.testing.assert_allclose(fit.predict(new)["prediction"], fit.fitted.iloc[:20], rtol=1e-9)
    alone = new.assign(**dict.fromkeys(SIDES), **{f"w_{side}": np.nan for side in SIDES})
    direct = fit.params["Intercept"] + fit.blup(term)["tree"].loc[new["tree"]].to_numpy()
    np.testing.assert_allclose(fit.predict(alone)["prediction"], direct, rtol=1e-9)
    with pytest.raises(rb.DataError, match="weight 'w_north' is missing where 'north' is known"):
        fit.predict(new.assign(w_north=np.nan))
    with pytest.raises(rb.DataError, match="'w_north'"):
        fit.predict(new.drop(columns="w_north"))


def test_records_with_a_first_summand_that_is_missing_stay():
    d = pd.DataFrame({"a": ["x", None, "y", None, "x", "y"], "b": ["y", "x", None, None, "y", "x"]})
    d["y"] = [1.0, 2.0, 4.0, 3.0, 2.0, 6.0]
    with pytest.warns(rb.RemlBlupWarning, match="is one effect of every level"):
        model = rb.MixedModel("y ~ 1 + (1 | a + b)", d)
    np.testing.assert_array_equal(
        model.specification.random[0].columns[0].toarray(), [[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 1]]
    )
    assert model.specification.records.unknown_parents == {"a": 2, "b": 2, "all of a + b": 1}


@pytest.mark.parametrize(
    ("formula", "change", "error", "message"),
    [
        (BOTH, {"south": "z9"}, rb.RelationshipError, r"factor 'south', relationship 'A'.*'z9'"),
        (BOTH, {"tree": "z9"}, rb.RelationshipError, r"factor 'tree'.*'z9'"),
        (BOTH, dict.fromkeys(SIDES), rb.ModelError, r"'north \+ south \+ east \+ west' is zero in every record"),
        (f"(1 | {SUM})", dict.fromkeys(SIDES), rb.ModelError, "'north'.*unknown in every record"),
        (WEIGHED, {"w": "far"}, rb.DataError, "weight 'w' of 'north'.*text"),
        (WEIGHED, {"w": np.nan}, rb.DataError, "weight 'w' is missing where"),
        (WEIGHED, {"w": np.inf}, rb.DataError, "weight 'w'.*infinite"),
        ("us(vm(tree, A) + (w*vm(north, A) + w*vm(south, A)))", {"w": 0.0}, rb.ModelError, "zero in every record"),
        ("us(vm(tree, A) + (gone*vm(north, A) + vm(south, A)))", {}, rb.DataError, "'gone'"),
        ("us(vm(tree, A) + (north + south))", {}, rb.FormulaError, "must share one relationship"),
        ("us((vm(north, A) + vm(south, A)))", {}, rb.FormulaError, "correlates the effects of several"),
        ("us(vm(tree, A) + (0*vm(north, A) + vm(south, A)))", {}, rb.FormulaError, "coefficient .* is zero"),
        ("us(vm(tree, A) + (log(w)*vm(east, A) + vm(west, A)))", {}, rb.FormulaError, r"'log\(w\)'.*neither a number"),
        ("(1 | w_north*vm(north, A))", {}, rb.FormulaError, r"its slope, '\(0 \+ w_north \| vm\(north,A\)\)'"),
        ("us(vm(tree, A), vm(north, A) + vm(south, A))", {}, rb.FormulaError, "a bracket holds several columns"),
        ("(1 | north*south)", {}, rb.FormulaError, r"crossed factors are '\(1 \| north:south\)'"),
    ],
)  # fmt: skip
def test_errors_are_named(trial, formula, change, error, message):
    d, A, *_ = trial
    with pytest.raises(error, match=message):
        rb.MixedModel(f"height ~ 1 + {formula}", d.assign(**({"w": 1.0} | change)), {"A": A})


def test_a_relationship_with_other_labels_is_refused(trial):
    d, *_, K = trial
    other = rb.Relationship(K, [f"x{k}" for k in range(len(K))])
    with pytest.raises(rb.RelationshipError, match=r"factor 'tree', relationship 'A'.*not in the relationship"):
        rb.MixedModel(f"height ~ 1 + {BOTH}", d, {"A": other})


@pytest.mark.parametrize("structure", [None, "us", "diag", "csh"])
def test_several_z_over_one_k_as_matrices(trial, structure, tmp_path):
    d, A, Zd, Zc, _ = trial
    keyword = structure or "us"
    formula = rb.MixedModel(f"height ~ 1 + {BOTH.replace('us', keyword, 1)}", d, {"A": A}).fit()
    model = rb.MixedModel.from_matrices(
        d["height"], np.ones((len(d), 1)), [[Zd, sp.csr_array(Zc)]], [A], names=["tree"],
        effects=[["direct", "competition"]], structures=[structure],
    )  # fmt: skip
    fit = model.fit()
    assert fit.loglik == pytest.approx(formula.loglik, abs=1e-8)
    np.testing.assert_allclose(fit.theta, formula.theta, rtol=1e-6)
    assert list(fit.covariance("tree").index) == ["direct", "competition"]
    loaded = rb.load(fit.save(tmp_path / "fit"))
    assert loaded.loglik == pytest.approx(fit.loglik, abs=1e-9)
    pd.testing.assert_frame_equal(loaded.random_effects, fit.random_effects, rtol=1e-8)


def test_cross_validation_of_several_z(trial):
    d, A, Zd, Zc, _ = trial
    model = rb.MixedModel.from_matrices(d["height"], np.ones((len(d), 1)), [[Zd, Zc]], [A], names=["tree"])
    folds = np.arange(len(d)) % 3
    own = rb.cross_validate(model.fit(), folds, refit=True)
    same = rb.cross_validate(rb.MixedModel(f"height ~ 1 + {BOTH}", d, {"A": A}).fit(), folds, refit=True)
    np.testing.assert_allclose(own.predictions["predicted"], same.predictions["predicted"], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"Z": lambda Zd, Zc: [[Zd, Zc[:, 1:]]]},
            rb.DataError,
            "'tree' are over one K, and their Z have 180, 179 columns",
        ),
        ({"Z": lambda Zd, Zc: [[Zd, 0 * Zc]]}, rb.ModelError, "Z 2 of 'tree' is zero"),
        ({"Z": lambda Zd, Zc: [[Zd, Zc[1:]]]}, rb.DataError, "Z 2 of 'tree' must have one row per record"),
        ({"K": [np.eye(3)]}, rb.RelationshipError, "K of 'tree' has shape"),
        ({"effects": [["a"]]}, rb.DataError, "'tree' has 2 Z, and needs as many names"),
        ({"effects": [["a", "b"], None]}, rb.DataError, "one item for each of the 1 terms"),
        ({"structures": ["ar1"]}, rb.ModelError, "'ar1' of 'tree' is none of"),
        ({"structures": ["nothing"]}, rb.ModelError, "'nothing' of 'tree' is none of"),
    ],
)
def test_wrong_matrices_are_named(trial, change, error, message):
    d, A, Zd, Zc, _ = trial
    given = {"Z": lambda Zd, Zc: [[Zd, Zc]], "K": [A], "names": ["tree"]} | change
    with pytest.raises(error, match=message):
        rb.MixedModel.from_matrices(d["height"], np.ones((len(d), 1)), given.pop("Z")(Zd, Zc), **given)


def test_what_stands_on_a_fit_works_with_weights(trial):
    d, A, *_ = trial
    d = d.assign(block=np.repeat(list("abcd"), 36))
    term = "us(vm(tree, A) + (w_north*vm(north, A) + vm(south, A)))"
    fit = rb.MixedModel(f"height ~ block + {term}", d, {"A": A}).fit()
    assert "a missing level adds nothing: north in 12, south in 12" in str(fit.summary())
    assert fit.simulate(2, seed=1).shape[1] == 2 or fit.simulate(2, seed=1).shape[0] == 2
    assert len(fit.marginal_means("block").table) == 4
    assert np.isfinite(fit.residual_table["studentized"]).all()
    assert fit.function(f"{term}[tree, w_north*north + south]").estimate == pytest.approx(fit.theta[1])
    with pytest.raises(rb.ModelError, match="several factors lie over one another"):
        rb.write_model(fit, "asreml", "nowhere")


members = st.lists(
    st.tuples(*[st.one_of(st.none(), st.integers(0, 4))] * 3, *[st.floats(-2, 2, width=16)] * 3),
    min_size=4,
    max_size=15,
)


@given(members)
def test_sums_are_dense_algebra(rows):
    d = pd.DataFrame(rows, columns=["a", "b", "c", "u", "v", "w"]).astype(dict.fromkeys("abc", "Int64"))
    d["y"] = np.arange(len(d)) ** 2.0
    labels = sorted({int(x) for x in d[list("abc")].to_numpy().ravel() if not pd.isna(x)})
    Z = np.zeros((len(d), len(labels)))
    for level, weight in (("a", "u"), ("b", "v"), ("c", "w")):
        for i, (x, size) in enumerate(zip(d[level], d[weight], strict=True)):
            if not pd.isna(x):
                Z[i, labels.index(int(x))] += {"a": 1.0, "b": -0.5, "c": 1.0}[level] * (1.0 if level == "a" else size)
    if len(labels) < 2 or not np.any(Z):
        return
    try:
        model = rb.MixedModel("y ~ 1 + (1 | a - 0.5*v*b + w*c)", d)
    except rb.ModelError:  # weights that are all zero beside levels that cancel
        return
    (design,) = model.specification.random
    assert list(design.relationship.labels) == labels
    np.testing.assert_allclose(design.columns[0].toarray(), Z, atol=1e-12)


def test_command_line_with_numbered_trees(tmp_path, capsys):
    """Columns of whole numbers with gaps: 7 and 7.0 are one tree, in the file and when read back."""
    from remlblup.cli import main

    d = stand(5).assign(y=np.random.default_rng(2).normal(size=25))
    for column in ("tree", *SIDES):
        d[column] = d[column].map(lambda v: int(v[1:]) + 1 if isinstance(v, str) else None)
    d.to_csv(tmp_path / "stand.csv", index=False)
    pd.DataFrame({"id": range(1, 26), "sire": 0, "dam": 0}).assign(sire=lambda p: (p["id"] > 10) * 3).to_csv(
        tmp_path / "ped.csv", index=False
    )
    formula = "y ~ 1 + us(vm(tree, A) + (w_north*vm(north, A) + w_south*vm(south, A)))"
    out = tmp_path / "out"
    main(["fit", str(tmp_path / "stand.csv"), formula, "--pedigree", f"A={tmp_path / 'ped.csv'}", "--out", str(out)])
    assert "a missing level adds nothing: north in 5, south in 5 of them" in capsys.readouterr().out
    ours = rb.MixedModel(formula, d, {"A": rb.Pedigree.from_frame(pd.read_csv(tmp_path / "ped.csv"))}).fit()
    assert rb.load(out).loglik == pytest.approx(ours.loglik, abs=1e-8)
