"""The benchmark of large pedigrees runs, on a small one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

FILE = Path(__file__).resolve().parents[2] / "validation" / "benchmarks" / "pedigrees.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("pedigree_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_line_of_the_table():
    module = benchmark()
    animals, sires, taken, mean, peak = module.measure(6000, 2)
    assert (animals, taken.shape) == (6000, (4,))
    assert 0 < sires < 1000
    assert (taken >= 0).all()
    assert 0 < mean < 0.1
    assert peak > 10
    text = module.line("tiny", animals, sires, np.array([1.0, 2.0, 0.5, 0.25]), mean, peak)
    assert text.split()[:9] == ["tiny", "6,000", f"{sires:,}", "1.00", "2.00", "3.00", "0.50", "0.25", "0.75"]


def test_unknown_cases_are_refused(capsys):
    assert benchmark().main(["2m"]) == 2
    assert "No case 2m. Cases: 100k, 1m, 10m." in capsys.readouterr().out
