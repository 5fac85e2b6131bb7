"""Products of relationships over the combinations of levels of several factors: K = A ⊗ B.

Two combinations are related by K = A[a, a'] B[b, b'] (Searle, Casella & McCulloch 1992, appendix M.1, for the rules of
⊗). A ⊗ B is not formed: (A ⊗ B)⁻¹ = A⁻¹ ⊗ B⁻¹ is as sparse as its factors, |A ⊗ B| = |A|^b |B|^a for a × b levels, and
(A ⊗ B) vec(V) is A V B'. Where no sparse inverse serves, K is an elementwise product over the combinations that occur.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import objects
from remlblup.cached import cached_property
from remlblup.errors import RelationshipError, some
from remlblup.linalg.memory import Need, require
from remlblup.relationship.base import IdentityRelationship, RelationshipBase, conformable
from remlblup.relationship.given.matrix import MatrixRelationship


class ProductRelationship(RelationshipBase):
    """K = K_1 ⊗ K_2 ⊗ … over all combinations of the levels of its parts, the last factor changing fastest.

    Parameters
    ----------
    parts : relationships with an inverse, one per factor
    """

    def __init__(self, parts: Sequence[RelationshipBase]) -> None:
        self.parts = tuple(parts)
        self.shape = tuple(part.size for part in self.parts)

    @cached_property
    def labels(self) -> np.ndarray:
        """``a:b`` of every combination."""
        texts = [list(map(str, part.labels)) for part in self.parts]
        check_separable(self.parts, np.indices(self.shape).reshape(len(self.shape), -1).T)
        return objects([":".join(levels) for levels in itertools.product(*texts)])

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def multiplies_fast(self) -> bool:  # type: ignore[override]
        return all(part.multiplies_fast for part in self.parts)

    @property
    def note(self) -> str:
        return noted(self.parts, f"all {self.size:,} combinations")

    @property
    def scale(self) -> float:
        return float(np.prod([part.scale for part in self.parts]))

    def at(self, codes: np.ndarray) -> np.ndarray:
        """Positions of combinations given by their positions in the parts, (m, parts); −1 where one is unknown."""
        known = (codes >= 0).all(axis=1)
        return np.where(known, np.ravel_multi_index(tuple(np.maximum(codes, 0).T), self.shape), -1)

    def codes_of(self, positions: np.ndarray) -> np.ndarray:
        """Positions in the parts of combinations, (m, parts)."""
        return np.stack(np.unravel_index(positions, self.shape), axis=1)

    @property
    def precision(self) -> sp.csc_array:
        """K_1⁻¹ ⊗ K_2⁻¹ ⊗ …, (q, q), both triangles stored."""
        whole = self.parts[0].precision
        for part in self.parts[1:]:
            whole = sp.csc_array(sp.kron(whole, part.precision, format="csc"))
        whole.sort_indices()
        return whole

    def precision_times(self, V: np.ndarray) -> np.ndarray:
        return self._by_part(V, [part.precision_times for part in self.parts])

    @property
    def logdet(self) -> float:
        """Σ_i log|K_i| q/q_i."""
        return float(sum(part.logdet * (self.size / part.size) for part in self.parts))

    @property
    def diagonal(self) -> np.ndarray:
        return outer([np.asarray(part.diagonal) for part in self.parts])

    @property
    def sizes(self) -> np.ndarray | float:
        each = [np.asarray(part.sizes, dtype=float) for part in self.parts]
        if all(one.ndim == 0 for one in each):
            return float(np.prod(np.stack(each)))
        return outer([np.broadcast_to(one, part.size) for one, part in zip(each, self.parts, strict=True)])

    @property
    def need(self) -> Need:
        return Need.of(32.0 * entries(self.parts), 32.0 * entries(self.parts))

    def multiply(self, V: np.ndarray) -> np.ndarray:
        """K V for V of shape (q,) or (q, m), a part at a time."""
        return self._by_part(V, [part.multiply for part in self.parts])

    def _by_part(self, V: np.ndarray, products: Sequence[Callable[[np.ndarray], np.ndarray]]) -> np.ndarray:
        return along_axes(conformable(V, self.size), self.shape, products)

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Columns of K at some positions, (q, m): products of columns of the parts."""
        codes = self.codes_of(positions)
        out = np.ones((1, len(positions)))
        for part, code in zip(self.parts, codes.T, strict=True):
            out = (out[:, None] * part.columns(code)[None]).reshape(-1, len(positions))
        return out

    def among(self, positions: np.ndarray) -> np.ndarray:
        """K among the combinations at some positions, (m, m): an elementwise product."""
        return elementwise(self.parts, self.codes_of(positions))

    def __repr__(self) -> str:
        return f"ProductRelationship({self.size:,} levels: {' x '.join(f'{q:,}' for q in self.shape)})"


