"""The process in which scripts run: a line of JSON in, the script; a line of JSON out, how it ended."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import sys
import tempfile
import traceback
import warnings
from typing import Any

PRELUDE = """\
import numpy as np, pandas as pd, scipy.sparse as sp
from pathlib import Path
import remlblup as rb
from remlblup.validation.fuzz.oracles import *
"""


def main() -> None:
    """Serve until the input ends; what scripts print goes nowhere."""
    faulthandler.enable()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    namespace: dict[str, Any] = {"__name__": "script"}
    exec(PRELUDE, namespace)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(ended(json.loads(line), namespace)), file=answers, flush=True)


def ended(script: str, namespace: dict[str, Any]) -> dict[str, str]:
    """How a script ends: ``how`` is ok, refused, failed, or void where the script itself is wrong before it calls
    remlblup.

    ``what`` says it, ``where`` is the last place in remlblup.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        warnings.catch_warnings(record=True) as seen,
    ):
        warnings.simplefilter("always")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            result = outcome(script, namespace)
    if result["how"] != "failed":
        for warning in seen:
            if not is_ours(warning) and warning.filename != "script":  # its own arithmetic
                what = f"{warning.category.__name__}: {warning.message}"
                return {"how": "failed", "what": what, "where": f"{short(warning.filename)}:{warning.lineno}"}
    return result


def outcome(script: str, namespace: dict[str, Any]) -> dict[str, str]:
    import remlblup as rb

    try:
        exec(compile(script, "script", "exec"), dict(namespace))
    except rb.RemlBlupError as error:
        return {"how": "refused", "what": f"{type(error).__name__}: {error}", "where": ""}
    except BaseException as error:
        inside = [
            f
            for f in traceback.extract_tb(error.__traceback__)
            if ("remlblup" in f.filename or "validation" in f.filename) and f.filename != __file__
        ]
        if not inside and isinstance(error, Exception):
            return {"how": "void", "what": f"the script itself: {error}"[:200], "where": ""}
        where = f"{short(inside[-1].filename)}:{inside[-1].lineno}" if inside else "script"
        return {"how": "failed", "what": f"{type(error).__name__}: {error}"[:600], "where": where}
    return {"how": "ok", "what": "", "where": ""}


def is_ours(warning: warnings.WarningMessage) -> bool:
    """Warnings that a user may see: ours, what other libraries say of their own future, and pandas' own while it
    shows columns of its float16."""
    from remlblup.errors import RemlBlupWarning

    future = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)
    if "pandas/io/formats/" in warning.filename:
        return True
    return issubclass(warning.category, RemlBlupWarning) or (
        issubclass(warning.category, future) and "remlblup" not in short(warning.filename)
    )


def short(name: str) -> str:
    """A file's name from the package on."""
    for root in ("remlblup/", "validation/", "site-packages/"):
        if root in name:
            return name[name.rindex(root) :]
    return name


if __name__ == "__main__":
    main()
