"""Engine, device and workers: what goes together, in every place where a model is made."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.cli import main

DATA = pd.DataFrame({"y": np.random.default_rng(1).normal(size=30), "g": np.arange(30) % 6})
FORMULA = "y ~ 1 + (1 | g)"
WAYS = {
    "MixedModel": lambda **options: rb.MixedModel(FORMULA, DATA, **options),
    "from_matrices": lambda **options: rb.MixedModel.from_matrices(DATA["y"], np.ones((30, 1)), **options),
    "fit_many": lambda **options: rb.fit_many("~ 1 + (1 | g)", DATA, ["y"], **options),
}


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_what_does_not_go_together_is_refused(make):
    with pytest.raises(rb.OptionError, match=r"device='gpu' is not known.*'cpu', 'cuda'"):
        make(engine="dense", device="gpu")
    for engine in ("auto", "sparse", "spectral"):
        with pytest.raises(rb.OptionError, match=r"device='cuda' is for V itself.*write engine='dense'"):
            make(engine=engine, device="cuda")
    for engine in ("auto", "dense"):
        with pytest.raises(rb.OptionError, match=rf"client=.*engine='{engine}' works on this machine alone"):
            make(engine=engine, client=object())


def test_the_command_line_knows_the_device(tmp_path, capsys):
    data = tmp_path / "data.csv"
    DATA.to_csv(data, index=False)
    assert main(["fit", str(data), FORMULA, "--device", "cuda"]) != 0
    assert "device='cuda' is for V itself" in capsys.readouterr().err