class PairsRelationship(MatrixRelationship):
    """K = A[a, a'] B[b, b'] ∘ … over some combinations of levels.

    Parameters
    ----------
    parts : relationships, singular ones too
    codes : (q, parts) positions of the combinations in the parts, each combination once
    """

    def __init__(self, parts: Sequence[RelationshipBase], codes: np.ndarray) -> None:
        self.parts, self.codes = tuple(parts), codes
        check_separable(self.parts, codes)
        columns = [np.asarray(p.labels, dtype=object)[code] for p, code in zip(self.parts, codes.T, strict=True)]
        labels = objects([":".join(map(str, levels)) for levels in zip(*columns, strict=True)])
        advice = "or fewer combinations of levels with records."
        require(24.0 * len(codes) ** 2, f"the relationship among {len(codes):,} combinations of levels", advice)
        super().__init__(elementwise(self.parts, codes), labels)

    @property
    def note(self) -> str:
        return noted(self.parts, f"the {self.size:,} combinations that occur")

    def at(self, codes: np.ndarray) -> np.ndarray:
        """Positions of combinations given by their positions in the parts, (m, parts); −1 where there is none."""
        shape = tuple(part.size for part in self.parts)
        known = (codes >= 0).all(axis=1)
        own = np.ravel_multi_index(tuple(self.codes.T), shape)
        wanted = np.ravel_multi_index(tuple(np.maximum(codes, 0).T), shape)
        order = np.argsort(own)
        place = order[np.minimum(np.searchsorted(own, wanted, sorter=order), len(own) - 1)]
        return np.where(known & (own[place] == wanted), place, -1)

    def codes_of(self, positions: np.ndarray) -> np.ndarray:
        """Positions in the parts of combinations, (m, parts)."""
        return self.codes[positions]

    def regression(self, codes: np.ndarray) -> np.ndarray:
        """B = K_new K⁻ of other combinations, E[u_new | u] = B u, (m, q).

        K⁻ is the inverse of K or, of a singular one, that of its eigenvalues in use.
        """
        beside = self.beside(codes)
        L = self.root
        if L is None:
            return np.asarray(self.precision_times(beside)).T
        return (L @ ((L.T @ beside) / (np.sum(L * L, axis=0) ** 2)[:, None])).T  # K⁻ = L (L'L)⁻² L', L'L diagonal

    def beside(self, codes: np.ndarray) -> np.ndarray:
        """K between the levels and other combinations, (q, m)."""
        out = np.ones((self.size, len(codes)))
        for part, own, new in zip(self.parts, self.codes.T, codes.T, strict=True):
            wanted, place = np.unique(new, return_inverse=True)
            out *= part.columns(wanted)[np.ix_(own, place)]
        return out

    def __repr__(self) -> str:
        return f"PairsRelationship({self.size:,} levels of {' x '.join(f'{part.size:,}' for part in self.parts)})"


#: A product in either form.
Product = ProductRelationship | PairsRelationship


