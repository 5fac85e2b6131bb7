"""Engine, device and workers: what goes together, in every place where a model is made."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.cli import main
from remlblup.equations.computation import Computation

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


def test_a_client_stays_in_its_process():
    """It is a connection: copies of a fit share it, and what is sent to another process goes without it."""
    asked = Computation("stochastic", client=threading.Lock())
    assert copy.deepcopy(asked).client is copy.copy(asked).client is asked.client
    sent = pickle.loads(pickle.dumps(asked))
    assert sent == asked and sent.client is None


def test_the_command_line_knows_the_device(tmp_path, capsys):
    data = tmp_path / "data.csv"
    DATA.to_csv(data, index=False)
    assert main(["fit", str(data), FORMULA, "--device", "cuda"]) != 0
    assert "--device cuda is for V itself" in capsys.readouterr().err
