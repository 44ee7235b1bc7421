"""Fusion encoders with a match head from the hub or from a folder."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import transformers
from transformers import AutoConfig

from vlbias.errors import BadModel
from vlbias.models.fusion.adapter import FusionEncoder
from vlbias.models.fusion.families import FAMILIES, REFUSED
from vlbias.models.fusion.similarity import FusionSimilarity
from vlbias.models.pretrained import pretrained

__all__ = ["load", "load_similarity", "refuse_architecture"]


def load(checkpoint: str, *, name: str, **options: Any) -> FusionEncoder:
    """A fusion encoder from the hub or from a local folder that `save_pretrained` wrote.

    Args:
        checkpoint: Hub name or folder.
        name: Short name for tables.
        options: `device`, `dtype` and `weights`; see `vlbias.models.pretrained.pretrained`, which
            raises what cannot be loaded.

    Raises:
        BadModel: if the class that config.json names has no match head.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise BadModel(f"{checkpoint!r} cannot be loaded: {error}") from error
    kind = next(iter(config.architectures or ()), "")
    refuse_architecture(checkpoint, config.model_type, kind)
    of_class: Any = getattr(transformers, kind)
    maker = SimpleNamespace(
        from_pretrained=of_class.from_pretrained, from_config=of_class._from_config
    )
    got = pretrained(maker, checkpoint, **options)
    return FusionEncoder(
        got.net, got.image_processor, got.tokenizer, name=name, revision=got.revision
    )


def load_similarity(checkpoint: str, *, name: str, **options: Any) -> FusionSimilarity:
    """The same by its contrastive head; arguments and errors as of `load`."""
    model = load(checkpoint, name=name.removesuffix("-similarity"), **options)
    return model.similarity()


def refuse_architecture(checkpoint: str, model_type: str, kind: str) -> None:
    """Nothing, if a class has a match head.

    Args:
        checkpoint: Where it is from, for messages.
        model_type: Of its config.json.
        kind: First of the `architectures` there; empty if there are none.

    Raises:
        BadModel: says which classes have one, or why the family cannot be taken.
    """
    if model_type in REFUSED:
        raise BadModel(
            f"{checkpoint!r}: models of type {model_type!r} are not taken: {REFUSED[model_type]}"
        )
    if kind not in FAMILIES:
        raise BadModel(
            f'{checkpoint!r}: config.json names {kind or "no class"} in "architectures", which has no head '
            "that says whether photo and text match, so that there is no score; give a checkpoint of "
            f"{', '.join(sorted(FAMILIES))}, such as {FAMILIES['BlipForImageTextRetrieval'].example}"
        )
