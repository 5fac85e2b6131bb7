"""A file that one process at a time writes, each time as a whole: it holds the last content or the one before."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from remlblup.storage.transaction import sync

try:
    import fcntl
except ImportError:  # Windows, where also no open file can be renamed
    LOCKS = False
else:
    LOCKS = True

_BINARY = getattr(os, "O_BINARY", 0)
# What stands beside is no link to something else.
_BESIDE = os.O_RDWR | os.O_CREAT | _BINARY | getattr(os, "O_NOFOLLOW", 0)


class InUseError(OSError):
    """Somebody else writes the file."""

    def __init__(self, path: Path):
        super().__init__(None, "another fit is writing to it", str(path))


class OwnFile:
    """A file kept from others, where the system has locks, from the first `open` or `write` on until `close`.

    A lock belongs to a file, not to its name: what is written beside is locked before it takes the name.
    """

    def __init__(self, path: Path):
        self.path = Path(os.path.realpath(path))
        self.beside = self.path.with_name(f".{self.path.name}.writing")
        self.handle = -1

    def open(self) -> BinaryIO | None:
        """The file, to read; None if there is none."""
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise OSError(None, "it is not a file", str(self.path))
            handle = os.open(self.path, os.O_RDWR | _BINARY)
        except FileNotFoundError:
            return None
        if not LOCKS:
            return open(handle, "rb")
        self._keep(handle)
        return open(handle, "rb", closefd=False)

    def write(self, content: bytes) -> None:
        """Write beside, sync, rename; after an error the file is as it was."""
        handle = os.open(self.beside, _BESIDE, 0o666)
        try:
            lock(handle, self.path)
        except OSError:
            os.close(handle)
            raise
        try:
            with open(handle, "wb", closefd=False) as file:
                file.truncate()
                file.write(content)
                file.flush()
                os.fsync(handle)
            if not LOCKS:
                os.close(handle)
            self.beside.replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            with contextlib.suppress(OSError):
                self.beside.unlink()
            raise
        self.close()
        self.handle = handle if LOCKS else -1
        sync(self.path.parent)

    def _keep(self, handle: int) -> None:
        """Lock what was opened, unless it has lost its name to a newer file meanwhile."""
        try:
            lock(handle, self.path)
            if not os.path.samestat(os.fstat(handle), self.path.stat()):
                raise InUseError(self.path)
        except OSError:
            os.close(handle)
            raise
        self.close()
        self.handle = handle

    def close(self) -> None:
        """Let go of the file."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def lock(handle: int, path: Path) -> None:
    """Lock an open file, where the system can.

    Raises
    ------
    InUseError
        If somebody else has.
    """
    if not LOCKS:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUseError(path) from None
    except OSError:  # some network drives have none
        pass
