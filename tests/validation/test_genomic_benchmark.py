"""The benchmark of genomic matrices runs, on a small one."""

from __future__ import annotations

import pytest


def test_it_prints_rates_and_memory(capsys):
    pytest.importorskip("bed_reader", reason="bed-reader is not installed")
    from remlblup.validation.benchmarks import genomic

    assert genomic.main(["--individuals", "40", "--markers", "300", "--order", "100", "--repeats", "1"]) in (0, 1)
    printed = capsys.readouterr().out
    assert "40 individuals x 300 markers" in printed
    assert "ratio" in printed and "peak memory" in printed
