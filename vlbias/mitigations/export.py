"""A mitigated model as a folder: an ordinary checkpoint, or a wrapped one that vlbias loads again."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadModel, BadStudy
from vlbias.files import write_json
from vlbias.mitigations.base import Fitted
from vlbias.mitigations.mitigated_model import MitigatedModel

__all__ = ["MARK", "export", "load"]

MARK = "mitigated.json"
"""What a wrapped folder is known by."""


def export(fitted: Fitted, model: StagedModel, folder: Path, source: str, strength: float) -> None:
    """Write a mitigated model; see `Fitted.export`."""
    if not 0.0 < strength <= 1.0:
        raise BadStudy("strength", strength, "above 0, at most 1: at 0 there is nothing to export")
    if folder.exists() and any(folder.iterdir()):
        raise BadModel(f"{folder} is not empty; export into a new folder")
    local = Path(source)
    if fitted.mitigation.place == "weights":
        if not local.is_dir():
            raise BadModel(
                f"{source!r} is no folder: tokenizer and image processor are copied from there. Save the "
                "model with its processors first"
            )
        _checkpoint(fitted, model, folder, local, strength)
        return
    folder.mkdir(parents=True, exist_ok=True)
    inner = source
    if local.is_dir():
        shutil.copytree(local, folder / "model")
        inner = "model"
    fitted.save(folder / "mitigation")
    write_json(folder / MARK, {"format": 1, "model": inner, "strength": strength})


def _checkpoint(
    fitted: Fitted, model: StagedModel, folder: Path, source: Path, strength: float
) -> None:
    """The source's settings with the changed weights."""
    weights = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*weights), dirs_exist_ok=True)
    with fitted.applied(model, strength) as changed:
        net: Any = changed.net
        if (source / "open_clip_config.json").is_file():
            tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
            save_file(tensors, folder / "open_clip_model.safetensors")
        else:
            net.save_pretrained(folder)
    fitted.save(folder / "mitigation")


def load(
    checkpoint: str, *, name: str, device: str = "cpu", dtype: str = "float32", weights: bool = True
) -> StagedModel:
    """The model of a wrapped folder, mitigated for good.

    Args:
        checkpoint: The folder.
        name: Short name for tables.
        device: Where it runs.
        dtype: "float32" or "bfloat16".
        weights: Whether to load them; without them the model has its shape only, unmitigated.

    Raises:
        BadModel: if the folder is not what `Fitted.export` wrote.
    """
    from vlbias.models import load_model, outline_model

    folder = Path(checkpoint)
    try:
        about = json.loads((folder / MARK).read_text())
        inner, strength = about["model"], float(about["strength"])
    except (OSError, KeyError, ValueError) as error:
        raise BadModel(f"{folder} is no exported model ({error}); export it again") from error
    path = str(folder / inner) if (folder / inner).is_dir() else inner
    if not weights:
        return outline_model(path)
    model = load_model(path, device=device, dtype=dtype)
    lasting = ExitStack()
    mitigated = lasting.enter_context(Fitted.load(folder / "mitigation").applied(model, strength))
    assert isinstance(mitigated, MitigatedModel)
    # what nobody holds is closed, and the mitigation would be undone
    mitigated.name, mitigated.lasting = name, lasting
    return mitigated
