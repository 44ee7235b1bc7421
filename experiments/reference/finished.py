"""The record that tells a finished model of some settings from one that is still being made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference.sources import sha256_of

from vlbias.errors import BadModel

__all__ = ["is_finished", "write_record"]


def is_finished(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a model of these settings is there, whole: its command is then done at once.

    Args:
        folder: Of the model; `training.json` is its last file.
        settings: Of the training.

    Raises:
        BadModel: if another model is there, or its weights are not those that were saved.
    """
    record = folder / "training.json"
    if not record.is_file():
        return False
    said = json.loads(record.read_text(encoding="utf-8"))
    other = [name for name, value in settings.items() if said["settings"].get(name) != value]
    if other:
        name = other[0]
        raise BadModel(
            f"{folder} holds a model with {name} {said['settings'].get(name)!r}, asked for is "
            f"{settings[name]!r}; name another folder with --out"
        )
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256_of(weights) != said["weights_sha256"]:
        raise BadModel(f"{weights} is not what was saved; remove {folder} and train again")
    return True


def write_record(record: Mapping[str, Any], folder: Path) -> None:
    """Writes training.json with the checksum of the weights, whole; the last file of a model folder."""
    said = {**record, "weights_sha256": sha256_of(folder / "model.safetensors")}
    partial = folder / "training.json.partial"
    partial.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / "training.json")
