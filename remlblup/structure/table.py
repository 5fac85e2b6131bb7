"""Names of the structures as written in a formula, and the class of each."""

from __future__ import annotations

from remlblup.structure.base import Structure
from remlblup.structure.diagonal import Diagonal
from remlblup.structure.identity import Identity
from remlblup.structure.unstructured import Unstructured

STRUCTURES: dict[str, type[Structure]] = {cls.keyword: cls for cls in (Identity, Diagonal, Unstructured)}

# Residual structures are listed here as they are written in `residual=`.
RESIDUALS = ("units",)
