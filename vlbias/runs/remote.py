"""Run folders in object storage: worked on in a copy on this machine, which is kept the same as the bucket's.

This is the one place that knows of remote folders. A study runs, and a report reads, in the copy; every
file that is new or changed is put into the bucket after each cell. An object is written whole or not at all,
and the checksums of a cell go last, so that a cell is there or it is not, as in a local folder.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vlbias.errors import BadOption, BadTable, MissingExtra, VlbiasError
from vlbias.runs.events import Events

__all__ = ["RemoteFolder", "address_of", "keeping", "named"]

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")
"""Of two letters or more: a single one is a drive of Windows."""
_LAST = ("", ".json", ".sum")
"""Endings of files that say that others are whole, in the order in which they are written."""


def address_of(path: Path | str) -> str:
    """The address of a remote folder, also of a path that has lost a slash of it; empty for a local one."""
    found = _ADDRESS.fullmatch(str(path))
    return f"{found[1]}://{found[2].rstrip('/')}" if found else ""


def named(path: Path | str) -> str:
    """A path as it is shown and typed: the address of a remote one."""
    return address_of(path) or str(path)


@dataclass
class RemoteFolder:
    """A copy of a folder in object storage.

    Args:
        address: For example s3://bucket/runs/name.
        local: The copy.
    """

    address: str
    local: Path
    _known: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    """Name of a file that is the same on both sides, to its size and time here."""

    @classmethod
    @contextmanager
    def copied(cls, path: Path | str, only: Collection[str] = ()) -> Iterator[RemoteFolder]:
        """A copy of a remote folder that goes away afterwards; empty if nothing is there.

        Args:
            path: The address; see `address_of`.
            only: Names of the files that are wanted; all but reports if empty.

        Raises:
            MissingExtra: if fsspec or what it needs for the address is not installed.
            BadOption: if there is no such kind of address.
            BadTable: if the storage does not answer, or refuses.
        """
        address = address_of(path)
        with TemporaryDirectory(prefix="vlbias-") as name:
            remote = cls(address, Path(name) / address.rpartition("/")[2])
            remote.local.mkdir()
            with remote._told():
                remote._pull(only)
            try:
                yield remote
            except VlbiasError as error:
                error.args = (remote.shown(str(error)), *error.args[1:])
                raise

    def push(self) -> None:
        """Put into the storage what is new or changed here, and remove there what was removed here.

        Raises:
            BadTable: if the storage does not answer, or refuses; nothing is lost here.
        """
        now = {name: _about(self.local / name) for name in self._names()}
        with self._told():
            files, root = _storage(self.address)
            for name in sorted(now, key=_order):
                if self._known.get(name) != now[name]:
                    files.put_file(str(self.local / name), f"{root}/{name}")
                    self._known[name] = now[name]
            for name in self._known.keys() - now.keys():
                files.rm_file(f"{root}/{name}")
                del self._known[name]

    def shown(self, text: str) -> str:
        """A text that names files of the copy, with their addresses instead."""
        return text.replace(str(self.local), self.address)

    def _pull(self, only: Collection[str]) -> None:
        files, root = _storage(self.address)
        files.invalidate_cache()
        for place in sorted(files.find(root)):
            name = place.removeprefix(f"{root}/")
            if (only and name not in only) or (not only and name.startswith("report/")):
                continue
            target = self.local / name
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(place, str(target))
            self._known[name] = _about(target)

    def _names(self) -> list[str]:
        """Files of the copy, by their path in it; those that begin with a full stop are of this process."""
        paths = [path.relative_to(self.local) for path in self.local.rglob("*") if path.is_file()]
        return [path.as_posix() for path in paths if not path.name.startswith(".")]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except _refusals() as error:
            raise BadTable(
                f"{self.address} does not answer, or refuses: {error}; check the address, the network and the "
                "credentials, and run the same command again: cells that are there are kept"
            ) from error


def keeping(remote: RemoteFolder, events: Events) -> Events:
    """Events that put what is new into the storage after every cell."""

    def cells(done: int, total: int, samples: int) -> None:
        remote.push()
        events.cells(done, total, samples)

    return replace(events, cells=cells)


def _order(name: str) -> tuple[int, str]:
    is_manifest = name == "manifest.json"
    suffix = Path(name).suffix
    return (_LAST.index(suffix) if suffix in _LAST else 0) + 3 * is_manifest, name


def _about(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _storage(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        MissingExtra: if what it needs is not installed.
        BadOption: if there is no such kind of address.
    """
    scheme = address.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        files, root = url_to_fs(address)
    except ImportError as error:
        raise MissingExtra("s3", f"what fsspec needs for {scheme}://") from error
    except ValueError as error:
        raise BadOption(
            "out", address, f"an address that fsspec knows, as s3:// ({error})"
        ) from error
    return files, str(root)


def _refusals() -> tuple[type[Exception], ...]:
    """What a client raises: that of S3 has errors of its own."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return (OSError,)
    return OSError, BotoCoreError, ClientError
