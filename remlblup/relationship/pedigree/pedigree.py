"""The pedigree: who descends from whom, and the numerator relationship matrix that follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from os import PathLike

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import PedigreeError, choose, some
from remlblup.linalg.memory import all_within_memory
from remlblup.relationship.descent.base import DescentRelationship
from remlblup.relationship.descent.dominance import dominance_relationship
from remlblup.relationship.descent.genealogy import generations, parents_first
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.labels import as_frame, once, with_missing
from remlblup.relationship.pedigree.clones import check_rows, heterozygosity, read_clones, read_selfing
from remlblup.relationship.pedigree.columns import named_column, pick_columns
from remlblup.relationship.pedigree.maternal_grandsire import MaternalGrandsirePedigree
from remlblup.relationship.pedigree.parent_groups import (
    LabelledMatrix,
    Metafounders,
    RandomGroups,
    group_fractions,
    group_incidence,
    group_matrix,
    metafounder_matrix,
    qp_precision,
    separate_groups,
    with_groups_first,
)
from remlblup.relationship.pedigree.pruning import pruned
from remlblup.relationship.pedigree.reading import (
    UNKNOWN,
    Family,
    check_codes,
    check_parents,
    codes_of,
    loop_error,
    read_family,
)
from remlblup.relationship.pedigree.sex_linked import SexLinkedRelationship, read_sex
from remlblup.relationship.pedigree.spelling import warn_of_spellings
from remlblup.relationship.pedigree.statistics import PopulationStatistics


@all_within_memory
class Pedigree(PopulationStatistics, DescentRelationship):
    """A pedigree, and with it the numerator relationship matrix A of its animals.

    Rows may come in any order and labels in any type (1306, "1306" and 1306.0 are one animal). Parents
    without a row of their own are added as founders; exact duplicate rows are merged.

    Parameters
    ----------
    ids, sires, dams : array-like, shape (m,)
        One row per animal. A missing value or a code of `unknown` means the parent is unknown.
    unknown : iterable of labels, optional
        Codes for an unknown parent, besides missing values and blanks (which always count). Default:
        ``0, "", NA, nan, ., *`` and their usual spellings.
    hermaphrodites : bool, optional
        Allow an animal to be both sire and dam, and to be mated to itself (plants). Default False: such an
        animal is reported as an error.
    ignore_inbreeding : bool, optional
        True: A⁻¹ by Henderson's rules with F = 0 for all parents, as some programs do (BLUPF90's
        ``add_animal``). The relationship is then K = T D₀ T', D₀ of ½, ¾ and 1, in all that follows from it
        (`precision`, `logdet`, `diagonal`, `multiply`, `dense`); `inbreeding` stays what it is.
    groups : iterable of labels, optional
        Groups of unknown parents. They stand in the sire and dam columns in place of an unknown parent (rows
        of their own, without parents, are allowed), and every unknown parent must have one. They are no animals:
        A and inbreeding are those of animals with unknown parents. See `group_fractions`, `group_precision`,
        `with_random_groups`, `with_metafounders`.
    selfing : array-like, shape (m,), optional
        Generations of selfing between the cross and the row's individual, 0 if missing: after k of them
        F = 1 − 2⁻ᵏ(1 − ½ a(sire, dam)) (Kempthorne 1957, ch. 17; ASReml's !FGEN). inf makes a doubled haploid. A
        fraction below 1 is the inbreeding coefficient of an individual without known parents.
    clones : mapping ramet → ortet or array-like, shape (m,), optional
        The original individual (ortet) of every row that is its clone (ramet), missing for others. Ramets have no
        row in A: their labels stand for the ortet's. An ortet of a mapping must be in the pedigree; one that the
        array names is added if it has no row.

    Attributes
    ----------
    labels : numpy.ndarray, shape (n,)
        All animals, **parents before their offspring**. Rows that are already in such an order keep it, with
        added parents in front; otherwise animals are sorted by generation, and as given within one.
    sire, dam : numpy.ndarray of int32, shape (n,)
        Positions of the parents in `labels`, −1 for unknown.
    order : numpy.ndarray of int, shape (n,)
        The input row of every animal, −1 for an added parent.
    n_merged, n_added, added : int, int and numpy.ndarray
        Duplicate rows merged; parents added, and their labels.
    groups : numpy.ndarray, shape (g,), or None
    sire_group, dam_group : numpy.ndarray of int32, shape (n,), or None
        Number of the group of an unknown parent, −1 for a known one.
    ramets, ortets : numpy.ndarray, shape (c,)
        Labels of clones, and positions of the animals whose genotype they share.

    Raises
    ------
    PedigreeError
        For an empty pedigree, unequal lengths, missing ids, repeated animals with different parents, animals
        that are their own parent or ancestor, animals that are both sire and dam, and what looks like a code for
        unknown parents in both columns (-9, 9999, "?"; in one column: a warning). Of added parents that read like
        another animal but for case, blanks, leading zeros or a closing ``.0`` a `RemlBlupWarning` tells.

    Examples
    --------
    >>> ped = rb.Pedigree(["calf", "cow"], ["bull", None], ["cow", None])
    >>> ped.labels.tolist()
    ['bull', 'cow', 'calf']
    >>> ped.dense()[2].tolist()
    [0.5, 0.5, 1.0]
    """

    def __init__(
        self,
        ids: Iterable,
        sires: Iterable,
        dams: Iterable,
        unknown: Iterable | str = UNKNOWN,
        *,
        hermaphrodites: bool = False,
        ignore_inbreeding: bool = False,
        groups: Iterable | None = None,
        selfing: Iterable | None = None,
        clones: Mapping | Iterable | None = None,
    ) -> None:
        unknown, groups, selfing, clones = map(once, (unknown, groups, selfing, clones))
        family = read_family(ids, sires, dams, unknown)
        self.unknown_codes = codes_of(unknown)
        check_codes(family, groups)
        if selfing is not None:
            check_rows(family, ids, selfing, "selfing")
            family = read_selfing(family, selfing)
        if clones is not None:
            if not isinstance(clones, Mapping):
                check_rows(family, ids, clones, "clones")
            family = read_clones(family, clones)
        if groups is not None:
            family = separate_groups(family, groups)
        check_parents(family, hermaphrodites)
        warn_of_spellings(family)
        self.ignore_inbreeding, self.hermaphrodites = bool(ignore_inbreeding), bool(hermaphrodites)
        if self.ignore_inbreeding and family.selfing is not None:
            raise PedigreeError(
                "selfing= states how inbred the lines are, and ignore_inbreeding=True would take them as not inbred. "
                "Use one of the two."
            )
        self._settle(family)

    def _settle(self, family: Family) -> None:
        """Put the animals in order, parents first, and take over what the family holds."""
        self.n_merged = family.repeats
        self.n_added = int((family.row < 0).sum())
        order = np.concatenate([np.flatnonzero(family.row < 0), np.flatnonzero(family.row >= 0)])
        sorted_ = family.take(order)
        if not parents_first(sorted_.sire, sorted_.dam):
            generation = generations(sorted_.sire, sorted_.dam)
            if (generation < 0).any():
                raise loop_error(family, np.sort(order[generation < 0]))
            sorted_ = family.take(order[np.argsort(generation, kind="stable")])
        self._family = sorted_
        self.labels, self.order = sorted_.labels, sorted_.row
        self.sire, self.dam, self.added = sorted_.sire, sorted_.dam, sorted_.labels[sorted_.row < 0]
        self.groups, self.sire_group, self.dam_group = sorted_.groups, sorted_.sire_group, sorted_.dam_group
        self.selfing = sorted_.selfing
        self.left = None if sorted_.selfing is None else heterozygosity(sorted_.selfing)
        if sorted_.ramets is not None and sorted_.ortets is not None:
            self.ramets, self.ortets = sorted_.ramets, sorted_.ortets
        for array in (self.labels, self.order, self.sire, self.dam):
            array.flags.writeable = False

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        id: str | None = None,
        sire: str | None = None,
        dam: str | None = None,
        unknown: Iterable | str = UNKNOWN,
        *,
        hermaphrodites: bool = False,
        ignore_inbreeding: bool = False,
        groups: Iterable | None = None,
        selfing: str | None = None,
        clones: str | Mapping | None = None,
    ) -> Pedigree:
        """Pedigree from three columns of a data frame.

        Parameters
        ----------
        df : pandas.DataFrame (or polars)
        id, sire, dam : str, optional
            Column names. Those not given are recognised by their names, in any order, case and with or without an
            "id" to them (id, animal, bird, calf, individual, ...; sire, father, pai, ...; dam, mother, mum, ...).
            Columns of other names, or two that may be meant, must be named: their order says nothing.
        selfing, clones : str, optional
            Names of the columns that hold them; `clones` may also be a mapping.
        unknown, hermaphrodites, ignore_inbreeding, groups
            As for `Pedigree`.

        Raises
        ------
        PedigreeError
            If a named column is absent, the columns cannot be told, or as for `Pedigree`.
        """
        if isinstance(df, str | PathLike):
            raise PedigreeError(
                f"{str(df)!r} is the name of a file: read it first, Pedigree.from_frame(pd.read_csv({str(df)!r}))."
            )
        frame = as_frame(df)
        ids, sires, dams = pick_columns(frame, {"id": id, "sire": sire, "dam": dam})
        return cls(
            ids,
            sires,
            dams,
            unknown=unknown,
            hermaphrodites=hermaphrodites,
            ignore_inbreeding=ignore_inbreeding,
            groups=groups,
            selfing=None if selfing is None else named_column(frame, selfing, "selfing"),
            clones=named_column(frame, clones, "clones") if isinstance(clones, str) else clones,
        )

    @classmethod
    def from_maternal_grandsires(
        cls,
        ids: Iterable,
        sires: Iterable,
        maternal_grandsires: Iterable,
        unknown: Iterable | str = UNKNOWN,
        *,
        ignore_inbreeding: bool = False,
    ) -> MaternalGrandsirePedigree:
        """Relationship of bulls whose sires and maternal grandsires are known. See `MaternalGrandsirePedigree`."""
        return MaternalGrandsirePedigree(ids, sires, maternal_grandsires, unknown, ignore_inbreeding=ignore_inbreeding)

    @property
    def founders(self) -> np.ndarray:
        """Labels of the animals with neither parent known."""
        return self.labels[(self.sire < 0) & (self.dam < 0)]

    def inbreeding_table(self) -> pd.DataFrame:
        """One row per animal: ``id, sire, dam, generation, inbreeding``, parents before offspring."""
        labels = with_missing(self.labels)
        return pd.DataFrame(
            {
                "id": self.labels,
                "sire": labels[self.sire],
                "dam": labels[self.dam],
                "generation": self.generation,
                "inbreeding": self.inbreeding,
            }
        )

    def prune(self, animals: Iterable, generations: int | None = None, *, drop_uninformative: bool = False) -> Pedigree:
        """The pedigree of some animals and their ancestors. Their inbreeding and relationships stay what they are.

        Parameters
        ----------
        animals : array-like of labels
            The informative ones, such as those with records.
        generations : int, optional
            Keep so many generations of ancestors only; older ones become unknown.
        drop_uninformative : bool, optional
            Drop, repeatedly, founders (not among `animals`) that have one offspring only.

        Raises
        ------
        PedigreeError
            If `animals` is empty, or the cut would leave a parent without its group.
        """
        chosen = self.index(animals)
        if not chosen.size:
            raise PedigreeError("animals= is empty: name the animals to keep, with whom their ancestors stay.")
        family = pruned(self._family, chosen, generations, drop_uninformative)
        result = type(self).__new__(type(self))
        result.unknown_codes = self.unknown_codes
        result.ignore_inbreeding, result.hermaphrodites = self.ignore_inbreeding, self.hermaphrodites
        result._settle(family)
        return result

    # Other relationships of the same pedigree.

    def dominance(self, method: str = "noninbred") -> MatrixRelationship:
        """Dominance relationship D, with its inverse where one exists.

        Parameters
        ----------
        method : {"noninbred", "general"}
            ``"noninbred"``: from the relationships of parents, exact without inbreeding, the diagonal 1 − F; see
            `dominance.noninbred`. ``"general"``: Δ₇ from identity coefficients, up to 400 animals; see
            `dominance.general`.

        Raises
        ------
        RelationshipError
            For too many animals, or if D is not positive definite.
        """
        choose("method", method, ("noninbred", "general"))
        if self.selfing is not None:
            raise PedigreeError(
                "Dominance relationships are not computed for rows with generations of selfing: give the intermediate "
                "plants rows of their own, with hermaphrodites=True."
            )
        self._tell_of_groups("dominance")
        return dominance_relationship(self, method)

    def sex_linked(
        self, sex: Mapping | pd.Series | Iterable, heterogametic: object | None = None, dosage: str = "ngdc"
    ) -> SexLinkedRelationship:
        """Relationship at loci of the X (or Z) chromosome. See `SexLinkedRelationship`.

        Parameters
        ----------
        sex : mapping or Series (label → sex), or array-like of shape (n,) in the order of `labels`
            Two codes of any kind. May be missing for parents, whose sex their role tells.
        heterogametic : optional
            The code of the sex with one X (Z); that of the sires by default, that of the dams for birds.
        dosage : {"ngdc", "hedo", "hori", "hoha"}
            Dosage compensation, in nadiv's words: none; or one gene of the heterogametic sex counting for two (by
            doubling, by random inactivation, or by halving in the other sex: the same S up to its scale).
        """
        if self.selfing is not None or self.hermaphrodites:
            raise PedigreeError("Sex-linked relationships need two sexes: no selfing, no hermaphrodites.")
        self._tell_of_groups("sex-linked")
        return SexLinkedRelationship(self, read_sex(self, sex, heterogametic), dosage)

    # Groups of unknown parents: see parent_groups.py.

    @cached_property
    def group_fraction_matrix(self) -> sp.csr_array:
        """Q: shares of the groups of unknown parents in the animals, shape (n, g), sparse; rows sum to 1."""
        return group_fractions(self.sire, self.dam, self._group_incidence)

    @property
    def group_fractions(self) -> pd.DataFrame:
        """Shares of the groups of unknown parents, a row per animal and a column per group."""
        Q = self.group_fraction_matrix.toarray()
        return pd.DataFrame(
            Q, index=pd.Index(self.labels, name="id"), columns=pd.Index(self._require_groups(), name="group")
        )

    def group_precision(self) -> LabelledMatrix:
        """QP-transformed A⁻¹ over groups, then animals: ``matrix`` (sparse, singular) and ``labels``."""
        direct = self._group_incidence
        self._check_variance()
        matrix = qp_precision(self.sire, self.dam, self.mendelian_variance, direct)
        return LabelledMatrix(matrix, with_groups_first(self)[0])

    def with_random_groups(self, variance: float | np.ndarray | pd.DataFrame = 1.0) -> RandomGroups:
        """Groups with random effects beside their animals. See `RandomGroups`.

        Parameters
        ----------
        variance : float, array of shape (g, g) or labelled DataFrame
            Γ, the (co)variances of group effects in units of σ²a; a number stands for as many independent groups.
        """
        return RandomGroups(self, group_matrix(variance, self._require_groups(), "variance="))

    def with_metafounders(self, gamma: float | np.ndarray | pd.DataFrame) -> Metafounders:
        """A^Γ, in which the groups are metafounders with relationships `gamma`. See `Metafounders`.

        Parameters
        ----------
        gamma : float, array of shape (g, g) in the order of `groups`, or labelled DataFrame
        """
        groups = self._require_groups()
        if self.ignore_inbreeding:
            raise PedigreeError("With metafounders inbreeding cannot be ignored: leave ignore_inbreeding=True out.")
        return Metafounders(self, metafounder_matrix(gamma, groups))

    @cached_property
    def _group_incidence(self) -> sp.csr_array:
        groups = self._require_groups()
        assert self.sire_group is not None and self.dam_group is not None
        return group_incidence(self.sire_group, self.dam_group, len(groups))

    def _tell_of_groups(self, kind: str) -> None:
        if self.groups is not None:
            text = f"groups of unknown parents ({some(self.groups)}) have no part in the {kind} relationship: they are"
            warnings.warn(f"{text} means of additive effects, and enter a model with the pedigree.", stacklevel=3)

    def _require_groups(self) -> np.ndarray:
        if self.groups is None:
            raise PedigreeError(
                "This pedigree has no groups of unknown parents. Write groups in place of unknown sires and dams and "
                "name them: Pedigree(..., groups=[...])."
            )
        return self.groups

    def __repr__(self) -> str:
        added = f", {self.n_added:,} parents added" if self.n_added else ""
        generations = int(self.generation.max())
        return f"Pedigree({self.size:,} animals, {len(self.founders):,} founders, {generations} generations{added})"
