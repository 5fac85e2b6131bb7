"""One replicate: the fit, the estimates with their standard errors, and whether its verdict is true."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from remlblup import ConvergenceWarning, Fit, MixedModel, RemlBlupError
from remlblup.errors import said_elsewhere
from remlblup.validation.dense import Array, gradient
from remlblup.validation.simulations.family import Family, Values, case_of, generator

#: A log-likelihood this much higher than that of a converged fit makes its verdict false.
BEATEN = 1e-6
#: Slopes of ℓ in standard errors below this are what finite differences leave.
FLAT = 1e-4


@dataclass(frozen=True)
class Replicate:
    """What came of one data set.

    Attributes
    ----------
    number : of the replicate
    converged, boundary : the verdict, and whether any parameter is on the boundary
    estimates, errors : of the quantities of the family; an error of NaN where there is none
    complaints : false verdicts, one sentence each
    reason : why the fit did not converge, or the error raised
    recovered : for a fit that did not converge, whether it does from the truth
    seconds : of the fit
    """

    number: int
    converged: bool = False
    boundary: bool = False
    estimates: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()
    reason: str = ""
    recovered: bool | None = None
    seconds: float = 0.0


@said_elsewhere(ConvergenceWarning)
def run(family: Family, number: int, thorough: bool = True) -> Replicate:
    """Draw, fit, judge.

    Parameters
    ----------
    family, number : which data set
    thorough : bool
        Also restart from a random point and take finite differences; a restart from the truth is always made.
    """
    try:
        model, _ = case_of(family, number)
        start = time.perf_counter()
        fit = model.fit(progress=False)
        seconds = time.perf_counter() - start
        if not fit.converged:
            again = model.fit(start=family.truth, progress=False)
            return Replicate(number, reason=str(fit.convergence), recovered=again.converged, seconds=seconds)
        complaints = verdict_complaints(family, model, fit, generator(family, 10**6 + number) if thorough else None)
        estimates, errors = judged(family, fit)
    except RemlBlupError as error:
        return Replicate(number, reason=f"{type(error).__name__}: {error}")
    return Replicate(number, True, "boundary" in fit.status, estimates, errors, tuple(complaints), seconds=seconds)


# -- estimates ---------------------------------------------------------------------------------


def judged(family: Family, fit: Fit) -> tuple[dict[str, float], dict[str, float]]:
    """The quantities at θ̂ and their standard errors, √(g' var(θ̂) g) with g from central differences."""
    table = fit.variance_components
    keys = list(zip(table["term"], table["parameter"], strict=True))
    theta = table["estimate"].to_numpy(float)
    absent = [f"{t} [{p}]" for t, of in family.truth.items() for p in of if (t, p) not in keys]
    if absent or len(keys) != sum(map(len, family.truth.values())):
        raise RemlBlupError(f"the truth of {family.name} does not name the parameters of the fit: {absent or keys}")
    here = family.quantities(_values(keys, theta))
    names = list(here)
    jacobian = np.zeros((len(names), len(theta)))
    for i, value in enumerate(theta):
        h = 1e-5 * max(abs(value), 1e-2)
        up, down = (family.quantities(_values(keys, theta + s * h * np.eye(1, len(theta), i)[0])) for s in (1, -1))
        jacobian[:, i] = [(up[n] - down[n]) / (2.0 * h) for n in names]
    spread = np.einsum("qi,ij,qj->q", jacobian, fit.variance_covariance, jacobian)
    with np.errstate(invalid="ignore"):
        errors = np.sqrt(np.where(spread > 1e-20, spread, np.nan))
    return here, dict(zip(names, errors.tolist(), strict=True))


def _values(keys: list[tuple[str, str]], theta: Array) -> Values:
    out: dict[str, dict[str, float]] = {}
    for (term, parameter), value in zip(keys, theta, strict=True):
        out.setdefault(term, {})[parameter] = float(value)
    return out


# -- verdicts ----------------------------------------------------------------------------------


def verdict_complaints(family: Family, model: MixedModel, fit: Fit, rng: np.random.Generator | None) -> list[str]:
    """What speaks against a converged fit: a higher likelihood elsewhere, or a slope."""
    out = []
    at_truth = model.loglik(family.truth)
    if at_truth > fit.loglik + BEATEN:
        out.append(f"the truth has a log-likelihood {at_truth - fit.loglik:.3g} higher")
    out += _restarted(model, fit, family.truth, "the truth")
    if rng is not None:
        out += _restarted(model, fit, elsewhere(family.truth, rng), "a random point")
        out += _slopes(model, fit)
    return out


def _restarted(model: MixedModel, fit: Fit, start: Values, name: str) -> list[str]:
    other = model.fit(start=start, progress=False)
    gain = other.loglik - fit.loglik
    return [f"from {name} a log-likelihood {gain:.3g} higher is reached"] if gain > BEATEN else []


def elsewhere(truth: Values, rng: np.random.Generator) -> Values:
    """A point of the parameter space: every variance of a term times one factor, correlations shrunk by another."""
    out: dict[str, dict[str, float]] = {}
    for term, parameters in truth.items():
        scale, shrink = float(np.exp(rng.normal(0.0, 0.7))), float(rng.uniform(0.1, 1.0))
        out[term] = {}
        for name, value in parameters.items():
            kind = name.rsplit(": ", 1)[-1].split("(")[0].split(" ")[0]
            factor = {
                "cov": scale * shrink,
                "correlation": shrink,
                "cor": shrink,
                "power": shrink,
                "loading": np.sqrt(scale),
            }.get(kind, scale)
            out[term][name] = value * float(factor)
    return out


def _slopes(model: MixedModel, fit: Fit) -> list[str]:
    """∂ℓ/∂θ by central differences of the free parameters, in standard errors."""
    table = fit.variance_components
    keys = list(zip(table["term"], table["parameter"], strict=True))
    theta = table["estimate"].to_numpy(float)
    errors = table["std_error"].to_numpy(float)
    lower = fit.specification.parameters.lower
    free = np.flatnonzero((table["status"] == "free").to_numpy() & np.isfinite(errors))
    out = []
    for i in free:

        def along(x: Array, i: int = int(i)) -> float:
            at = theta.copy()
            at[i] = x[0]
            try:
                return model.loglik(_values(keys, at))
            except RemlBlupError:
                return np.nan

        # ℓ bends like √v where a variance v is near zero and correlations go with it.
        width = 1e-2 * errors[i] if lower[i] != 0.0 else min(1e-2 * errors[i], 2e-2 * theta[i])
        slope = float(gradient(along, theta[i : i + 1], np.array([width]))[0] * errors[i])
        if abs(slope) > FLAT:
            out.append(f"the slope of {keys[i][0]} [{keys[i][1]}] is {slope:.2g} per standard error")
    return out
