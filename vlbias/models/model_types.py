"""From the folder or hub name of a model to the adapter that takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlbias.errors import BadModel
from vlbias.files import read_object
from vlbias.models.fusion.families import FAMILIES as _FUSION

__all__ = ["adapter_of_folder", "adapter_of_hub"]

_MIXTURES = ("mixtral", "dbrx", "deepseek_v2", "deepseek_v3", "gpt_oss", "jamba", "llama4", "olmoe")


def adapter_of_folder(folder: Path, adapters: Mapping[str, str]) -> str:
    """The module of a folder's adapter.

    Args:
        folder: Of a model.
        adapters: Model type to module.

    Raises:
        BadModel: if the folder is none of a model, or there is no adapter for it.
    """
    if (folder / "open_clip_config.json").is_file():
        return "vlbias.models.openclip"
    if (folder / "mitigated.json").is_file():
        return "vlbias.mitigations.export"
    config = folder / "config.json"
    if not config.is_file():
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        raise BadModel(
            f"{folder} is no model folder: expected config.json or open_clip_config.json, found {there}"
        )
    settings = read_object(config, BadModel, "fetch the model again")
    return _adapter(
        str(settings.get("model_type", "")),
        settings.get("architectures") or (),
        str(folder),
        adapters,
    )


def adapter_of_hub(name: str, adapters: Mapping[str, str]) -> str:
    """The module of the adapter for a name on the hub; arguments and errors as of `adapter_of_folder`."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise BadModel(
            f"{name!r} is neither a folder here nor to be had from the hub: {error}"
        ) from error
    return _adapter(config.model_type, config.architectures or (), name, adapters)


def _adapter(kind: str, classes: Sequence[str], given: str, adapters: Mapping[str, str]) -> str:
    if any(
        name in _FUSION for name in classes
    ):  # BLIP-2 is of one type with and without a match head
        return "vlbias.models.fusion.loading"
    if kind in _MIXTURES or "moe" in kind.split("_")[-1]:
        raise BadModel(
            f"{given}: {kind!r} is a mixture of experts: which of its modules run depends on the text, so "
            "that a component cannot be exchanged between two worlds. Give a dense model."
        )
    if kind not in adapters:
        raise BadModel(
            f"{given}: models of type {kind!r} have no adapter; there are adapters for "
            f"{', '.join(sorted(adapters))} and open_clip. See 'A new kind of model' in docs/own-model.md."
        )
    return adapters[kind]
