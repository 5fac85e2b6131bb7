"""Terms over products of relationships, (1 | vm(a, A):vm(b, B)): against V written out densely."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from oracle import Oracle, Term

import remlblup as rb
from remlblup.equations.variance.engine import VarianceEquations
from remlblup.relationship.product import PairsRelationship, ProductRelationship

PEDIGREE = rb.Pedigree([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 3, 3], [0, 0, 2, 2, 4, 2])
SITES = list("xyz")
W = pd.DataFrame([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1.5]], index=SITES, columns=SITES)
PAIRS = "vm(animal, A):vm(site, W)"


def genomic(seed: int = 3) -> pd.DataFrame:
    """Of centred genotypes: singular."""
    M = np.random.default_rng(seed).integers(0, 3, (6, 30)) - 1.0
    M -= M.mean(axis=0)
    return pd.DataFrame(M @ M.T / 15, index=list(map(str, range(1, 7))), columns=list(map(str, range(1, 7))))


def records(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    d = pd.DataFrame({"animal": rng.integers(1, 7, n), "site": rng.choice(SITES, n), "f": rng.choice(["p", "q"], n)})
    effects = np.random.default_rng(6).multivariate_normal(np.zeros(18), np.kron(PEDIGREE.dense(), W))
    d["x"] = rng.normal(size=n)
    d["y"] = 3 + d["x"] + effects[(d["animal"] - 1) * 3 + d["site"].map(SITES.index)] + rng.normal(size=n)
    return d


def given(kind: str) -> dict[str, object]:
    return {"A": PEDIGREE if kind == "sparse" else genomic(), "W": W}


def incidence(codes: np.ndarray, q: int) -> np.ndarray:
    return (np.asarray(codes)[:, None] == np.arange(q)).astype(float)


def oracle(d: pd.DataFrame, A: np.ndarray, of: str) -> Oracle:
    """The model y ~ x + (1 | product) with np.kron over all combinations."""
    a, s, f = d["animal"].to_numpy() - 1, d["site"].map(SITES.index).to_numpy(), (d["f"] == "q").to_numpy().astype(int)
    codes, K = {
        "vm(animal, A):vm(site, W)": (a * 3 + s, np.kron(A, W)),
        "vm(animal, A):f": (a * 2 + f, np.kron(A, np.eye(2))),
        "f:vm(animal, A)": (f * 6 + a, np.kron(np.eye(2), A)),
        "vm(animal, A):vm(site, W):f": ((a * 3 + s) * 2 + f, np.kron(np.kron(A, W), np.eye(2))),
        "vm(animal, A):vm(animal, A)": (a * 6 + a, np.kron(A, A)),
    }[of]
    X = np.column_stack([np.ones(len(d)), d["x"]])
    return Oracle(d["y"].to_numpy(), X, [Term([incidence(codes, len(K))], K)])


@pytest.mark.parametrize("kind", ["sparse", "singular"])
@pytest.mark.parametrize(
    "term",
    [PAIRS, "vm(animal, A):f", "f:vm(animal, A)", "vm(animal, A):vm(site, W):f", "vm(animal, A):vm(animal, A)"],
)
def test_likelihood_score_and_effects_are_those_of_kron(term, kind):
    d, theta = records(), np.array([0.7, 1.2])
    A = PEDIGREE.dense() if kind == "sparse" else genomic().to_numpy()
    dense = oracle(d, A, term)
    for engine in ("sparse", "dense", "auto"):
        model = rb.MixedModel(f"y ~ x + (1 | {term})", d, given(kind), engine=engine)
        values = {term: theta[0], "residual": theta[1]}
        assert model.loglik(values) == pytest.approx(dense.loglik(theta), abs=1e-8)
        solved = model.solve(values)
        u = pd.Series(dense.u(0, theta).ravel())
        pev = np.diag(dense.pev(0, theta))
        (design,) = model.specification.random
        table = solved.random_effects
        parts = design.relationship.codes_of(np.arange(design.q))
        at = np.ravel_multi_index(tuple(parts.T), [part.size for part in design.relationship.parts])
        np.testing.assert_allclose(table["estimate"], u[at], atol=1e-7)
        np.testing.assert_allclose(table["pev"], pev[at], atol=1e-7)
    assert isinstance(design.relationship, ProductRelationship) is (
        kind == "sparse" and "vm(animal, A):vm(a" not in term
    )
    # V itself, also where the sparse inverse is taken.
    equations = VarianceEquations(model.specification)
    found = equations.solve(theta)
    np.testing.assert_allclose(
        equations.score_matrices(found, [np.eye(1)], False).of_sigma[0], dense.score(theta)[0], atol=1e-7
    )
    np.testing.assert_allclose(equations.average_information(found), dense.average_information(theta), atol=1e-7)


@pytest.mark.parametrize("kind", ["sparse", "singular"])
def test_any_structure_in_front_of_the_bar(kind):
    d = records().assign(y2=lambda d: d["y"][::-1].to_numpy() + d["x"])
    A = PEDIGREE.dense() if kind == "sparse" else genomic().to_numpy()
    term = "us(trait | vm(animal, A):f)"
    sigma, residual = np.array([[1.0, 0.4], [0.4, 0.8]]), np.array([[1.2, -0.2], [-0.2, 0.9]])
    model = rb.MixedModel(f"c(y, y2) ~ trait + {term}", d, given(kind), residual="us(trait | units)")
    n = len(d)
    Z = incidence((d["animal"].to_numpy() - 1) * 2 + (d["f"] == "q"), 12)
    V = np.kron(sigma, Z @ np.kron(A, np.eye(2)) @ Z.T) + np.kron(residual, np.eye(n))
    y, X = np.concatenate([d["y"], d["y2"]]), np.kron(np.eye(2), np.ones((n, 1)))
    X[n:, 0] = 1.0
    solved = np.linalg.solve(V, np.column_stack([X, y]))
    beta = np.linalg.solve(X.T @ solved[:, :2], X.T @ solved[:, 2])
    r = y - X @ beta
    logdet = np.linalg.slogdet(V)[1] + np.linalg.slogdet(X.T @ solved[:, :2])[1]
    expected = -0.5 * ((2 * n - 2) * np.log(2 * np.pi) + logdet + r @ np.linalg.solve(V, r))
    assert model.loglik({term: sigma, "residual": residual}) == pytest.approx(expected, abs=1e-8)


def test_levels_read_as_combinations_do():
    model = rb.MixedModel(f"y ~ x + (1 | {PAIRS})", records(), given("sparse"))
    (design,) = model.specification.random
    assert design.name == PAIRS
    assert list(design.relationship.labels[:4]) == ["1:x", "1:y", "1:z", "2:x"]
    index = model.specification.parameters.index
    for name in ("vm(animal,A):vm(site,W)", "vm(site, W):vm(animal, A)", "animal:site", "site:animal"):
        assert index(name) == 0
    fit = model.fit()
    assert f"{PAIRS}: a product over 6 x 3 levels, all 18 combinations" in str(fit.summary())
    assert f"{PAIRS}: 1 x 18 levels, id; a product over 6 x 3 levels" in str(model.describe())
    assert list(fit.contrasts(PAIRS, [("1:x", "2:x")]).index) == ["1:x - 2:x"]


def test_the_notation_names_both_relationships():
    from remlblup.report.notation import notation

    fit = rb.MixedModel("y ~ x + (1 | vm(animal, A):f)", records(), given("sparse")).fit()
    text = "".join(map(str, notation(fit).formulas))
    assert "⊗" in text and ">A<" in text


@pytest.mark.parametrize("kind", ["sparse", "singular"])
def test_combinations_without_records_are_predicted(kind):
    d = records()
    d = d[~((d["animal"] == 4) & (d["site"] == "y")) & ~((d["animal"] == 2) & (d["site"] == "z"))]
    A = PEDIGREE.dense() if kind == "sparse" else genomic().to_numpy()
    dense, theta = oracle(d, A, PAIRS), np.array([0.7, 1.2])
    new = pd.DataFrame({"animal": [4, 2, 1], "site": ["y", "z", "x"], "x": [0.0, 0.0, 0.5]}, index=list("abc"))
    rows = np.zeros((3, 2 + 18))
    rows[:, 0], rows[:, 1] = 1.0, new["x"]
    rows[np.arange(3), 2 + (new["animal"] - 1) * 3 + new["site"].map(SITES.index)] = 1.0
    joint = dense.joint_error(theta)
    beta_u = np.concatenate([dense.beta(theta), dense.u(0, theta).ravel()])
    solved = rb.MixedModel(f"y ~ x + (1 | {PAIRS})", d, given(kind)).solve({PAIRS: 0.7, "residual": 1.2})
    table = solved.predict(new)
    np.testing.assert_allclose(table["prediction"], rows @ beta_u, atol=1e-8)
    np.testing.assert_allclose(table["std_error"] ** 2, np.einsum("ij,jk,ik->i", rows, joint, rows), atol=1e-8)
    with pytest.raises(rb.DataError, match="'9:x'"):
        solved.predict(new.assign(animal=[9, 2, 1], site="x"))
    far = solved.predict(new.assign(animal=[9, 2, 1]), new_levels="population")
    assert far["prediction"].iloc[0] == pytest.approx(dense.beta(theta)[0])


def test_new_combinations_in_a_sum_of_products():
    d = records().assign(mate=lambda d: d["animal"].to_numpy()[::-1])
    sums = "vm(animal, A):vm(site, W) + 0.5*vm(mate, A):vm(site, W)"
    A = genomic().to_numpy()
    keep = [(a, s) for a in range(1, 7) for s in SITES if (a, s) not in [(4, "y"), (2, "y")]]
    inside = [all((v, s) in keep for v in (a, m)) for a, m, s in zip(d["animal"], d["mate"], d["site"], strict=True)]
    d = d[inside]
    K, X = np.kron(A, W), np.column_stack([np.ones(len(d)), d["x"]])

    def Z(frame: pd.DataFrame) -> np.ndarray:
        s = frame["site"].map(SITES.index)
        return incidence((frame["animal"] - 1) * 3 + s, 18) + 0.5 * incidence((frame["mate"] - 1) * 3 + s, 18)

    theta = np.array([0.7, 1.2])
    dense = Oracle(d["y"].to_numpy(), X, [Term([Z(d)], K)])
    model = rb.MixedModel(f"y ~ x + (1 | {sums})", d, given("singular"))
    assert isinstance(model.specification.random[0].relationship, PairsRelationship)
    values = {sums: 0.7, "residual": 1.2}
    assert model.loglik(values) == pytest.approx(dense.loglik(theta), abs=1e-8)
    new = pd.DataFrame({"animal": [4, 4], "mate": [2, 1], "site": ["y", "y"], "x": 0.0})
    rows = np.hstack([[[1.0, 0.0]] * 2, Z(new)])
    table = model.solve(values).predict(new)
    beta_u = np.concatenate([dense.beta(theta), dense.u(0, theta).ravel()])
    np.testing.assert_allclose(table["prediction"], rows @ beta_u, atol=1e-8)
    expected = np.einsum("ij,jk,ik->i", rows, dense.joint_error(theta), rows)
    np.testing.assert_allclose(table["std_error"] ** 2, expected, atol=1e-8)


@pytest.mark.parametrize("kind", ["sparse", "singular"])
def test_saved_and_read_back(kind, tmp_path):
    fit = rb.MixedModel(f"y ~ x + (1 | {PAIRS})", records(), given(kind)).fit()
    loaded = rb.load(fit.save(tmp_path / "fit"))
    assert loaded.loglik == pytest.approx(fit.loglik, abs=1e-9)
    new = records().head(3)
    pd.testing.assert_frame_equal(loaded.predict(new), fit.predict(new))


def test_a_checkpoint_knows_the_factors(tmp_path):
    d, file = records(), tmp_path / "state.npz"
    fit = rb.MixedModel(f"y ~ x + (1 | {PAIRS})", d, given("sparse")).fit(checkpoint=file)
    again = rb.MixedModel(f"y ~ x + (1 | {PAIRS})", d, given("sparse")).fit(checkpoint=file)
    assert again.loglik == fit.loglik
    other = given("sparse") | {"W": W + 0.1 * np.eye(3)}
    with pytest.raises(rb.CheckpointError, match=r"relationship of 'vm\(animal, A\):vm\(site, W\)'"):
        rb.MixedModel(f"y ~ x + (1 | {PAIRS})", d, other).fit(checkpoint=file)


def test_simulated_records_have_the_covariance_of_kron():
    d = records(30)
    fit = rb.MixedModel(f"y ~ x + (1 | {PAIRS})", d, given("sparse")).fit(fix={PAIRS: 2.0, "residual": 0.5})
    draws = fit.simulate(4000, seed=1).to_numpy()
    draws = draws if draws.shape[0] == len(d) else draws.T
    V = oracle(d, PEDIGREE.dense(), PAIRS).V([2.0, 0.5])
    assert np.abs(np.cov(draws) - V).max() < 0.12 * V.max()


def test_many_responses():
    d = records().assign(y2=lambda d: d["y"][::-1].to_numpy())
    for kind in ("sparse", "singular"):
        fits = rb.fit_many(f"~ x + (1 | {PAIRS})", d, ["y", "y2"], given(kind))
        for name in ("y", "y2"):
            one = rb.MixedModel(f"{name} ~ x + (1 | {PAIRS})", d, given(kind)).fit()
            assert fits.table.loc[name, "loglik"] == pytest.approx(one.loglik, abs=1e-6)


def test_writers_refuse_a_product(tmp_path):
    fit = rb.MixedModel(f"y ~ x + (1 | {PAIRS})", records(), given("sparse")).fit()
    for program in ("asreml", "blupf90", "wombat", "sommer", "lme4"):
        with pytest.raises(rb.ModelError, match=r"'vm\(animal, A\):vm\(site, W\)': a product of relationships"):
            rb.write_model(fit, program, tmp_path / program)


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        ("vm(animal, A):units", rb.FormulaError, "'units', the record itself, is no factor of a product"),
        ("vm(animal, A)/vm(site, W)", rb.FormulaError, "cannot be nested"),
        ("vm(animal, A) + vm(animal, A):f", rb.FormulaError, r"must share one relationship; it names 'A', 'A ⊗ I'"),
        ("vm(animal, A):vm(site, B)", rb.RelationshipError, "needs the relationship 'B'"),
        ("vm(x, A):vm(site, W)", rb.RelationshipError, r"factor 'x', relationship 'A'.*not in the relationship"),
        ("vm(animal, A):log(x)", rb.FormulaError, r"'log\(x\)'.*is not the name of a column"),
        ("vm(animal, A):gone", rb.DataError, "'gone'"),
    ],
)
def test_errors_name_the_factor(term, error, message):
    with pytest.raises(error, match=message):
        rb.MixedModel(f"y ~ x + (1 | {term})", records(), given("sparse"))


def test_a_pedigree_of_2000_by_50_environments_is_fitted_sparse():
    rng = np.random.default_rng(2)
    ids = np.arange(1, 2001)
    sires = np.where(ids <= 200, 0, rng.integers(1, 51, 2000))
    dams = np.where(ids <= 200, 0, rng.integers(51, 201, 2000))
    d = pd.DataFrame({"animal": rng.integers(201, 2001, 600), "env": rng.integers(0, 50, 600)})
    d["y"] = rng.normal(size=50)[d["env"]] + rng.normal(size=600)
    A = rb.Pedigree(ids, sires, dams)
    model = rb.MixedModel("y ~ 1 + (1 | env) + (1 | vm(animal, A):env)", d, {"A": A})
    stats = model.describe().stats
    assert model.specification.random[1].q == 100_000
    assert stats.engine == "sparse" and stats.nnz_matrix < 4 * stats.n  # K⁻¹ below the diagonal, and Z'Z
    at = {"env": 1.0, "vm(animal, A):env": 0.5, "residual": 0.8}
    env = incidence(d["env"].to_numpy(), 50)
    within = (env @ env.T) * A.dense(d["animal"])
    dense = Oracle(d["y"].to_numpy(), np.ones((len(d), 1)), [Term([env], np.eye(50)), Term([np.eye(len(d))], within)])
    assert model.loglik(at) == pytest.approx(dense.loglik([1.0, 0.5, 0.8]), abs=1e-7)


def test_hybrids_general_and_specific_combining_ability(reference):
    d = pd.read_csv(reference("technow.csv"), dtype={"dent": str, "flint": str})
    D, F = (
        pd.read_csv(reference(f"technow.A{kind}.csv"), dtype={"id": str}).set_index("id") for kind in ("dent", "flint")
    )
    D.columns, F.columns = D.index, F.index
    a, b = D.index.get_indexer(d["dent"]), F.index.get_indexer(d["flint"])
    rows = np.kron(D.to_numpy()[a], np.ones((1, len(F)))) * np.kron(np.ones((1, len(D))), F.to_numpy()[b])
    explicit = pd.DataFrame(rows[:, a * len(F) + b], index=d["hy"], columns=d["hy"])  # rows and columns of D ⊗ F
    given = {"D": D, "F": F, "K": explicit}
    general = "GY ~ 1 + (1 | vm(dent, D)) + (1 | vm(flint, F)) + "
    values = {"vm(dent, D)": 9.0, "vm(flint, F)": 7.0, "residual": 15.0}
    product = rb.MixedModel(general + "(1 | vm(dent, D):vm(flint, F))", d, given)
    whole = rb.MixedModel(general + "(1 | vm(hy, K))", d, given)
    one = product.loglik(values | {"vm(dent, D):vm(flint, F)": 3.0})
    assert one == pytest.approx(whole.loglik(values | {"vm(hy, K)": 3.0}), abs=1e-8)


def test_means_refuse_combinations_without_records():
    d = records()
    d = d[~((d["animal"] == 4) & (d["site"] == "y"))]
    fit = rb.MixedModel(f"y ~ site + (1 | {PAIRS})", d, given("singular")).fit()
    with pytest.raises(rb.DataError, match="2 cells are combinations of levels, or places, without records"):
        fit.marginal_means("animal", by="site")
    whole = rb.MixedModel(f"y ~ site + (1 | {PAIRS})", records(200), given("singular")).fit()
    assert len(whole.marginal_means("animal", by="site").table) == 18


def test_a_new_environment_has_the_prior_of_its_animals():
    d = records()
    inbred = rb.Pedigree([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 3, 5], [0, 0, 2, 2, 4, 4])
    assert inbred.diagonal.max() > 1.1
    solved = rb.MixedModel("y ~ x + (1 | vm(animal, A):f)", d, {"A": inbred}).solve(
        {"vm(animal, A):f": 0.7, "residual": 1.2}
    )
    new = pd.DataFrame({"animal": range(1, 7), "f": "r", "x": 0.0})
    table = solved.predict(new, new_levels="population")
    fixed = solved.predict(new, include=[])
    np.testing.assert_allclose(
        table["std_error"] ** 2, fixed["std_error"] ** 2 + 0.7 * inbred.dense(range(1, 7)).diagonal(), rtol=1e-10
    )
