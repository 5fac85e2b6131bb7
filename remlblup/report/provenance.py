"""What a report says of itself: versions, date, and how to cite."""

from __future__ import annotations

import datetime as dt
import os
import platform
from importlib import metadata

from remlblup._version import CITATION, __version__

PACKAGES = ("numpy", "scipy", "pandas", "formulaic", "numba", "statsmodels", "matplotlib")


def written_on() -> dt.datetime:
    """Now; where SOURCE_DATE_EPOCH is set, that time, so that a page can be made again to the letter."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return dt.datetime.fromtimestamp(int(fixed), dt.UTC) if fixed.isdigit() else dt.datetime.now().astimezone()


def versions() -> list[tuple[str, str]]:
    """(program, version) of everything that the numbers depend on."""
    found = [("remlblup", __version__), ("Python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return [*found, ("system", f"{platform.system()} {platform.machine()}")]


def citation() -> str:
    """How to cite the package."""
    return CITATION
