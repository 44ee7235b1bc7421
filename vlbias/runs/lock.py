"""Locks on a run folder: a second process on the same cells is refused, a dead one blocks nobody."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from vlbias.errors import FolderInUse
from vlbias.files import unwritable

if sys.platform != "win32":
    import fcntl

__all__ = ["locked"]

_FILE = ".working"
_LINE = 120
_TAKEN = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(
    folder: Path, cells: Iterable[int] = (0,), note: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """A context in which no other process can lock any of these cells of a folder.

    Each cell is a line of a file `.working` in the folder, locked by the kernel for as long as this
    process lives (POSIX record locks), so that a kill leaves nothing to clear away. Forked processes
    do not inherit it: workers that outlive their parent block nobody. Two calls within one process are
    not kept apart.

    Args:
        folder: What is worked on; made if need be.
        cells: Numbers of the cells; processes with none in common can work side by side.
        note: Is told if the file system knows no locks.

    Raises:
        FolderInUse: if another process has locked one of them.
        BadTable: if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        _take(folder, file, cells, note)
        yield
    finally:
        os.close(file)  # which gives the locks back


def _take(folder: Path, file: int, cells: Iterable[int], note: Callable[[str], None]) -> None:
    if sys.platform == "win32":
        note(f"{folder} is not locked on Windows: let no other process work on it")
        return
    now = datetime.now(UTC).isoformat(" ", timespec="seconds")
    text = f"process {os.getpid()} on {socket.gethostname()[:60]} since {now}"
    line = text.ljust(_LINE - 1).encode()[: _LINE - 1] + b"\n"
    for cell in cells:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LINE, cell * _LINE)
        except OSError as error:
            if error.errno in _TAKEN:
                raise FolderInUse(folder, _holder(file, cell)) from None
            if error.errno in _NO_LOCKS:
                note(f"the file system of {folder} keeps no locks: let no other process work on it")
                return
            raise
        os.pwrite(file, line, cell * _LINE)


def _holder(file: int, cell: int) -> str:
    # nothing is there yet in the moment between taking a line and writing it
    return os.pread(file, _LINE, cell * _LINE).decode().strip("\0\n ") or "another process"
