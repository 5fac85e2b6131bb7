"""formulaic's model matrices with the values of the expressions made by us: formulaic codes factors,
it evaluates nothing."""

from __future__ import annotations

from typing import Any

from formulaic.materializers import PandasMaterializer
from interface_meta import override

from remlblup.model.evaluation import evaluate
from remlblup.model.expression import read
from remlblup.model.frame import plain


class Materializer(PandasMaterializer):
    """`PandasMaterializer` that looks names up in the data alone and walks trees instead of running text."""

    REGISTER_NAME = "remlblup"
    REGISTER_INPUTS = ()
    REGISTER_PRECEDENCE = 1

    @override
    def _lookup(self, name: str) -> tuple[Any, set]:
        return plain(self.data[name]), set()

    @override
    def _evaluate(self, expr: str, metadata: Any, spec: Any) -> tuple[Any, set]:
        return evaluate(read(expr), self.data, spec.transform_state, spec), set()
