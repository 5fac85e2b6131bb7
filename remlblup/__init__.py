"""remlblup: variance components by REML and BLUPs from Henderson's mixed model equations.

import remlblup as rb
model = rb.MixedModel("bwt ~ sex + (1 | vm(animal, A))", data, relationships={"A": pedigree})
fit = model.fit()
print(fit.summary())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from remlblup._version import __version__ as __version__

# Where each public name lives; modules are imported on first use.
_PUBLIC = {
    "MixedModel": "remlblup.mixed_model",
    "fit_many": "remlblup.many",
    "Fits": "remlblup.many",
    "Fit": "remlblup.result",
    "Solved": "remlblup.fit.solved",
    "load": "remlblup.result",
    "likelihood_ratio": "remlblup.inference.comparison.likelihood_ratio",
    "compare": "remlblup.inference.comparison.compare",
    "henderson": "remlblup.equations.textbook",
    "Pedigree": "remlblup.relationship.pedigree.pedigree",
    "Relationship": "remlblup.relationship.given.matrix",
    "plot_pedigree": "remlblup.plot.pedigree",
    "Genotypes": "remlblup.relationship.genomic.genotypes",
    "genomic_matrix": "remlblup.relationship.genomic.matrix",
    "genomic_relationship": "remlblup.relationship.genomic.relationship",
    "blend": "remlblup.relationship.genomic.tuning",
    "tune": "remlblup.relationship.genomic.tuning",
    "snp_effects": "remlblup.fit.terms.marker_effects",
    "cross_validate": "remlblup.cross_validation",
    "SingleStep": "remlblup.relationship.single_step.relationship",
    "datasets": "remlblup.datasets",
    "simulate_flock": "remlblup.datasets",
    "read_results": "remlblup.crosschecking.readers.read",
    "crosscheck": "remlblup.crosschecking.judge.crosscheck",
    "write_model": "remlblup.crosschecking.writers.write",
    "RemlBlupError": "remlblup.errors",
    "FormulaError": "remlblup.errors",
    "DataError": "remlblup.errors",
    "ReaderError": "remlblup.errors",
    "StoreError": "remlblup.errors",
    "CheckpointError": "remlblup.errors",
    "RelationshipError": "remlblup.errors",
    "PedigreeError": "remlblup.errors",
    "VarianceError": "remlblup.errors",
    "ModelError": "remlblup.errors",
    "OptionError": "remlblup.errors",
    "StochasticError": "remlblup.errors",
    "NotPositiveDefiniteError": "remlblup.errors",
    "DependencyError": "remlblup.errors",
    "DeviceError": "remlblup.errors",
    "WorkersError": "remlblup.errors",
    "DaskWorkers": "remlblup.equations.stochastic.dask_workers",
    "MemoryLimitError": "remlblup.errors",
    "CheckpointWarning": "remlblup.errors",
    "FitInterrupted": "remlblup.errors",
    "CodesWarning": "remlblup.errors",
    "register_function": "remlblup.model.functions",
    "RemlBlupWarning": "remlblup.errors",
    "ConvergenceWarning": "remlblup.errors",
    "EstimabilityWarning": "remlblup.errors",
    "set_threads": "remlblup.linalg.threads",
    "Structure": "remlblup.structure.base",
    "register_structure": "remlblup.structure.table",
}

if TYPE_CHECKING:
    from remlblup import datasets as datasets
    from remlblup.cross_validation import cross_validate as cross_validate
    from remlblup.crosschecking.judge.crosscheck import crosscheck as crosscheck
    from remlblup.crosschecking.readers.read import read_results as read_results
    from remlblup.crosschecking.writers.write import write_model as write_model
    from remlblup.datasets import simulate_flock as simulate_flock
    from remlblup.equations.stochastic.dask_workers import DaskWorkers as DaskWorkers
    from remlblup.equations.textbook import henderson as henderson
    from remlblup.errors import CheckpointError as CheckpointError
    from remlblup.errors import CheckpointWarning as CheckpointWarning
    from remlblup.errors import CodesWarning as CodesWarning
    from remlblup.errors import ConvergenceWarning as ConvergenceWarning
    from remlblup.errors import DataError as DataError
    from remlblup.errors import DependencyError as DependencyError
    from remlblup.errors import DeviceError as DeviceError
    from remlblup.errors import EstimabilityWarning as EstimabilityWarning
    from remlblup.errors import FitInterrupted as FitInterrupted
    from remlblup.errors import FormulaError as FormulaError
    from remlblup.errors import MemoryLimitError as MemoryLimitError
    from remlblup.errors import ModelError as ModelError
    from remlblup.errors import NotPositiveDefiniteError as NotPositiveDefiniteError
    from remlblup.errors import OptionError as OptionError
    from remlblup.errors import PedigreeError as PedigreeError
    from remlblup.errors import ReaderError as ReaderError
    from remlblup.errors import RelationshipError as RelationshipError
    from remlblup.errors import RemlBlupError as RemlBlupError
    from remlblup.errors import RemlBlupWarning as RemlBlupWarning
    from remlblup.errors import StochasticError as StochasticError
    from remlblup.errors import StoreError as StoreError
    from remlblup.errors import VarianceError as VarianceError
    from remlblup.errors import WorkersError as WorkersError
    from remlblup.fit.solved import Solved as Solved
    from remlblup.fit.terms.marker_effects import snp_effects as snp_effects
    from remlblup.inference.comparison.compare import compare as compare
    from remlblup.inference.comparison.likelihood_ratio import likelihood_ratio as likelihood_ratio
    from remlblup.linalg.threads import set_threads as set_threads
    from remlblup.many import Fits as Fits
    from remlblup.many import fit_many as fit_many
    from remlblup.mixed_model import MixedModel as MixedModel
    from remlblup.model.functions import register_function as register_function
    from remlblup.plot.pedigree import plot_pedigree as plot_pedigree
    from remlblup.relationship.genomic.genotypes import Genotypes as Genotypes
    from remlblup.relationship.genomic.matrix import genomic_matrix as genomic_matrix
    from remlblup.relationship.genomic.relationship import genomic_relationship as genomic_relationship
    from remlblup.relationship.genomic.tuning import blend as blend
    from remlblup.relationship.genomic.tuning import tune as tune
    from remlblup.relationship.given.matrix import Relationship as Relationship
    from remlblup.relationship.pedigree.pedigree import Pedigree as Pedigree
    from remlblup.relationship.single_step.relationship import SingleStep as SingleStep
    from remlblup.result import Fit as Fit
    from remlblup.result import load as load
    from remlblup.structure.base import Structure as Structure
    from remlblup.structure.table import register_structure as register_structure

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'remlblup' has no attribute '{name}'")
    module = importlib.import_module(_PUBLIC[name])
    value = module if name == "datasets" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
