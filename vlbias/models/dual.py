"""Dual encoders of Hugging Face: CLIP and its descendants, SigLIP, ALIGN and VisionTextDualEncoder.

Two towers that meet in a cosine. The adapter names the blocks and their ports; the towers' own
forward passes run untouched.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import normalizers
from torch import Tensor, nn
from transformers import AutoModel

from vlbias.causal.cosine_join import cosine_readout, opened, split_dual
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Batch, Port, Readout, Stage, Tower
from vlbias.errors import BadModel
from vlbias.models.long_texts import refuse_long_texts
from vlbias.models.pretrained import pretrained, refuse_placement
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["HfDual", "load"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where one family of encoders keeps its blocks, and in a block the two branches.

    `attn` and `mlp` end in what is added to the residual stream (up to a fixed scale); `attn_out`
    and `mlp_out` are the last linear maps of the branches: heads and neurons are slices of their
    inputs. `tail` are the token-wise parts of a block, given where the pooled output is token 0.
    `embed` gives what enters the first block. Blocks without branches have no names for them.
    """

    blocks: str
    attn: str
    attn_out: str
    mlp: str
    mlp_out: str
    heads: str = "num_attention_heads"
    tail: tuple[str, ...] = ()
    embed: str = "embeddings"


_CLIP = _Layout("encoder.layers", "self_attn", "self_attn.out_proj", "mlp", "mlp.fc2")
_VISION = replace(_CLIP, tail=("self_attn.out_proj", "layer_norm2"), embed="pre_layrnorm")
_BERT = _Layout(
    "encoder.layer",
    "attention.output.dense",
    "attention.output.dense",
    "output.dense",
    "output.dense",
    tail=("attention.output.dense", "intermediate.dense"),
)
_VIT = _Layout("layers", "attention", "attention.o_proj", "mlp", "mlp.fc2")
_LAYOUTS = {
    "align_text_model": _BERT,
    "align_vision_model": _Layout("encoder.blocks", "", "", "", ""),  # an EfficientNet
    "altclip_text_model": replace(
        _BERT, blocks="roberta.encoder.layers", embed="roberta.embeddings"
    ),
    "altclip_vision_model": _VISION,
    "bert": _BERT,
    "chinese_clip_text_model": _BERT,
    "chinese_clip_vision_model": _VISION,
    "clip_text_model": _CLIP,
    "clip_vision_model": _VISION,
    "dinov2": replace(_VIT, blocks="encoder.layer", tail=("attention.o_proj", "norm2")),
    "roberta": _BERT,
    "siglip_text_model": _CLIP,
    "siglip_vision_model": _CLIP,
    "siglip2_text_model": _CLIP,
    "siglip2_vision_model": _CLIP,
    "vit": replace(_VIT, tail=("attention.o_proj", "layernorm_after")),
    "xlm-roberta": _BERT,
}


