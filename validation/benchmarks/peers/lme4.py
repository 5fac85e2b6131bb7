"""lme4 through Rscript."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remlblup.validation.benchmarks.peers.base import MOST, SETTLED, Answer, Available, Job, Peer, Report, components

#: Arguments: data, formula, factors (comma-separated), repeats, seconds until no further run is
#: begun, and the two constants of `base.rounds`.
SCRIPT = r"""
arguments <- commandArgs(trailingOnly = TRUE)
say <- function(...) { cat(..., "\n"); flush(stdout()) }
now <- function() as.numeric(Sys.time())
begun <- now()
suppressPackageStartupMessages(library(lme4))
say("import", now() - begun)
data <- read.csv(arguments[1], colClasses = NA)
for (name in strsplit(arguments[3], ",")[[1]]) data[[name]] <- factor(data[[name]])
formula <- as.formula(arguments[2])
repeats <- as.integer(arguments[4])
limit <- as.numeric(arguments[5])
settled <- as.numeric(arguments[6])
most <- if (repeats == 0) 0 else max(repeats, as.integer(arguments[7]))
say("ready", 0)
ready <- now()
for (k in 0:most) {
  start <- now()
  model <- suppressMessages(lmer(formula, data))
  effects <- ranef(model, condVar = FALSE)
  errors <- coef(summary(model))
  seconds <- now() - start
  say("run", format(seconds, digits = 12))
  if (k == 0) {
    say("loglik", format(as.numeric(logLik(model)), digits = 16))
    for (group in names(VarCorr(model)))
      say("block", group, format(as.vector(VarCorr(model)[[group]]), digits = 16))
    say("residual", format(sigma(model)^2, digits = 16))
    say("iterations", model@optinfo$feval)
    say("messages", length(model@optinfo$conv$lme4$messages))
  }
  spent <- now() - ready
  if (spent + seconds > limit || (k >= repeats && spent > settled)) break
}
"""


class Lme4(Peer):
    """`lmer` of lme4, in a process of R that times itself."""

    name = "lme4"
    does = "lmer (REML) + ranef without conditional variances + summary; data already in R"

    def available(self) -> Available:
        program = shutil.which("Rscript")
        if program is None:
            return Available(None, "no Rscript: apt-get install r-base-core r-cran-lme4")
        asked = 'cat(as.character(packageVersion("lme4")), as.character(getRversion()))'
        found = subprocess.run([program, "-e", asked], capture_output=True, text=True, check=False)
        if found.returncode != 0:
            return Available(None, "R has no lme4: apt-get install r-cran-lme4")
        version, r_version = found.stdout.split()
        return Available(f"{version} (R {r_version})")

    def load(self) -> None:
        """R loads lme4 itself and reports the time."""

    def measure(self, job: Job, report: Report) -> None:
        answer, blocks = Answer(), {}
        for word, *values in self._lines(job):
            if word in ("import", "run"):
                report(word, {"seconds": float(values[0])})
            elif word == "block":
                numbers = list(map(float, values[1:]))
                t = round(len(numbers) ** 0.5)
                blocks[values[0]] = [numbers[k * t : (k + 1) * t] for k in range(t)]
            elif word == "loglik":
                answer.loglik = float(values[0])
            elif word == "residual":
                ordered = [blocks[term.group] for term in job.model.random]
                answer.estimates = components(job.model, ordered, float(values[0]))
            elif word == "iterations":
                answer.iterations = int(values[0])
            elif word == "messages":
                answer.converged = values[0] == "0"
                report("answer", answer.to_dict())
        report("memory", {"peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024.0})

    def _lines(self, job: Job) -> Iterator[list[str]]:
        """What the script prints, as it does so."""
        with tempfile.TemporaryDirectory() as folder:
            data, script = Path(folder, "data.csv"), Path(folder, "fit.R")
            job.data.frame.to_csv(data, index=False)
            script.write_text(SCRIPT, encoding="utf-8")
            left = max(job.deadline - time.monotonic(), 0.0)
            options = [job.model.formula, ",".join(_factors(job)), *map(str, (job.repeats, left, SETTLED, MOST))]
            command = ["Rscript", "--vanilla", str(script), str(data), *options]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.strip():
                        yield line.split()
            if process.returncode != 0:
                raise RuntimeError(f"Rscript ended with code {process.returncode}")


def _factors(job: Job) -> list[str]:
    """Columns of text: factors, also where their labels look like numbers."""
    frame: Any = job.data.frame
    return [name for name in frame.columns if not hasattr(frame[name].dtype, "kind") or frame[name].dtype.kind in "OU"]


PEER = Lme4()
