"""Threads for every model, however small."""

import pytest

from remlblup.linalg import threads
from remlblup.linalg.sparse import schedule


@pytest.fixture
def three_threads(monkeypatch):
    """Trees are cut into subtrees for three threads."""
    monkeypatch.setattr(schedule, "WORTH_CUTTING", 0.0)
    before = threads.n_threads()
    threads.set_threads(3)
    yield
    threads.set_threads(before)
