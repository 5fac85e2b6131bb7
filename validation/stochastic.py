"""Is the Monte Carlo error that ``engine="stochastic"`` prints the one it makes?

    python -m remlblup.validation.stochastic calibration --records 2000 --markers 4000 --seeds 20
    python -m remlblup.validation.stochastic models --records 3000
    python -m remlblup.validation.stochastic hard --seeds 10
    python -m remlblup.validation.stochastic large --records 20000 --markers 50000 --seeds 20 --folder FOLDER
    python -m remlblup.validation.stochastic pedigree --records 1000000

`calibration`: one simulated set, fitted exactly and by 10, 40 and 160 probes of so many seeds. The spread of the
estimates over the seeds is compared with the Monte Carlo errors that each fit prints, and falls as 1/√N. `models`:
three genomic terms and a factor, and two traits, beside the exact dense engine. `hard`: heritabilities of .5, .9
and .99 with several records an individual, by as many probes as a fit draws and by a few, each fit from near its end.
`large`: as many probes as the engine draws by itself, genotypes in a .bed; what is done is kept in the folder, from
where a run that was stopped goes on. `pedigree`: animals without genotypes beside the exact sparse engine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

EXACT = -1
"""In place of a seed: the exact engine."""


def genotypes_of(rng: np.random.Generator, n: int, m: int) -> np.ndarray:
    """Copies of independent markers (n, m), int8."""
    p = rng.uniform(0.05, 0.5, m)
    return ((rng.random((n, m)) < p).astype(np.int8) + (rng.random((n, m)) < p).astype(np.int8)).astype(np.int8)


def values_of(rng: np.random.Generator, M: np.ndarray) -> np.ndarray:
    """Breeding values by effects of all markers, of variance one."""
    u = (M - M.mean(axis=0)) @ rng.standard_normal(M.shape[1])
    return np.asarray(u / u.std())


def pedigree_of(rng: np.random.Generator, ids: np.ndarray) -> tuple[Any, np.ndarray]:
    """Animals of which the first fifth are founders, and their breeding values, of variance one among these."""
    from remlblup import Pedigree

    n, first = len(ids), len(ids) // 5
    parents = [rng.choice(k, 2, replace=False) if k >= first else (-1, -1) for k in range(n)]
    u = rng.standard_normal(n)
    for k in range(first, n):
        u[k] = 0.5 * u[list(parents[k])].sum() + np.sqrt(0.5) * u[k]  # inbreeding of the parents left out
    known = [[ids[p] if p >= 0 else None for p in pair] for pair in parents]
    family = pd.DataFrame(known, columns=["sire", "dam"]).assign(id=ids)
    return Pedigree.from_frame(family, hermaphrodites=True), u


def calibration(records: int, markers: int, seeds: int, probes: tuple[int, ...] = (10, 40, 160)) -> pd.DataFrame:
    """A row for each number of probes and parameter.

    Returns
    -------
    DataFrame : ``probes, parameter, bias`` (of the mean over seeds, in its own standard errors), ``spread`` and
        ``printed`` (root mean squares over seeds, in standard errors of sampling), ``ratio``, ``within`` (share of
        seeds within two printed errors of the exact estimate)
    """
    import remlblup as rb

    rng = np.random.default_rng(20261129)
    M = genotypes_of(rng, records, markers)
    data = pd.DataFrame({"id": np.arange(records), "x": rng.standard_normal(records)})
    data["y"] = data["x"] + values_of(rng, M) + rng.standard_normal(records)
    genotypes = rb.Genotypes.from_matrix(M, ids=data["id"])
    exact = rb.MixedModel("y ~ x + (1 | vm(id, G))", data, {"G": genotypes}).fit()
    model = rb.MixedModel("y ~ x + (1 | vm(id, G))", data, {"G": genotypes}, engine="stochastic")
    error = exact.variance_components["std_error"].to_numpy()
    rows = []
    for count in probes:
        fits = [model.fit(seed=seed, probes=count) for seed in range(seeds)]
        estimates = np.array([fit.theta for fit in fits])
        printed = np.array([fit.variance_components["monte_carlo_error"] for fit in fits])
        rows.append(calibrated(exact.theta, error, estimates, printed))
        rows[-1].insert(0, "probes", count)
        rows[-1].insert(1, "parameter", exact.variance_components["term"])
    return pd.concat(rows, ignore_index=True)


HARD = {
    "one term": "y ~ 1 + (1 | vm(id, G0))",
    "a term and a factor": "y ~ 1 + (1 | vm(id, G0)) + (1 | herd)",
    "two terms": "y ~ 1 + (1 | vm(id, G0)) + (1 | vm(id, G1))",
    "a pedigree and a term": "y ~ 1 + (1 | vm(id, A)) + (1 | vm(id, G0))",
    "two traits": "c(y, z) ~ trait + us(trait | vm(id, G0))",
}


def hard(seeds: int, probes: tuple[int | None, ...] = (None, 6), individuals: int = 150) -> pd.DataFrame:
    """A row for each model, heritability, number of probes and parameter: how far estimates are away, over seeds, in
    printed Monte Carlo errors (root mean square, and the share within two of them)."""
    import remlblup as rb

    rows = []
    for h2 in (0.5, 0.9, 0.99):
        rng = np.random.default_rng(round(100 * h2))
        parts = [genotypes_of(rng, individuals, 2 * individuals) for _ in range(2)]
        ids = np.array([f"i{k}" for k in range(individuals)])
        given = {f"G{k}": rb.Genotypes.from_matrix(M, ids=ids) for k, M in enumerate(parts)}
        one, two = (values_of(rng, M) for M in parts)
        given["A"], inherited = pedigree_of(rng, ids)
        animal, noise = np.repeat(np.arange(individuals), 3), np.sqrt(1.0 / h2 - 1.0)
        data = pd.DataFrame({"id": ids[animal], "herd": rng.integers(0, 15, len(animal)).astype(str)})
        e = noise * rng.standard_normal((len(animal), 2))
        data["y"] = 0.8 * one[animal] + 0.6 * two[animal] + e[:, 0]
        data["y"] += 0.3 * rng.standard_normal(15)[data["herd"].astype(int)] + 0.5 * inherited[animal]
        data["z"] = 0.5 * one[animal] + 0.8 * values_of(rng, parts[0])[animal] + e[:, 1]
        for name, formula in HARD.items():
            more = {"residual": "us(trait | units)"} if "traits" in name else {}
            exact = rb.MixedModel(formula, data, given, engine="dense", **more).fit()
            start: dict[str, dict[str, float]] = {}
            for (term, parameter), value in zip(exact.specification.parameters.pairs, exact.theta, strict=True):
                start.setdefault(term, {})[parameter] = 1.02 * float(value)
            model = rb.MixedModel(formula, data, given, engine="stochastic", **more)
            for count in probes:
                fits = [model.fit(seed=seed, probes=count, start=start) for seed in range(seeds)]
                away = np.array([f.theta - exact.theta for f in fits])
                printed = np.array([f.variance_components["monte_carlo_error"] for f in fits])
                away = np.divide(away, printed, out=np.full_like(away, np.nan), where=printed > 0.0)
                for k, (term, parameter) in enumerate(exact.specification.parameters.pairs):
                    rows.append(
                        {
                            "h2": h2,
                            "model": name,
                            "probes": np.mean([f._optimum.monte_carlo.probes for f in fits]),
                            "parameter": f"{term} {parameter}",
                            "converged": sum(f.converged for f in fits),
                            "away": np.sqrt(np.mean(away[:, k] ** 2)),
                            "bias": away[:, k].mean(),
                            "within": np.mean(np.abs(away[:, k]) < 2.0),
                            "of_std_error": np.mean(printed[:, k]) / exact.variance_components["std_error"].iloc[k],
                        }
                    )
            print(pd.DataFrame(rows).tail(2 * len(exact.theta)).to_string(index=False), flush=True)
    return pd.DataFrame(rows)


def calibrated(exact: np.ndarray, error: np.ndarray, estimates: np.ndarray, printed: np.ndarray) -> pd.DataFrame:
    """A row for each parameter.

    Parameters
    ----------
    exact, error : estimates of an exact engine and their standard errors (k,)
    estimates, printed : of the stochastic engine by several seeds, and the Monte Carlo errors it prints (seeds, k)

    Returns
    -------
    DataFrame : see `calibration`
    """
    away = estimates - exact
    spread, mean = np.sqrt(np.mean(away**2, axis=0)), np.sqrt(np.mean(printed**2, axis=0))
    return pd.DataFrame(
        {
            "bias": away.mean(axis=0) / (away.std(axis=0, ddof=1) / np.sqrt(len(away))),
            "spread": spread / error,
            "printed": mean / error,
            "ratio": spread / mean,
            "within": np.mean(np.abs(away) < 2.0 * printed, axis=0),
        }
    )


def large(records: int, markers: int, seeds: int, folder: Path) -> pd.DataFrame:
    """`calibration` with genotypes in a .bed; estimates are appended to ``folder/estimates.csv`` as they come."""
    import remlblup as rb
    from remlblup.validation.benchmarks.stochastic import simulate

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "y.txt").exists():
        simulate(folder, records, markers, 20261129)
    data = pd.read_csv(folder / "y.txt", sep="\t", dtype={"IID": str})
    kept = folder / "estimates.csv"
    done = pd.read_csv(kept) if kept.exists() else pd.DataFrame(columns=["seed"])
    genotypes = rb.Genotypes.from_bed(folder / "set.bed")
    for seed in [*range(seeds), EXACT]:
        if seed in set(done["seed"]):
            continue
        engine = "dense" if seed == EXACT else "stochastic"
        started = time.perf_counter()
        model = rb.MixedModel("y ~ 1 + (1 | vm(IID, G))", data, {"G": genotypes}, engine=engine)
        if seed == EXACT:  # an iteration takes minutes: from where the others end
            fit = model.fit(progress=True, start=pd.read_csv(kept).groupby("term")["estimate"].mean().to_dict())
        else:
            fit = model.fit(progress=False, seed=seed)
        rows = fit.variance_components[["term", "estimate", "std_error"]].assign(
            seed=seed, printed=fit.variance_components.get("monte_carlo_error"),
            seconds=time.perf_counter() - started, verdict=str(fit.convergence),
        )  # fmt: skip
        rows.to_csv(kept, mode="a", header=not kept.exists(), index=False)
        print(rows.to_string(index=False), flush=True)
    done = pd.read_csv(kept)
    exact, drawn = done[done["seed"] == EXACT], done[done["seed"] != EXACT].sort_values("seed", kind="stable")
    shape = (-1, len(exact))
    table = calibrated(
        exact["estimate"].to_numpy(),
        exact["std_error"].to_numpy(),
        drawn["estimate"].to_numpy().reshape(shape),
        drawn["printed"].to_numpy().reshape(shape),
    )
    table.insert(0, "parameter", exact["term"].to_numpy())
    return table


def pedigree(animals: int) -> pd.DataFrame:
    """An animal model by both engines."""
    from remlblup import Pedigree
    from remlblup.validation.benchmarks.simulate import few_sires

    data = few_sires(animals, 0.002)
    A = Pedigree.from_frame(data.pedigree)
    return beside_exact(f"{animals:,} animals", "y ~ sex + cg + (1 | vm(id, A))", data.frame, {"A": A}, exact="auto")


def beside_exact(
    name: str, formula: str, data: pd.DataFrame, relationships: Any, exact: str = "dense", **options: Any
) -> pd.DataFrame:
    """Estimates of both engines, their difference in standard errors and in Monte Carlo errors, seconds."""
    import remlblup as rb

    def timed(engine: str, **more: Any) -> tuple[Any, float]:
        started = time.perf_counter()
        fit = rb.MixedModel(formula, data, relationships, engine=engine, **options).fit(**more)
        return fit, time.perf_counter() - started

    fit, seconds = timed("stochastic", seed=1)
    by_exact, of_exact = timed(exact)
    table, known = fit.variance_components, by_exact.variance_components
    away = table["estimate"] - known["estimate"]
    drawn = fit._optimum.monte_carlo
    return pd.DataFrame(
        {
            "model": name,
            "term": table["term"],
            "parameter": table["parameter"],
            "exact": known["estimate"],
            "stochastic": table["estimate"],
            "in_std_errors": away / known["std_error"],
            "in_monte_carlo_errors": away / table["monte_carlo_error"],
            "probes": drawn.probes if drawn is not None else 0,
            "seconds": round(seconds, 1),
            "seconds_exact": round(of_exact, 1),
        }
    )


def models(records: int) -> pd.DataFrame:
    """Three genomic terms and a factor; two traits with a covariance of effects and of errors."""
    import remlblup as rb

    rng = np.random.default_rng(7)
    ids = np.arange(records)
    parts = [genotypes_of(rng, records, 2 * records // 3) for _ in range(3)]
    given = {f"G{k}": rb.Genotypes.from_matrix(M, ids=ids) for k, M in enumerate(parts)}
    herd = rng.integers(0, 50, records)
    data = pd.DataFrame({"id": ids, "herd": herd.astype(str), "x": rng.standard_normal(records)})
    u = [values_of(rng, M) for M in parts]
    data["y"] = u[0] + 0.8 * u[1] + 0.5 * u[2] + 0.6 * rng.standard_normal(50)[herd] + rng.standard_normal(records)
    terms = " + ".join(f"(1 | vm(id, G{k}))" for k in range(3))
    three = beside_exact("three genomic terms", f"y ~ x + {terms} + (1 | herd)", data, given)
    half = records // 2
    e = rng.standard_normal((records, 2)) @ np.array([[1.0, 0.3], [0.0, 0.9]])
    data["one"] = u[0] + e[:, 0]
    data["two"] = 0.6 * u[0] + 0.6 * u[1] + e[:, 1]
    formula = "c(one, two) ~ trait + us(trait | vm(id, G0))"
    some = data.iloc[:half].assign(two=data["two"].where(rng.random(records) > 0.2).iloc[:half])
    two = beside_exact("two traits", formula, some, given, residual="us(trait | units)")
    return pd.concat([three, two], ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["calibration", "models", "hard", "large", "pedigree"])
    parser.add_argument("--records", type=int)
    parser.add_argument("--markers", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--probes", type=int, nargs="+", default=[10, 40, 160])
    parser.add_argument("--folder", type=Path, default=Path("large"), help="of `large`, for data and results")
    given = parser.parse_args(arguments)
    if given.what == "calibration":
        table = calibration(given.records or 2000, given.markers, given.seeds, tuple(given.probes))
    elif given.what == "hard":
        table = hard(given.seeds)
    elif given.what == "large":
        table = large(given.records or 20_000, given.markers, given.seeds, given.folder)
    elif given.what == "pedigree":
        table = pedigree(given.records or 1_000_000)
    else:
        table = models(given.records or 3000)
    print(table.to_string(index=False, float_format=lambda v: f"{v:.3f}"))


if __name__ == "__main__":
    main()
