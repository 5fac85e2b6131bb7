"""mixedlm: lme4's formulas on a Rust engine."""

from __future__ import annotations

import warnings
from typing import Any

from remlblup.validation.benchmarks.peers.base import Answer, Job, Peer, components


class Mixedlm(Peer):
    """`lmer` of mixedlm."""

    name = "mixedlm"
    does = "lmer (REML) + ranef + vcov"
    package = ("mixedlm", "mixedlm")

    def load(self) -> None:
        from mixedlm import lmer

        assert lmer

    def run(self, task: Job) -> Any:
        from mixedlm import lmer

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = lmer(task.model.formula, task.data.frame)
            assert len(result.ranef()) and len(result.vcov())
        return result

    def answer(self, job: Job, task: Job, result: Any) -> Answer:
        groups = result.VarCorr().groups
        blocks = [groups[term.group].cov for term in job.model.random]
        return Answer(
            loglik=float(result.logLik().value),
            estimates=components(job.model, blocks, result.sigma**2),
            converged=bool(result.converged),
            iterations=int(result.n_iter),
        )


PEER = Mixedlm()
