"""Likelihood-ratio tests of nested models, with the null distribution that belongs to what is tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.equations.variance.expected_information import ExpectedInformation
from remlblup.errors import ModelError, NotPositiveDefiniteError, choose, whole_number
from remlblup.fit.estimates import Estimates
from remlblup.inference.comparison.nested import Added, Nesting, nesting, require_comparable
from remlblup.inference.comparison.null_distribution import DRAWS, Mixture, exact_draws, of_variances
from remlblup.inference.resampling.bootstrap import here, in_processes
from remlblup.inference.resampling.refit import equations_of, held_values
from remlblup.inference.resampling.replicates import Replicates
from remlblup.inference.resampling.simulate import batches
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import within_memory
from remlblup.linalg.scaled_solve import scaled_inverse
from remlblup.linalg.threads import single_threaded
from remlblup.reml.loop import Loop
from remlblup.reml.origin import Centred
from remlblup.reml.together.reduction import Reduction, is_one, reducible

NULLS = ("mixture", "chi2", "simulate")
# Records up to which the expected information is computed from V itself.
RECORDS = 1500
# A gain below this share of ℓ is rounding, or the last steps of two searches.
ROUNDING = 1e-9
# Replicates of a simulated null.
REPLICATES = 1000


@dataclass(frozen=True)
class LikelihoodRatio:
    """A likelihood-ratio test.

    Attributes
    ----------
    statistic : 2(ℓ of the larger model − ℓ of the smaller)
    p_value
    df : parameters that the larger model has more
    null : the distribution that p is from, in words
    weights : degrees of freedom → weight of a mixture of χ²; empty where it was simulated
    draws : of a simulated null, its values; None else
    table : a row per model: parameters, loglik
    """

    statistic: float
    p_value: float
    df: int
    null: str
    weights: dict[int, float]
    draws: Array | None
    table: pd.DataFrame

    def __str__(self) -> str:
        head = (
            f"Likelihood ratio {self.statistic:.4f} on {self.df} parameter{'s' if self.df > 1 else ''}, "
            f"p = {self.p_value:.4g}"
        )
        return f"{head}\nNull: {self.null}\n\n{self.table.to_string()}"

    def __repr__(self) -> str:
        return f"<LikelihoodRatio: {self.statistic:.4f}, p = {self.p_value:.4g}; {self.null}>"


@within_memory
@known_arguments
@single_threaded
def likelihood_ratio(
    smaller: Estimates,
    larger: Estimates,
    null: str = "mixture",
    seed: int = 0,
    n: int | None = None,
    workers: int | None = None,
) -> LikelihoodRatio:
    """Test what a larger model adds to a smaller one.

    Parameters
    ----------
    smaller, larger : fits of nested models to the same records, by the same method; by REML with the same fixed part.
        The smaller may be the larger with parameters held by `fix=`, which tests their values.
    null : {"mixture", "chi2", "simulate"}
        "mixture": that of large samples with its weights, where variances are on their bound under the smaller model:
        ½ χ²(0) + ½ χ²(1) of one variance, ½ χ²(k) + ½ χ²(k+1) where a free covariance matrix of k effects gets one
        more, two or three variances with the weights that their information gives; χ² where nothing is on a bound.
        "chi2": χ² with as many degrees of freedom as parameters, too cautious for variances.
        "simulate": of one variance beside independent residuals the exact distribution of finite samples (Crainiceanu &
        Ruppert 2004), of any other models by drawing from the smaller and fitting both.
    seed : of the draws
    n : number of draws; 100,000 of the exact distribution, else 1,000
    workers : number of processes that fit, one by default

    Returns
    -------
    LikelihoodRatio : statistic, p_value, df, null, weights, table

    Raises
    ------
    ModelError, DataError
        For fits that did not converge, of other records or methods, REML fits with other fixed parts, models that are
        not nested; where the mixture has no known weights, with what to do.

    Examples
    --------
    >>> smaller = rb.MixedModel("Reaction ~ Days + (1 | Subject)", sleep).fit()
    >>> round(rb.likelihood_ratio(smaller, fit).statistic, 3)
    42.837
    """
    choose("null", null, NULLS)
    seed = whole_number("seed", seed, 0)
    require_comparable(smaller, larger)
    added = nesting(smaller, larger)
    statistic = gain(smaller, larger)
    df = added.fixed + added.parameters
    table = pd.DataFrame(
        {
            "parameters": [fit.n_parameters for fit in (smaller, larger)],
            "loglik": [fit.loglik for fit in (smaller, larger)],
        },
        index=pd.Index([fit.formula or "from matrices" for fit in (smaller, larger)], name="model"),
    )
    if null == "simulate":
        draws, said = simulated(smaller, larger, added, seed, n, workers)
        exact = "exact" in said
        above = int(np.sum(draws >= statistic))
        p = above / len(draws) if exact else (1 + above) / (1 + len(draws))
        return LikelihoodRatio(statistic, p, df, said, {}, draws, table)
    mixture, said = (Mixture({df: 1.0}), "") if null == "chi2" else mixture_of(added, larger)
    return LikelihoodRatio(statistic, mixture.p_value(statistic), df, f"{mixture}{said}", mixture.weights, None, table)


def gain(smaller: Estimates, larger: Estimates) -> float:
    """2(ℓ_larger − ℓ_smaller); zero where it is zero but for rounding, as of a variance that ended on its bound."""
    statistic = 2.0 * (larger.loglik - smaller.loglik)
    if statistic < -1e-6 * (1.0 + abs(smaller.loglik)):
        raise ModelError(
            f"the larger model has a log-likelihood of {larger.loglik:.6f}, below the {smaller.loglik:.6f} of the"
            " smaller one, which it holds: its search has ended at a lower maximum. Fit it again with starts=10."
        )
    return statistic if statistic > ROUNDING * (1.0 + abs(smaller.loglik)) else 0.0


# -- in large samples ----------------------------------------------------------------------------


def mixture_of(added: Nesting, larger: Estimates) -> tuple[Mixture, str]:
    """The mixture, and in words where its weights come from.

    Raises
    ------
    ModelError
        If they are not known.
    """
    free, bounded, grown = added.fixed, list[Added](), list[Added]()
    for term in added.terms:
        if term.irregular:
            raise unknown(f"the smaller model is the larger one with {term.irregular}")
        kind = kind_of(term, larger.options.constrain)
        if kind == "free":
            free += term.parameters
        elif kind == "variances":
            bounded.append(term)
        elif kind == "grown":
            grown.append(term)
        else:
            many = f"adds {term.parameters} parameters of '{kind}' at once"
            raise unknown(f"'{term.name}' {f'frees {kind}' if term.freed else many}")
    if len(grown) > 1 or (grown and bounded):
        names = [t.name for t in (*grown, *bounded)]
        raise unknown(f"covariance matrices grow and variances are added together ({', '.join(names)})")
    if grown:
        k = grown[0].parameters - 1
        return Mixture({k: 0.5, k + 1: 0.5}).with_df(free), ""
    if not bounded:
        return Mixture({free: 1.0}), ""
    index = [i for term in bounded for i in term.places]
    if len(index) > 3:
        raise unknown(f"{len(index)} variances are tested at once")
    if len(index) == 1:
        return of_variances(np.ones((1, 1))).with_df(free), ""
    covariance, of = covariance_at(added, larger)
    return of_variances(covariance[np.ix_(index, index)]).with_df(free), f", weights by the {of} information"


def unknown(why: str) -> ModelError:
    return ModelError(
        f'{why}: the weights of the mixture are not known in closed form. Draw the distribution, null="simulate", '
        "or add what is tested one by one."
    )


def kind_of(term: Added, constrained: bool) -> str:
    """ "free", "variances" (each on its bound), "grown" (a free matrix with one effect more), or what it is else."""
    s = term.structure
    if s is not None and not constrained and s.signed.all():
        return "free"  # variances may be negative: zero is no bound
    if term.freed:
        if not term.singular:
            return "free"
        alone = s is not None and s.size == 1 and len(term.places) == term.parameters == 1
        return "variances" if alone else "parameters held by fix= where a covariance matrix is singular"
    if s is None:
        return "free"
    diagonal = s.linear and all(i == a for i, a in s.slots)
    if term.before == term.after:
        # Covariances and correlations between effects that are there; a factor may begin anywhere.
        return (
            "free"
            if s.linear or (not s.in_factor and s.loading_derivatives(s.project(np.eye(s.size))) is None)
            else s.keyword
        )
    if diagonal and (term.before == 0 or s.n_parameters == s.size):
        return "variances"
    if s.cone and term.before == 0 and s.size == 1:
        return "variances"
    if s.cone and term.after == term.before + 1 and term.parameters == term.after:
        return "grown"
    return s.keyword


def covariance_at(added: Nesting, larger: Estimates) -> tuple[Array, str]:
    """Inverse information of the larger model where it is the smaller one, and which."""
    ml, held, theta, equations = larger.options.ml, held_values(larger), added.theta, equations_of(larger)
    if (centred := Centred.of(equations, larger.options.constrain, ~np.isnan(held))) is not None:
        # The variances beside a term with a far origin are what they are around the records.
        turned, equations = centred.equations, centred.equations.near
        theta, held = turned.theta_near(theta), turned.theta_near(held)
    spec, free = equations.spec, np.isnan(held)
    if spec.n <= RECORDS and not spec.residual.n_filled:
        try:
            return inverse_of_free(ExpectedInformation(spec, ml).at(theta), free), "expected"
        except (NotPositiveDefiniteError, ModelError):
            pass
    point = Loop(equations, larger.options, theta, held).surface.at(theta)
    if point is None:
        raise unknown("V of the smaller model is not positive definite")
    return inverse_of_free(point.information, free), "average"


def inverse_of_free(information: Array, free: np.ndarray) -> Array:
    """The covariance of the parameters that are estimated; those that are held have none."""
    out = np.zeros_like(information)
    out[np.ix_(free, free)] = scaled_inverse(information[np.ix_(free, free)])
    return out


# -- drawn ---------------------------------------------------------------------------------------


def simulated(
    smaller: Estimates, larger: Estimates, added: Nesting, seed: int, n: int | None, workers: int | None
) -> tuple[Array, str]:
    """The statistic under the smaller model: draws, and what they are in words."""
    spec, held = larger.specification, ~np.isnan(held_values(larger))
    one = not smaller.specification.random and is_one(spec) and np.isnan(held_values(smaller)).all()
    if one and reducible(spec, held, larger.options.constrain) is None:
        draws = DRAWS if n is None else whole_number("n", n, 1, 10_000_000)
        ml = larger.options.ml
        reduction = Reduction.of(spec, ml)
        values = positive(np.asarray(np.linalg.eigvalsh(reduction.M), np.float64))
        whole = positive(np.asarray(np.linalg.eigvalsh(reduction.whole), np.float64)) if ml else values
        freedom = spec.n - spec.p
        found = exact_draws(values, whole, freedom, reduction.freedom, added.fixed, draws, seed)
        return found, f"exact for finite samples (Crainiceanu & Ruppert 2004), {draws:,} draws"
    count = REPLICATES if n is None else whole_number("n", n, 1, 10_000_000)
    found = refitted(smaller, larger, seed, count, workers)
    lost = count - len(found)
    failed = f"; {lost:,} could not be fitted by both models and are left out" if lost else ""
    if not len(found):
        raise ModelError("no replicate of the smaller model could be fitted by both models.")
    return found, f"simulated from the smaller model, {count:,} replicates fitted by both{failed}"


def refitted(smaller: Estimates, larger: Estimates, seed: int, n: int, workers: int | None) -> Array:
    """2(ℓ_larger − ℓ_smaller) of replicates of the smaller model, those that both could be fitted to."""
    one = Replicates(smaller)
    both = (one, Replicates(larger, drawn_from=smaller))
    logliks: list[Any] = []
    for replicates in both:
        from_batches = run(replicates, n, seed, 1 if workers is None else whole_number("workers", workers, 1, 1000))
        logliks.append(from_batches)
    found = 2.0 * (logliks[1] - logliks[0])
    return np.maximum(found[np.isfinite(found)], 0.0)


def run(replicates: Replicates, n: int, seed: int, workers: int) -> Array:
    """ℓ of every replicate, (n,)."""
    parts = batches(n, replicates.spec.n)
    out = np.full(n, np.nan)
    for batch in (in_processes if workers > 1 and len(parts) > 1 else here)(replicates, parts, seed, workers):
        if batch.values.shape[1]:
            out[batch.first : batch.first + len(batch.values)] = batch.values[:, -1]
    return out


def positive(values: Array) -> Array:
    """Eigenvalues that are not zero but for rounding."""
    return values[values > len(values) * np.finfo(float).eps * max(float(values[-1]), 0.0)]
