"""What is said before the kernels are compiled, once in a process."""

from __future__ import annotations

from remlblup.linalg import compilation


def test_the_wait_is_told_without_a_promise(monkeypatch, capsys):
    """How long it takes is the machine's: 20 s on one, 40 s on another of two cores."""
    monkeypatch.setattr(compilation, "is_compiled", lambda: False)
    compilation.announce_compilation.cache_clear()
    try:
        compilation.announce_compilation()
        compilation.announce_compilation()
    finally:
        compilation.announce_compilation.cache_clear()
    said = capsys.readouterr().err
    assert said.count("compiling the sparse kernels, once on this machine (under a minute)") == 1
