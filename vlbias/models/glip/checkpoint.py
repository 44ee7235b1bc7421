"""Published checkpoints, as their authors saved them: read without running code, checked name by name."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from vlbias.errors import BadModel
from vlbias.models.glip.head import anchors
from vlbias.models.glip.network import GlipNet
from vlbias.models.glip.published import PUBLISHED
from vlbias.models.glip.shape import GlipConfig
from vlbias.models.pretrained import pickled, refuse_other_weights

__all__ = ["filled", "read_weights", "shape_of"]

_PATCHES = "backbone.body.patch_embed.proj.weight"
_SQUARES = "rpn.anchor_generator.cell_anchors."
_UNUSED = {
    r"^rpn\.head\.cls_logits\.": "a classifier of a fixed list, frozen in training: texts are compared instead",
    r"^rpn\.resizer\.": "a projection for a contrastive loss that these models are not trained with",
}
"""Weights that a checkpoint may hold besides, with why no number hangs on them."""

_DAMAGED = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)
"""What torch raises on files that end early or are none of its own."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file that the authors' code saved, by the names of its modules.

    Args:
        path: Of a .pth file; its entry "model" holds the weights, and optimizers may stand beside it.

    Raises:
        BadModel: if the file is damaged, or holds more than tensors, numbers and lists of them.
    """
    try:
        saved = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None
        )
    except UnpicklingError as error:
        raise pickled(str(path)) from error
    except _DAMAGED as error:
        raise BadModel(
            f"{str(path)!r} cannot be read: {error}. Fetch the checkpoint again"
        ) from error
    weights = saved.get("model", saved) if isinstance(saved, Mapping) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise BadModel(
            f"{str(path)!r}: expected the weights of a GLIP by name, in an entry 'model' or by themselves; "
            "fetch the checkpoint again"
        )
    return {name.removeprefix("module."): value for name, value in weights.items()}


def shape_of(weights: Mapping[str, Tensor], checkpoint: str) -> GlipConfig:
    """The shape of the published model that has such weights.

    Args:
        weights: From `read_weights`.
        checkpoint: For messages.

    Raises:
        BadModel: if there is none.
    """
    fused = any(".b_attn." in name for name in weights)
    width = weights[_PATCHES].shape[0] if _PATCHES in weights else 0
    for published in PUBLISHED.values():
        config = GlipConfig(**published.shape)
        if (config.embed_dim, config.fused) == (width, fused):
            return config
    if not width:
        why = f"there is no {_PATCHES!r} among its {len(weights)} weights, which begin {sorted(weights)[:5]}"
    else:
        why = f"{_PATCHES!r} has {width} channels, {'with' if fused else 'without'} deep fusion"
    raise BadModel(
        f"{checkpoint!r} is none of the published GLIP models: {why}. Known are "
        f"{', '.join(sorted({one.file for one in PUBLISHED.values()}))}"
    )


def filled(net: GlipNet, weights: Mapping[str, Tensor], checkpoint: str) -> GlipNet:
    """The network with the weights, each by its name.

    Args:
        net: Of the shape that `shape_of` tells.
        weights: From `read_weights`.
        checkpoint: For messages.

    Raises:
        BadModel: if weights are missing, left over, or of another size; names the first.
    """
    _refuse_other_anchors(net.config, weights, checkpoint)
    own = {
        name: value
        for name, value in weights.items()
        if not name.startswith(_SQUARES) and not any(re.search(one, name) for one in _UNUSED)
    }
    expected = net.state_dict()
    info = {
        "missing_keys": expected.keys() - own.keys(),
        "unexpected_keys": own.keys() - expected.keys(),
    }
    refuse_other_weights(checkpoint, info, "fetch the checkpoint again")
    for name in sorted(expected):
        if own[name].shape != expected[name].shape:
            raise BadModel(
                f"{checkpoint!r}: the weight {name!r} has the size {tuple(own[name].shape)}, expected "
                f"{tuple(expected[name].shape)}: it is of another model"
            )
    net.load_state_dict({name: own[name] for name in expected})
    return net


def _refuse_other_anchors(
    config: GlipConfig, weights: Mapping[str, Tensor], checkpoint: str
) -> None:
    squares = anchors([(1, 1)] * len(config.strides), config.strides, config.anchor_sizes)
    for level, square in enumerate(squares):
        found = weights.get(f"{_SQUARES}{level}", square)
        if found.shape not in ((4,), (1, 4)) or not torch.equal(found.float().view(4), square):
            raise BadModel(
                f"{checkpoint!r}: {_SQUARES}{level} is {found.tolist()}, expected {square.tolist()}: the "
                "boxes of this model are read otherwise"
            )
