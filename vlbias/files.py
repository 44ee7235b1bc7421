"""Files that are written whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vlbias.errors import BadModel, BadTable, VlbiasError

__all__ = [
    "hash_of_file",
    "hash_of_weights",
    "read_object",
    "read_sealed",
    "refuse_without_weights",
    "stamp",
    "to_disk",
    "unwritable",
    "whole",
    "write_json",
    "write_sealed",
    "write_texts",
]

_SEAL, _OF = "checksum", "sealed as"
_YOUNG = 2_000_000_000
"""Nanoseconds within which a second change may have the same time."""


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_sealed(path: Path, content: Mapping[str, Any], of: str = "") -> None:
    """Write a JSON object with a checksum of itself, whole or not at all.

    Args:
        path: The file.
        content: The object.
        of: What it is of, so that no other file can stand in its place; nothing is compared if empty.
    """
    plain = json.loads(json.dumps({**content, **({_OF: of} if of else {})}, default=str))
    write_json(path, {**plain, _SEAL: _seal(plain)})


def read_sealed(
    path: Path, table: type[dict[str, Any]] = dict, *, of: str = "", always: bool = False
) -> dict[str, Any]:
    """The JSON object that `write_sealed` wrote.

    Args:
        path: The file.
        table: What every object in it becomes.
        of: What it is of; a file that says that it is of something else is refused.
        always: Whether one without a checksum, as version 0.1.0 wrote it, is refused too.

    Raises:
        BadTable: if it cannot be read, or is not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=table)
    except (OSError, ValueError, RecursionError) as error:
        raise BadTable(f"{path} is damaged: it cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadTable(f"{path} is damaged: expected an object, found {str(content)[:40]}")
    seal = content.pop(_SEAL, None)
    renamed = seal is None and any(
        value == _seal({k: v for k, v in content.items() if k != key})
        for key, value in content.items()
        if isinstance(value, str) and len(value) == 64
    )
    if renamed or (seal is not None and seal != _seal(content)):
        raise BadTable(f"{path} is damaged: it is not what was written")
    if always and seal is None:
        raise BadTable(f"{path} is damaged: it has no checksum")
    sealed_as = content.pop(_OF, of)
    if sealed_as != of:
        raise BadTable(f"{path} is not its own: it was written as {sealed_as}")
    return content


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_texts(texts: Mapping[Path, str], *, seal: Path | None = None) -> None:
    """Write several files whole: until all can be written, none is there or changed.

    Args:
        texts: Path to content.
        seal: The one of them that says that the others belong together: it is away while they are exchanged,
            and comes last, so that a kill leaves nothing mixed below it. After an error all are as before.
    """
    order = sorted(texts, key=lambda path: path == seal)
    temporary = {path: _beside(path, "tmp") for path in order}
    try:
        for path, text in texts.items():
            temporary[path].write_text(text, encoding="utf-8", newline="")
            to_disk(temporary[path])
        if seal is None:
            for path in order:
                os.replace(temporary[path], path)
        else:
            _exchange(temporary)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    for folder in {path.parent for path in texts}:
        to_disk(folder)


def _exchange(new: dict[Path, Path]) -> None:
    """Move files to their places, the last one last; after an error what was there is there again."""
    before: dict[Path, Path] = {}
    moved: list[Path] = []
    done = False
    try:
        for path in reversed(new):
            _forget(path)
            if path.exists():
                before[path] = _beside(path, "old")
                os.rename(path, before[path])
        for path, temporary in new.items():
            os.replace(temporary, path)
            moved.append(path)
        done = True
    finally:
        if not done:  # an interrupt too: what is half exchanged would be mixed
            for path in moved:
                path.unlink()
            for path in new:
                if path in before and before[path].exists():
                    os.rename(before[path], path)
    for path in before.values():
        path.unlink()


def _forget(path: Path) -> None:
    """Remove what a killed exchange left of an older file."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        left.unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


def read_object(path: Path, refusal: type[VlbiasError], remedy: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: The file, in UTF-8.
        refusal: What to raise.
        remedy: What to do, for the message.

    Raises:
        VlbiasError: the `refusal`, if the file cannot be read, is no JSON, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise refusal(f"{path} is no JSON in UTF-8 ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise refusal(
            f"{path} holds a {type(content).__name__}, expected names and values in {{}}; {remedy}"
        )
    return content


@contextmanager
def whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A name to write to that becomes `path` at the end; nothing of it is left after an error.

    Args:
        path: The file.
        durable: Whether to wait until it is on the disk, so that a power cut cannot leave half of it.
    """
    temporary = _beside(path, "tmp")
    try:
        yield temporary
        if durable:
            to_disk(temporary)
        os.replace(temporary, path)
        if durable:
            to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Raises:
        OSError: if a file cannot be written there.
    """
    if path.is_dir():
        if sys.platform == "win32":
            return
        with suppress(OSError):  # some file systems know no such thing for folders
            _sync(path, os.O_RDONLY)
        return
    _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def hash_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> str:
    """Size, inode and times of a file, which differ once it was changed; empty where that cannot be told.

    A program can put back the time of the content (`cp -p`, `rsync -t`, `touch -r`), not that of the inode:
    bytes that were exchanged are noticed. A file that changed less than two seconds ago has no stamp, since a
    second change could have the same time. Neither has one on Windows, which keeps no time of the inode.
    """
    try:
        about = path.stat()
    except OSError:
        return ""
    if os.name == "nt" or time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) < _YOUNG:
        return ""
    return f"{about.st_size}-{about.st_ino}-{about.st_mtime_ns}-{about.st_ctime_ns}"


def _weight_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])


def refuse_without_weights(folder: Path) -> None:
    """Nothing, for a model folder that holds weights.

    Raises:
        BadModel: if it holds none; says what is there.
    """
    if not _weight_files(folder):
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise BadModel(
            f"{folder} has no weights: expected model.safetensors or pytorch_model.bin, found {there}"
        )


def hash_of_weights(model: Path) -> str:
    """A hash of one file, or of a folder's weights and settings.

    Settings count, since pixels normalised otherwise give other numbers.
    """
    files = [model]
    if model.is_dir():
        endings = ("json", "txt", "model")
        settings = [path for ending in endings for path in model.glob(f"*.{ending}")]
        files = sorted({*_weight_files(model), *settings})
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return f"sha256:{digest.hexdigest()[:16]}"


def unwritable(folder: Path, error: OSError) -> BadTable:
    """What to raise where a folder cannot be written."""
    return BadTable(f"{folder} cannot be written ({error}); choose another folder with --out")
