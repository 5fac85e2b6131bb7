"""mixedlm-rs: the interface of statsmodels on a Rust engine, for one grouping factor."""

from __future__ import annotations

import warnings
from typing import Any

from remlblup.validation.benchmarks.model import Case
from remlblup.validation.benchmarks.peers.base import Answer, Job, Peer, components


class MixedlmRs(Peer):
    """`mixedlm` of mixedlm_rs."""

    name = "mixedlm-rs"
    does = "mixedlm (formula) + fit (REML) + random_effects + bse_fe"
    package = ("mixedlm-rs", "mixedlm_rs")

    def can(self, case: Case) -> str:
        return super().can(case) or ("one grouping factor only" if case.model.crossed else "")

    def run(self, task: Job) -> Any:
        import mixedlm_rs

        model = task.model
        (term,) = model.random
        re_formula = f"~{term.slope}" if term.slope else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = mixedlm_rs.mixedlm(
                model.fixed_formula, task.data.frame, groups=term.group, re_formula=re_formula
            ).fit()
            assert len(result.random_effects) and len(result.bse_fe)
        return result

    def answer(self, job: Job, task: Job, result: Any) -> Answer:
        return Answer(
            loglik=float(result.llf),
            estimates=components(job.model, [result.cov_re], result.scale),
            converged=bool(result.converged),
        )


PEER = MixedlmRs()
