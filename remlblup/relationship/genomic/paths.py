"""Paths as users give them."""

from __future__ import annotations

import os
from pathlib import Path

from remlblup.errors import DataError


def path_of(path: object) -> Path:
    """The path as given, if it can be one."""
    if not isinstance(path, (str, os.PathLike)) or not str(path).strip() or "\0" in str(path):
        raise DataError(f"genotypes are read from a file: give its name, not {path!r}.")
    try:
        Path(path).exists()
    except OSError as error:
        raise DataError(f"'{str(path)[:80]}' cannot be read: {error.strerror}.") from None
    return Path(path)
