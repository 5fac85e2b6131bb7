"""What a structure keeps of itself is what it would compute anew."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import remlblup.structure
from remlblup.cached import cached_property
from remlblup.structure.parametric import Parametric

for found in pkgutil.walk_packages(remlblup.structure.__path__, "remlblup.structure."):
    importlib.import_module(found.name)


def kinds(base: type = Parametric) -> list[type]:
    return [base, *(kind for each in base.__subclasses__() for kind in kinds(each))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_no_kept_property_asks_its_parent_for_the_same_name(kind):
    """An instance keeps one value under a name: that of the parent would be taken for its own."""
    for name, value in vars(kind).items():
        if isinstance(value, cached_property):
            assert f"super().{name}" not in inspect.getsource(value.function), f"{kind.__name__}.{name}"
