"""The plot of marginal means shows the table."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

import remlblup as rb
from remlblup.datasets import load as dataset


def test_means_are_drawn():
    fit = rb.MixedModel("yield ~ C(nitro) * Variety + (1 | Block/Variety)", dataset("oats")).fit(progress=False)
    means = fit.marginal_means("nitro", by="Variety")
    _, ax = plt.subplots()
    assert means.plot(ax, letters=True) is ax
    lines = [c[0] for c in ax.containers]
    assert [c.get_label() for c in ax.containers] == ["Golden Rain", "Marvellous", "Victory"]
    drawn = np.concatenate([line.get_ydata() for line in lines])
    expected = np.concatenate(
        [means.table.xs(v, level="Variety")["mean"] for v in ("Golden Rain", "Marvellous", "Victory")]
    )
    np.testing.assert_allclose(drawn, expected)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.2", "0.4", "0.6"]
    assert ax.get_ylabel() == "yield" and ax.get_xlabel() == "nitro"
    assert {t.get_text() for t in ax.texts} & {"a", "b"}
    plt.close("all")