class HfDual:
    """A Hugging Face dual encoder as a staged model.

    Args:
        net: An `AlignModel`, `AltCLIPModel`, `ChineseCLIPModel`, `CLIPModel`, `SiglipModel`, `Siglip2Model` or
            `VisionTextDualEncoderModel`.
        image_processor: Turns PIL images into the image tower's tensors.
        tokenizer: Turns texts into token ids; padding on the right.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.

    Raises:
        BadModel: if the encoders are of a family whose blocks are not known.
    """

    gives = frozenset({"class_logits", "score"})

    def __init__(
        self, net: nn.Module, image_processor: Any, tokenizer: Any, *, name: str, revision: str
    ) -> None:
        refuse_placement(name, net)
        self.net, self.name, self.revision = net.eval(), name, revision
        config: Any = net.config
        # SigLIP was trained on lower-case texts padded to its full length, without a mask
        full = config.model_type.startswith("siglip")
        self._processor = image_processor
        self._tokenizer = _lower_casing(tokenizer) if full else tokenizer
        image, image_ports = _stage_and_ports(
            "image_encoder", "vision_model", config.vision_config, net
        )
        text, text_ports = _stage_and_ports("text_encoder", "text_model", config.text_config, net)
        self.towers = (
            Tower("image_encoder", ("image",), (image,), aligned=("spatial_shapes",)),
            Tower(
                "text_encoder",
                ("text",),
                (text,),
                aligned=("length",),
                length=None if full else "length",
            ),
        )
        self.ports = (*image_ports, *text_ports)
        self._padding: dict[str, Any] = {"padding": True}
        if full:
            self._padding = {
                "padding": "max_length",
                "max_length": config.text_config.max_position_embeddings,
            }
        self._limit = _longest_text(config.text_config)

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One image row; one text row for a caption, or one for each class prompt."""
        return split_dual(inputs)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels, or token ids with their mask and each text's length in tokens.

        Raises:
            BadData: if an image cannot be read, or a text holds a special token.
            BadModel: if a text is longer than the text encoder takes.
        """
        device = next(self.net.parameters()).device
        if tower == "image_encoder":
            pixels = self._processor(images=opened(rows), return_tensors="pt")
            dtype = next(self.net.parameters()).dtype
            return {
                k: v.to(device, dtype if v.is_floating_point() else None) for k, v in pixels.items()
            }
        refuse_special_tokens(self.name, self._tokenizer, rows)
        refuse_long_texts(self.name, rows, self._tokenizer(list(rows))["input_ids"], self._limit)
        tokens = self._tokenizer(
            list(rows), return_tensors="pt", return_attention_mask=True, **self._padding
        )
        tokens["length"] = tokens["attention_mask"].sum(1)
        if "max_length" in self._padding:
            del tokens["attention_mask"]
        return {key: value.to(device) for key, value in tokens.items()}

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Projected, not yet normalised embeddings [R, D]."""
        inputs = {key: value for key, value in batch.items() if key != "length"}
        net: Any = self.net
        get = net.get_image_features if tower == "image_encoder" else net.get_text_features
        embedding: Tensor = get(**inputs).pooler_output
        return embedding

    def join(self, values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Readout:
        """Scaled cosines: class_logits [B, n], and score [B] where there is one text an example."""
        net: Any = self.net
        bias = getattr(net, "logit_bias", None)
        scale = 1 / net.temperature if hasattr(net, "temperature") else net.logit_scale.exp()
        return cosine_readout(values, index, scale=scale, bias=0.0 if bias is None else bias)


def _lower_casing(tokenizer: Any) -> Any:
    """A Gemma tokenizer that lower-cases as `transformers.Siglip2Tokenizer` does; others as they are.

    Folders of SigLIP 2 with images of one size say that they are SigLIP, and name the plain tokenizer.
    """
    if "gemma" not in type(tokenizer).__name__.lower():
        return tokenizer
    lower = copy.deepcopy(tokenizer)
    inner = lower.backend_tokenizer
    before = [] if inner.normalizer is None else [inner.normalizer]
    inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
    return lower


def _longest_text(config: Any) -> int:
    longest = int(getattr(config, "max_position_embeddings", 512))
    if config.model_type in ("altclip_text_model", "roberta", "xlm-roberta"):
        # their positions are counted from behind the padding token's number
        longest -= config.pad_token_id + 1
    return longest


def _stage_and_ports(
    stage: str, root: str, config: Any, net: nn.Module
) -> tuple[Stage, tuple[Port, ...]]:
    layout = _LAYOUTS.get(config.model_type)
    if layout is None:
        raise BadModel(
            f"the blocks of a {config.model_type!r} encoder are not known; known are "
            f"{', '.join(sorted(_LAYOUTS))}. Add a line to _LAYOUTS in vlbias/models/dual.py."
        )
    stem = f"{root}.{layout.blocks}"
    layers = len(net.get_submodule(stem))  # type: ignore[arg-type]
    block = stem + ".{layer}"
    ports: tuple[Port, ...] = (
        Port(stage, "embed", f"{root}.{layout.embed}", "out", cut=True),
        Port(stage, "resid", block, "out", layers, cut=True),
    )
    if layout.attn:
        ports += _branches(stage, stem, layers, layout, config, net)
    blocks = tuple(f"{stem}.{i}" for i in range(layers))
    tail = tuple(f"{blocks[-1]}.{module}" for module in layout.tail)
    return Stage(stage, root, blocks=blocks, tail=tail), ports


def _branches(
    stage: str, stem: str, layers: int, layout: _Layout, config: Any, net: nn.Module
) -> tuple[Port, ...]:
    block, heads = stem + ".{layer}", int(getattr(config, layout.heads))
    last: Any = net.get_submodule(f"{stem}.0.{layout.mlp_out}")
    return (
        Port(stage, "attn", f"{block}.{layout.attn}", "out", layers),
        Port(stage, "mlp", f"{block}.{layout.mlp}", "out", layers),
        Port(stage, "head", f"{block}.{layout.attn_out}", "in", layers, units=heads),
        Port(stage, "neuron", f"{block}.{layout.mlp_out}", "in", layers, units=last.in_features),
    )


def load(checkpoint: str, *, name: str, **options: Any) -> HfDual:
    """A dual encoder from the hub or from a local folder that `save_pretrained` wrote.

    Args:
        checkpoint: Hub name or folder.
        name: Short name for tables.
        options: `device`, `dtype` and `weights`; see `vlbias.models.pretrained.pretrained`, which
            raises what cannot be loaded.
    """
    got = pretrained(AutoModel, checkpoint, attn_implementation="sdpa", **options)
    return HfDual(got.net, got.image_processor, got.tokenizer, name=name, revision=got.revision)
