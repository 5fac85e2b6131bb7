"""Files that come into a folder together or not at all.

Everything is written into ``.remlblup-saving`` inside the folder and synced. Renaming that to ``.remlblup-saved``
is the commit: a disk that is full or a process killed before it leaves the folder as it was; after it the new files
count (`place_of` looks there first), and are moved to where they belong, the index last. A move that was cut short
is finished by the next transaction.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remlblup.errors import StoreError

INDEX = "fit.json"
SAVING, SAVED = ".remlblup-saving", ".remlblup-saved"
RELATIONSHIPS = "relationships"
# Names of files that a fit may hold: nothing outside the folder, nothing hidden.
NAME = re.compile(rf"({RELATIONSHIPS}/)?\w[\w.-]*")
# What earlier versions wrote beside the tables, without listing it.
PLOTS = r"convergence|residuals|field|variogram|(random_effects|biplot|latent_regression|covariance_function)(_\d+)?"
UNLISTED = re.compile(rf"({PLOTS})\.png|report\.(txt|html)|data\.csv|X\.csv|Z\d+\.csv")


class Staging:
    """The files of a transaction, not yet in their places."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.listed: dict[str, dict[str, Any]] = {}

    def path(self, name: str) -> Path:
        """Where to write the file `name`."""
        assert NAME.fullmatch(name), name
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        return path

    def write(self, name: str, content: str | bytes, role: str) -> None:
        """Write a file and list it."""
        self.path(name).write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        self.add(name, role)

    def add(self, name: str, role: str) -> None:
        """Sync a file that has been written and list it with its checksum; the role says what reads it."""
        digest = hashlib.sha256()
        with self.path(name).open("rb+") as file:
            while block := file.read(1 << 20):
                digest.update(block)
            os.fsync(file.fileno())
            self.listed[name] = {"sha256": digest.hexdigest(), "bytes": file.tell(), "role": role}

    def rename(self, name: str, new: str) -> None:
        """Give a file that has been listed another name."""
        self.path(name).rename(self.path(new))
        self.listed[new] = self.listed.pop(name)


@contextlib.contextmanager
def transaction(folder: Path) -> Iterator[Staging]:
    """Stage files for `folder` (made if needed) and put them in their places if nothing goes wrong.

    Raises
    ------
    StoreError
        If something cannot be written; what was in the folder before is still there.
    """
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, writing=True):
            finish(folder)
            try:
                yield from _staged(folder)
                finish(folder)
            except KeyboardInterrupt:
                finish(folder)  # what had been committed comes into its place
                raise
    except (OSError, UnicodeError) as error:
        _forget(made)
        kept = "" if made else " What it held before is unchanged."
        raise StoreError(f"nothing was written to {folder}: {told(error)}.{kept}") from error
    except BaseException:
        _forget(made)
        raise


def _staged(folder: Path) -> Iterator[Staging]:
    """Yield the staging folder; commit it, or remove it after an error."""
    saving = folder / SAVING
    if saving.exists():
        _remove(saving)
    try:
        saving.mkdir()
        yield Staging(saving)
        for part in (saving / RELATIONSHIPS, saving):
            sync(part)
        saving.rename(folder / SAVED)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(saving)
        raise
    sync(folder)


def finish(folder: Path) -> None:
    """Move committed files to their places, those of the earlier fit that have no successor away; the index last."""
    saved = folder / SAVED
    if not saved.is_dir():
        return
    try:
        if (saved / INDEX).exists():
            new = listed(read_index(saved / INDEX))
            for name in earlier(folder) - new:
                (folder / name).unlink(missing_ok=True)
        for path in sorted(saved.rglob("*"), key=lambda p: p.name == INDEX):
            if path.is_file():
                place = folder / path.relative_to(saved)
                place.parent.mkdir(exist_ok=True)
                if path.name == INDEX:
                    sync(folder / RELATIONSHIPS)
                    sync(folder)
                path.replace(place)
        _remove(saved)
        with contextlib.suppress(OSError):  # other files of the user's
            (folder / RELATIONSHIPS).rmdir()
        sync(folder)
    except OSError as error:
        raise StoreError(
            f"the fit is saved and can be loaded, but {told(error)}, so that its files are still in {saved}. Move what"
            " is in the way and save again."
        ) from error


def place_of(folder: Path, name: str) -> Path:
    """Where the file `name` of the folder is now: a committed one first."""
    committed = folder / SAVED / name
    return committed if committed.exists() else folder / name


def earlier(folder: Path) -> set[str]:
    """Files that belong to the fit in the folder: those it lists; of one without a list,
    those that it can have written."""
    if not (folder / INDEX).is_file():
        return set()
    content = read_index(folder / INDEX)
    names = listed(content) or {p.name for p in folder.iterdir() if UNLISTED.fullmatch(p.name)}
    with contextlib.suppress(TypeError, KeyError, AttributeError):
        names |= {f"{RELATIONSHIPS}/{name}.csv" for name in content["model"]["relationships"]}
    return {name for name in names if NAME.fullmatch(name) and (folder / name).is_file()}


def listed(content: Any) -> set[str]:
    """Names of the files that an index lists."""
    files = content.get("files") if isinstance(content, dict) else None
    return {str(name) for name in files} if isinstance(files, dict) else set()


def read_index(path: Path) -> Any:
    """What an index holds; nothing if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


@contextlib.contextmanager
def locked(folder: Path, *, writing: bool = False) -> Iterator[None]:
    """One writer at a time, and no reader meanwhile, where the system has such locks; they end with the process."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # another system; a reader says itself what is missing
        yield
        return
    try:
        with contextlib.suppress(OSError):  # some network drives have none
            fcntl.flock(handle, fcntl.LOCK_EX if writing else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def sync(folder: Path) -> None:
    """Have the names in a folder written to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def told(error: Exception) -> str:
    """What went wrong, in the words of the system."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return f"a text cannot be written as UTF-8 ({error})"


@contextlib.contextmanager
def made(folder: Path | None) -> Iterator[None]:
    """The folder is there, as a place to write to; where nothing comes into it after all, it goes again."""
    parts = [] if folder is None else [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        _forget(parts)
        raise


def _remove(folder: Path) -> None:
    """A folder of ours with all that is in it. (An interrupt in `shutil.rmtree` can come out
    as a bad file descriptor.)"""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def _forget(made: list[Path]) -> None:
    """Remove the folders that were made for nothing."""
    for part in made:
        with contextlib.suppress(OSError):
            part.rmdir()
