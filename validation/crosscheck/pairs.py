"""Two dull reasons at once."""

from __future__ import annotations

import numpy as np

import remlblup as rb
from remlblup.validation.crosscheck.simulate import ANIMAL, Disagreement, animal_fit, animals, components, no_inbreeding


def likelihood_and_inbreeding(rng: np.random.Generator) -> Disagreement:
    """ML, by an A⁻¹ whose parents are taken as not inbred."""
    data, pedigree = animals(rng)
    data["herd"] = [f"h{k}" for k in rng.integers(0, 15, len(data))]
    formula = ANIMAL.replace("sex", "sex + herd")
    ours = rb.MixedModel(formula, data, {"A": pedigree}).fit(progress=False)
    theirs = rb.MixedModel(formula, data, {"A": no_inbreeding(pedigree)}).fit("ML", progress=False)
    return Disagreement("inbreeding ignored and ML in place of REML", ours, components(theirs))


def weights_and_records(rng: np.random.Generator) -> Disagreement:
    """1/w where w was meant, and rows left out that miss anything in a column that the model does not use."""
    data, pedigree = animals(rng)
    data = data.drop(columns="z")
    other = data.assign(weight=1.0 / data["weight"]).dropna()
    reason = "weights inverted and records dropped"
    ours, theirs = animal_fit(data, pedigree, "weight"), animal_fit(other, pedigree, "weight")
    return Disagreement(reason, ours, components(theirs))


def ratios_by_maximum_likelihood(rng: np.random.Generator) -> Disagreement:
    """ML, and the components over the residual variance."""
    data, pedigree = animals(rng)
    data["herd"] = [f"h{k}" for k in rng.integers(0, 15, len(data))]
    model = rb.MixedModel("y ~ sex + herd + (1 | vm(id, A))", data, {"A": pedigree})
    theirs = components(model.fit("ML", progress=False), lambda theta: np.append(theta[:-1] / theta[-1], theta[-1]))
    return Disagreement("ML in place of REML and components as ratios", model.fit(progress=False), theirs)
