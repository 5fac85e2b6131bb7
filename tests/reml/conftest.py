"""Tests of the loop climb from one start: what several starts add has its own tests, and takes ten times as long."""

from __future__ import annotations

import pytest

SEVERAL = ("test_starts.py", "test_local_maxima.py", "test_verdict.py", "test_singular_residual.py")


@pytest.fixture(autouse=True)
def one_start(request, monkeypatch):
    if request.path.name not in SEVERAL:
        monkeypatch.setattr("remlblup.reml.starts.RECORDS", 0)
