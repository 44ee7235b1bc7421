"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlbias.errors import BadModel, BadTable, VlbiasError

__all__ = [
    "hash_of_weights",
    "read_object",
    "refuse_without_weights",
    "unwritable",
    "whole",
    "write_json",
]


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
    with whole(path) as temporary:
        temporary.write_text(text)


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
def whole(path: Path) -> Iterator[Path]:
    """A name to write to that becomes `path` at the end; nothing of it is left after an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
