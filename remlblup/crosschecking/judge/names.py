"""Names of programs and ours made alike: of factors, effects, coefficients."""

from __future__ import annotations

import re

from remlblup.model.specification import Specification

#: Words around a factor that say how it is used.
_WRAPPED = re.compile(r"^(?:vm|ped|giv|ide|id|us|diag|at|nrm|grm|idv|vsr|mm|C|factor)\((.*)\)$", re.I)
_SPLIT = re.compile(r"\s*(?:%in%|:|/|!|\.(?=[A-Za-z(])|\|)\s*")
_TRAIT = {"trait", "units", "unit"}
_CODING = re.compile(r"C\(([^,()]*)[^)]*\)|\[(?:T\.|S\.)?(.*?)\]")


def plain_factor(text: str) -> str:
    """A factor's name alone, small, without marks."""
    text = text.strip()
    while found := _WRAPPED.match(text):
        text = found[1].split(",")[0].strip()
    return re.sub(r"\W|_", "", text.lower())


def factors(term: str) -> frozenset[str]:
    """The factors of a term as another program writes it: ``Variety %in% Block``, ``Trait.ANI_ID``, ``vm(a, A)``.

    Examples
    --------
    >>> sorted(factors("Variety %in% Block")), sorted(factors("Trait.ide(ANI_ID)")), sorted(factors("Subject.1"))
    (['block', 'variety'], ['aniid'], ['subject'])
    """
    parts = {plain_factor(re.sub(r"\.\d+$", "", part)) for part in _SPLIT.split(term)}
    return frozenset(p for p in parts if p and p not in _TRAIT) or frozenset({plain_factor(term)})


def own_factors(spec: Specification) -> list[frozenset[str]]:
    """The factors of each of our random terms."""
    out = []
    for design in spec.random:
        groups = getattr(design.term, "groups", None)
        if groups is None:
            out.append(factors(design.name))
        else:
            out.append(frozenset(plain_factor(f) for g in groups for f in g.factors))
    return out


def plain_effect(text: str) -> str:
    """An effect within a term: the intercept is none."""
    bare = re.sub(r"\W|_", "", text.lower())
    return "" if bare in ("intercept", "1", "variance", "const") else bare


def plain_coefficient(text: str) -> str:
    """A coefficient without its coding, the factors of a product in order.

    Examples
    --------
    >>> plain_coefficient("Sex[T.Female]:age"), plain_coefficient("age:SexFemale"), plain_coefficient("(Intercept)")
    ('sexfemale:age', 'sexfemale:age', 'intercept')
    """
    bare = _CODING.sub(lambda m: m[1] or m[2] or "", text.replace("(Intercept)", "Intercept"))
    return ":".join(sorted((re.sub(r"\s", "", part.lower()) for part in bare.split(":")), reverse=True))
