"""Dual encoders of open_clip, from its registry of pretrained weights or from a local folder.

Heads are not offered: open_clip computes them inside torch's fused multi-head attention, where no
module boundary lies between head and output projection. The Hugging Face form of the same
checkpoints has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vlbias.causal.cosine_join import cosine_readout, opened, split_dual
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Batch, Port, Readout, Stage, Tower
from vlbias.errors import BadModel, MissingExtra
from vlbias.models.pretrained import pickled, refuse_broken_pixels, refuse_broken_weights
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["OpenClip", "load"]

_WEIGHTS = ("safetensors", "bin", "pth")


class OpenClip:
    """An open_clip `CLIP` with a vision transformer as a staged model.

    Args:
        net: An `open_clip.CLIP`.
        transform: Turns one PIL image into a tensor [3, H, W].
        tokenizer: Turns texts into token ids [R, context].
        name: Short name for tables.
        revision: Identity of the weights.

    Raises:
        BadModel: if the image tower is no open_clip vision transformer.
    """

    gives = frozenset({"class_logits", "score"})

    def __init__(
        self, net: Any, transform: Any, tokenizer: Any, *, name: str, revision: str
    ) -> None:
        self.net, self.name, self.revision = net.eval(), name, revision
        self._transform, self._tokenizer = transform, tokenizer
        names = dict(net.named_modules())
        if "visual.transformer.resblocks" not in names or "transformer.resblocks" not in names:
            raise BadModel(f"{name}: only open_clip models with two transformers are drawn so far")
        image, image_ports = _stage_and_ports(
            "image_encoder", "visual", "visual.transformer", names
        )
        text, text_ports = _stage_and_ports("text_encoder", "transformer", "transformer", names)
        self.towers = (
            Tower("image_encoder", ("image",), (image,)),
            Tower("text_encoder", ("text",), (text,), aligned=("length",), length="length"),
        )
        self.ports = (*image_ports, *text_ports)

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One image row; one text row for a caption, or one for each class prompt."""
        return split_dual(inputs)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels [R, 3, H, W], or token ids [R, context] with each text's length.

        Raises:
            BadData: if an image cannot be read, or a text holds a special token.
            BadModel: if a text fills the whole context, so that its end may be cut off.
        """
        parameter = next(self.net.parameters())
        if tower == "image_encoder":
            pixels = torch.stack([self._transform(image) for image in opened(rows)])
            return {"image": pixels.to(parameter.device, parameter.dtype)}
        refuse_special_tokens(self.name, self._tokenizer, rows)
        tokens = self._tokenizer(list(rows)).to(parameter.device)
        length = (tokens != 0).sum(1)
        if bool((length == tokens.shape[1]).any()):
            full = rows[int(length.argmax())]
            raise BadModel(
                f"{self.name}: the text {full[:80]!r} fills all {tokens.shape[1]} tokens that the model "
                "takes, and its end may be cut off; use a shorter prompt or caption"
            )
        return {"text": tokens, "length": length}

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Projected, not yet normalised embeddings [R, D]."""
        if tower == "image_encoder":
            embedding: Tensor = self.net.encode_image(batch["image"])
        else:
            embedding = self.net.encode_text(batch["text"])
        return embedding

    def join(self, values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Readout:
        """Scaled cosines: class_logits [B, n], and score [B] where there is one text an example."""
        bias = self.net.logit_bias
        return cosine_readout(
            values, index, scale=self.net.logit_scale.exp(), bias=0.0 if bias is None else bias
        )


def _stage_and_ports(
    stage: str, root: str, transformer: str, names: Mapping[str, Any]
) -> tuple[Stage, tuple[Port, ...]]:
    stem = f"{transformer}.resblocks"
    layers, block = len(names[stem]), stem + ".{layer}"
    neurons = int(names[f"{stem}.0.mlp.c_proj"].in_features)
    ports: tuple[Port, ...] = (
        Port(stage, "resid", block, "out", layers, cut=True),
        Port(stage, "attn", f"{block}.attn", "out", layers),
        Port(stage, "mlp", f"{block}.mlp", "out", layers),
        Port(stage, "neuron", f"{block}.mlp.c_proj", "in", layers, units=neurons),
    )
    if f"{root}.ln_pre" in names:
        ports = (Port(stage, "embed", f"{root}.ln_pre", "out", cut=True), *ports)
    return Stage(stage, root, blocks=tuple(f"{stem}.{i}" for i in range(layers))), ports


def load(
    checkpoint: str, *, name: str, device: str = "cpu", dtype: str = "float32", weights: bool = True
) -> OpenClip:
    """An open_clip model.

    Args:
        checkpoint: "architecture/pretrained tag", or a folder with open_clip_config.json.
        name: Short name for tables.
        device: Where it runs.
        dtype: "float32" or "bfloat16".
        weights: Whether to load them; without them the model has its shape only.

    Raises:
        MissingExtra: if open_clip is not installed.
        BadModel: if the model cannot be loaded.
    """
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtra("openclip", "open_clip") from error
    local = Path(checkpoint).is_dir()
    if local:
        _refuse_without_weights(Path(checkpoint))
    architecture, _, tag = checkpoint.partition("/")
    model = f"local-dir:{checkpoint}" if local else architecture
    try:
        if not weights:
            with torch.device("meta"):
                net = open_clip.create_model(
                    model, load_weights=False, pretrained_text=False, device="meta"
                )
            return OpenClip(net, None, None, name=name, revision="outline")
        net, transform = open_clip.create_model_from_pretrained(
            model, None if local else tag, device=device
        )
        tokenizer = open_clip.get_tokenizer(model)
    except UnpicklingError as error:
        raise pickled(checkpoint) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadModel(
            f"{checkpoint!r} cannot be loaded by open_clip: {error}. Give 'architecture/tag' while "
            "online, or a folder with open_clip_config.json and weights."
        ) from error
    settings = open_clip.get_model_preprocess_cfg(net)
    net = net.to(getattr(torch, dtype))
    refuse_broken_weights(checkpoint, net)
    refuse_broken_pixels(checkpoint, settings.get("mean"), settings.get("std"))
    revision = _hash_of(net, settings)
    return OpenClip(net, transform, tokenizer, name=name, revision=revision)


def _refuse_without_weights(folder: Path) -> None:
    if not any(path for ending in _WEIGHTS for path in folder.glob(f"*.{ending}")):
        there = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise BadModel(
            f"{folder} has no weights: expected open_clip_model.safetensors or "
            f"open_clip_pytorch_model.bin, found {there}"
        )


def _hash_of(net: nn.Module, settings: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for key, tensor in sorted(net.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"
