"""Reading the folder of a fit: only files inside it, and only as they were written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remlblup.errors import StoreError
from remlblup.storage.transaction import INDEX, NAME, place_of

#: Version of the format written; folders without one were written before there were checksums.
FORMAT = 2


class SavedFolder:
    """The folder of a saved fit.

    Attributes
    ----------
    content : what its fit.json holds, its checksum proven

    Raises
    ------
    StoreError
        If there is none, or fit.json has been changed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.content = self._index()
        self.files: dict[str, Any] = self.content.get("files", {})

    def _index(self) -> dict[str, Any]:
        where = self.folder / INDEX
        try:
            content = json.loads(self._bytes(INDEX).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{where} is not a fit saved by remlblup, or it is damaged ({error}).") from None
        if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
            raise StoreError(f"{where} is not a fit saved by remlblup.")
        version = content.get("format")
        if version is None and not {"checksum", "files", "engine_asked"} & set(content):
            return content
        if version != FORMAT:
            raise StoreError(f"{where} has the format {version!r}, which this version of remlblup does not know.")
        if content.get("checksum") != checksum(content) or not isinstance(content.get("files"), dict):
            raise StoreError(
                f"{where} is not as it was saved: its checksum is another one. Restore it, or fit the model again."
            )
        return content

    def read(self, name: str) -> bytes:
        """The bytes of a file of the model.

        Raises
        ------
        StoreError
            If it is missing, changed, or not inside the folder.
        """
        content = self._bytes(name)
        self._require_listed(name, hashlib.sha256(content).hexdigest())
        return content

    def path(self, name: str) -> Path:
        """Where a file of the model is, for those that may be larger than the memory.

        Raises
        ------
        StoreError
            As of `read`.
        """
        path = self._place(name)
        with self._named_errors(path), path.open("rb") as file:
            self._require_listed(name, hashlib.file_digest(file, "sha256").hexdigest())
        return path

    def _require_listed(self, name: str, digest: str) -> None:
        if self.content.get("format") is not None and not self._is_listed(name, digest):
            raise StoreError(
                f"{self.folder / name} is not as it was saved: its checksum is another one. Restore it, or fit the"
                " model again."
            )

    def check_tables(self) -> None:
        """Raise `StoreError` if a table beside the fit, which reading the fit does not need, is not the fit's."""
        for name, entry in self.files.items():
            there = entry["role"] == "table" and place_of(self.folder, name).exists()
            if there and not self._is_listed(name, hashlib.sha256(self._bytes(name)).hexdigest()):
                raise StoreError(
                    f"{self.folder / name} is not as it was saved, and no longer tells what the fit says. Delete it, or"
                    " load the fit with verify=False, which does not look at the tables."
                )

    def _is_listed(self, name: str, digest: str) -> bool:
        entry = self.files.get(name)
        return entry is not None and entry["sha256"] == digest

    def _bytes(self, name: str) -> bytes:
        path = self._place(name)
        with self._named_errors(path):
            return path.read_bytes()

    def _place(self, name: str) -> Path:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise StoreError(f"{self.folder / INDEX} names the file {name!r}, which is not one inside its folder.")
        path = place_of(self.folder, name)
        with self._named_errors(path):
            inside = path.resolve().is_relative_to(self.folder.resolve())
            if not inside or not stat.S_ISREG(path.stat().st_mode):
                raise StoreError(f"{path} is not a file inside the folder of the fit: it is not opened.")
        return path

    @contextlib.contextmanager
    def _named_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"no saved fit in {self.folder}: {path} is missing.") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from None


def checksum(content: dict[str, Any]) -> str:
    """SHA-256 of the content of fit.json, whatever its layout."""
    plain = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
