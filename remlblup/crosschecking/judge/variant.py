"""A dull reason: another model, another method, or other numbers for the same estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from remlblup.arrays import Array
from remlblup.model.design import named_relationships
from remlblup.model.specification import Specification, from_formula
from remlblup.relationship.base import RelationshipBase


@dataclass(frozen=True)
class Variant:
    """One way in which theirs may come about.

    Attributes
    ----------
    reason : in a few words, as the verdict says it
    detail : what was changed
    make : the model; None where it is ours
    method : "REML" or "ML"; None for that of our fit
    of : from the estimates of that model to the numbers printed
    slight : whether it changes so little that a second reason with it explains nothing
    last : whether it cannot be changed once more
    """

    reason: str
    detail: str
    make: Callable[[], Specification] | None = None
    method: str | None = None
    of: Callable[[Array], Array] | None = None
    slight: bool = False
    last: bool = False


def other_method(method: str) -> Variant:
    """ML for REML, or the reverse."""
    other = "ML" if method == "REML" else "REML"
    return Variant(f"{other} in place of {method}", f"estimated by {other}", None, other)


@dataclass(frozen=True)
class Ours:
    """What the variants are made of: our model, in parts.

    Attributes
    ----------
    spec, method : of our fit
    frame : the records used, as the user gave them
    whole : the whole data with the rows that we left out, where the user gave it
    relationships : NAME → relationship
    """

    spec: Specification
    method: str
    frame: pd.DataFrame
    whole: pd.DataFrame | None
    relationships: dict[str, RelationshipBase]

    @classmethod
    def of(cls, spec: Specification, method: str, whole: pd.DataFrame | None = None) -> Ours | None:
        """None for a model made from matrices, which has no data to change."""
        if spec.formula is None or spec.records is None:
            return None
        return cls(spec, method, spec.records.original, whole, named_relationships(spec.random))

    def model(
        self,
        frame: pd.DataFrame | None = None,
        relationships: dict[str, RelationshipBase] | None = None,
        weights: str | None = "as ours",
        formula: str | None = None,
    ) -> Specification:
        """Our model with other records, relationships, weights or formula."""
        spec = self.spec
        assert spec.formula is not None and spec.records is not None
        given = (self.relationships if relationships is None else relationships) | dict(spec.matrices)
        own = spec.records.weights if weights == "as ours" else weights
        data = self.frame if frame is None else frame
        text = formula or spec.formula.text
        return from_formula(text, data, given, spec.residual_text, own, "drop", spec.unknown_parents)
