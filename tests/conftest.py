"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# No test is timed: what an example takes depends on the machine and on what else runs on it. They are new ones in every
# run, so that few in each add up; REMLBLUP_EXAMPLES=1000 looks longer.
settings.register_profile("untimed", deadline=None, max_examples=int(os.environ.get("REMLBLUP_EXAMPLES", "30")))
settings.load_profile("untimed")


@pytest.fixture
def reference() -> Callable[[str], Path]:
    """A function that gives the path of a reference file, and skips the test where the folder is absent."""
    named = os.environ.get("REMLBLUP_REFERENCE")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "reference"

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"reference file {name} is not there (set REMLBLUP_REFERENCE to its folder)")
        return path

    return find
