"""Parents without a row become founders, which is right unless they are animals of the pedigree spelled otherwise."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from remlblup.errors import RemlBlupWarning, some, warn
from remlblup.relationship.pedigree.reading import Family


def warn_of_spellings(family: Family) -> None:
    """Warn of added parents that read like another animal but for what gets lost between files."""
    added = np.flatnonzero(family.row < 0)
    if not added.size or family.labels.dtype.kind == "i":
        return
    codes, keys = pd.factorize(np.array(spelled_plainly(family.labels), dtype=object))
    alike = added[np.bincount(codes, minlength=len(keys))[codes[added]] > 1]
    if not alike.size:
        return
    pairs = []
    for animal in alike[:4]:
        others = np.flatnonzero(codes == codes[animal])
        pairs.append(f"{some([family.labels[animal]])} ({some(family.labels[others[others != animal]][:1])})")
    more = f" and {alike.size - 4:,} more" if alike.size > 4 else ""
    which = (
        "1 parent without a row of its own reads"
        if alike.size == 1
        else (f"{alike.size:,} parents without a row of their own read")
    )
    warn(
        f"{which} like another animal of the pedigree but for case, blanks, leading zeros or a closing '.0':"
        f" {', '.join(pairs)}{more}. Taken for founders of their own: where the same animal is meant, write it"
        " alike in all columns (.str.upper(), or dtype=str when reading a file).",
        RemlBlupWarning,
    )


def spelled_plainly(labels: np.ndarray) -> list[str]:
    """The labels without case, blanks, zeros in front of a number and a closing ``.0``."""
    texts = list(map(str, labels.tolist()))
    joined = "\n".join(texts)
    if joined.count("\n") >= len(texts):  # a label of several lines
        return [_plain(text.replace("\n", "")) for text in texts]
    return _plain(joined).split("\n")


def _plain(text: str) -> str:
    text = text.casefold()
    for blank in " \t\xa0":
        text = text.replace(blank, "")
    text = re.sub(r"0(?<![\d.,]0)0*(?=\d)", "", text)
    return re.sub(r"\.(?<=\d\.)0+$", "", text, flags=re.MULTILINE)
