"""What a forked child comes to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable


def forked(check: Callable[[], bool], patience: float) -> str:
    """What a check comes to in a child: "same", "OTHER", or "HANGS"."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if check() else 1
        finally:
            os._exit(code)
    until = time.monotonic() + patience
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "same" if os.waitstatus_to_exitcode(status) == 0 else "OTHER"
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "HANGS"
