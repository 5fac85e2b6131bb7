"""statsmodels' `MixedLM`."""

from __future__ import annotations

import warnings
from typing import Any

from remlblup.validation.benchmarks.peers.base import Answer, Job, Peer, components


class Statsmodels(Peer):
    """One grouping factor as `groups`; crossed factors as variance components of one group of all records."""

    name = "statsmodels"
    does = "MixedLM.from_formula + fit(reml=True) with default settings + random_effects + bse_fe"
    package = ("statsmodels", "statsmodels")

    def load(self) -> None:
        from statsmodels.regression.mixed_linear_model import MixedLM

        assert MixedLM

    def run(self, task: Job) -> Any:
        from statsmodels.regression.mixed_linear_model import MixedLM

        model, frame = task.model, task.data.frame
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if model.crossed:
                options: dict[str, Any] = {
                    "groups": [1] * len(frame),
                    "vc_formula": {term.group: f"0 + C({term.group})" for term in model.random},
                }
            else:
                (term,) = model.random
                options = {"groups": frame[term.group], "re_formula": f"~ {term.slope}" if term.slope else None}
            result = MixedLM.from_formula(model.fixed_formula, frame, **options).fit(reml=True)
            assert result.random_effects and len(result.bse_fe)
        return result

    def answer(self, job: Job, task: Job, result: Any) -> Answer:
        blocks = [result.cov_re.to_numpy()]
        if job.model.crossed:
            named = dict(zip(result.model.exog_vc.names, result.vcomp, strict=True))
            blocks = [[[named[term.group]]] for term in job.model.random]
        return Answer(
            loglik=float(result.llf),
            estimates=components(job.model, blocks, result.scale),
            converged=bool(result.converged),
        )


PEER = Statsmodels()