def product_of(parts: Sequence[RelationshipBase], codes: np.ndarray, every: bool = True) -> Product:
    """The product in the form that serves: all combinations by sparse inverses, or those that occur by K itself.

    All of them where every inverse is sparse, or where A⁻¹ ⊗ B⁻¹ holds no more numbers than K among those that occur.

    Parameters
    ----------
    parts : the relationship of each factor
    codes : (m, parts) positions of the levels of the records in them; combinations may repeat
    every : False where the factors are not free of each other, so that most combinations can never occur

    Raises
    ------
    RelationshipError
        If a part has groups of unknown parents, whose fixed effects have no product.
    """
    for part in parts:
        if part.groups is not None:
            raise RelationshipError(
                f"groups of unknown parents ({some(part.groups)}) are fixed effects, which cannot be multiplied by "
                "another factor: give the pedigree without them, or its with_random_groups(variance)."
            )
    shape = tuple(part.size for part in parts)
    if np.prod([float(q) for q in shape]) > np.iinfo(np.int64).max:
        raise RelationshipError(f"{' x '.join(f'{q:,}' for q in shape)} combinations of levels are too many.")
    occurring = np.unique(np.ravel_multi_index(tuple(codes.T), shape))
    if every and not any(part.is_singular for part in parts):
        sparse = all(part.is_sparse for part in parts)
        if sparse or entries(parts) <= float(len(occurring)) ** 2:
            return ProductRelationship(parts)
    return PairsRelationship(parts, np.stack(np.unravel_index(occurring, shape), axis=1))


def entries(parts: Sequence[RelationshipBase]) -> float:
    """Numbers in K_1⁻¹ ⊗ K_2⁻¹ ⊗ …."""
    return float(np.prod([float(part.precision.nnz) if part.is_sparse else float(part.size) ** 2 for part in parts]))


def along_axes(
    V: np.ndarray, widths: Sequence[int], products: Sequence[Callable[[np.ndarray], np.ndarray]]
) -> np.ndarray:
    """(M_1 ⊗ M_2 ⊗ …) V for V (Π widths,) or (Π widths, m), a factor at a time."""
    out = V.reshape(*widths, -1)
    for axis, times in enumerate(products):
        front = np.moveaxis(out, axis, 0)
        made = np.asarray(times(np.ascontiguousarray(front.reshape(len(front), -1))))
        out = np.moveaxis(made.reshape(-1, *front.shape[1:]), 0, axis)
    return np.ascontiguousarray(out).reshape(-1, *V.shape[1:])


def elementwise(parts: Sequence[RelationshipBase], codes: np.ndarray) -> np.ndarray:
    """A[a, a'] ∘ B[b, b'] ∘ … among combinations given by their positions in the parts, (m, m)."""
    out: np.ndarray | None = None
    for part, code in zip(parts, codes.T, strict=True):
        if isinstance(part, IdentityRelationship):
            K = np.asarray(code[:, None] == code, dtype=float)
        else:
            used, place = np.unique(code, return_inverse=True)
            K = np.asarray(part.among(used))[np.ix_(place, place)]
        out = K if out is None else np.multiply(out, K, out=out)
    assert out is not None
    return out


def paired(parts: Sequence[RelationshipBase], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """K between the combinations a and b (m, parts) of every row, (m,)."""
    out = np.ones(len(a))
    for part, one, other in zip(parts, a.T, b.T, strict=True):
        used, place = np.unique(np.concatenate([one, other]), return_inverse=True)
        out *= np.asarray(part.among(used))[place[: len(a)], place[len(a) :]]
    return out


def outer(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """v_1 ⊗ v_2 ⊗ …."""
    out = np.ones(1)
    for v in vectors:
        out = np.multiply.outer(out, v).ravel()
    return out


def noted(parts: Sequence[RelationshipBase], which: str) -> str:
    """What is said of a product, and of its parts."""
    text = f"a product over {' x '.join(f'{part.size:,}' for part in parts)} levels, {which}"
    return "; ".join([text, *(part.note for part in parts if part.note)])


def check_separable(parts: Sequence[RelationshipBase], codes: np.ndarray) -> None:
    """Refuse levels with ':' that make two combinations read alike.

    Raises
    ------
    RelationshipError
    """
    with_colon = [part for part in parts if any(":" in str(label) for label in part.labels)]
    if len(with_colon) < 2:
        return
    seen: set[str] = set()
    for row in codes:
        label = ":".join(str(part.labels[k]) for part, k in zip(parts, row, strict=True))
        if label in seen:
            raise RelationshipError(f"two combinations of levels with ':' in them both read {label!r}: rename them.")
        seen.add(label)
