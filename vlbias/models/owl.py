"""OWL-ViT and OWLv2: two towers as in CLIP, joined by a box head that scores every patch.

The image tower ends in the boxes and class embeddings of the patches, the text tower in one
embedding for every class prompt; the heads are the model's own modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForZeroShotObjectDetection,
)

from vlbias.causal.cosine_join import opened, split_dual
from vlbias.causal.detection_readout import corners, detection_readout
from vlbias.causal.example import GroundedText, Inputs, mix
from vlbias.causal.gradients import without_gradients
from vlbias.causal.staged_model import Batch, Port, Readout, Stage, Tower
from vlbias.errors import BadStudy
from vlbias.models.long_texts import refuse_long_texts
from vlbias.models.pretrained import pretrained, refuse_placement
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["Owl", "load"]

_TINY = 1e-6
"""What the library adds to a norm before it divides by it."""


class Owl:
    """An OWL-ViT or OWLv2 detector as a staged model.

    Args:
        net: An `OwlViTForObjectDetection` or `Owlv2ForObjectDetection`.
        image_processor: Turns PIL images into pixels.
        tokenizer: Turns texts into token ids; padding on the right.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.
    """

    gives = frozenset({"boxes", "class_prob", "class_logits"})

    def __init__(
        self, net: nn.Module, image_processor: Any, tokenizer: Any, *, name: str, revision: str
    ) -> None:
        refuse_placement(name, net)
        self.net, self.name, self.revision = net.eval(), name, revision
        self._processor, self._tokenizer = image_processor, tokenizer
        config: Any = net.config
        self._encoders = config.model_type  # "owlvit" or "owlv2", also the module's name
        self._limit = config.text_config.max_position_embeddings
        image, image_ports = _stage_and_ports(
            "image_encoder", f"{self._encoders}.vision_model", config.vision_config
        )
        text, text_ports = _stage_and_ports(
            "text_encoder", f"{self._encoders}.text_model", config.text_config
        )
        self.towers = (
            Tower("image_encoder", ("image",), (image,)),
            Tower("text_encoder", ("text",), (text,), aligned=("length",), length="length"),
        )
        self.ports = (*image_ports, *text_ports)

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One image row; one text row for each class.

        Raises:
            BadStudy: if a text has words beside its list of classes: this model reads each class by
                itself, so that they would be lost.
        """
        text = inputs["text"]
        if isinstance(text, GroundedText):
            if text.before.strip() or text.after.strip():
                expected = "one text per class ('{object}' in it), or 'categories'"
                raise BadStudy("prompt", str(text)[:80], expected)
            return split_dual(mix(inputs, {"text": text.phrases}, {"text"}))
        return split_dual(inputs)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels and the size that boxes are relative to, or token ids with mask and length.

        Raises:
            BadData: if an image cannot be read.
            BadModel: if a text is longer than the text encoder takes.
        """
        first = next(self.net.parameters())
        if tower == "image_encoder":
            images = opened(rows)
            pixels = self._processor(images=images, return_tensors="pt")["pixel_values"]
            # OWLv2 pads to a square, OWL-ViT squeezes
            sizes = [
                (max(image.size),) * 2 if self._encoders == "owlv2" else image.size
                for image in images
            ]
            batch = {"pixel_values": pixels.to(first.dtype), "size": torch.tensor(sizes)}
        else:
            ids = self._tokenizer(list(rows))["input_ids"]
            refuse_special_tokens(self.name, self._tokenizer, rows)
            refuse_long_texts(self.name, rows, ids, self._limit)
            read = self._tokenizer(list(rows), padding=True, return_tensors="pt")
            mask = read["attention_mask"]
            batch = {
                "input_ids": read["input_ids"],
                "attention_mask": mask,
                "length": mask.sum(1),
            }
        return {key: value.to(first.device) for key, value in batch.items()}

    def encode(self, tower: str, batch: Batch) -> dict[str, Tensor]:
        """Of an image, class embeddings, boxes, shift and scale of every patch; of a text, "query"."""
        net: Any = self.net
        if tower == "text_encoder":
            read = {key: batch[key] for key in ("input_ids", "attention_mask")}
            query = getattr(net, self._encoders).get_text_features(**read).pooler_output
            query = query / query.norm(dim=-1, keepdim=True)
            return {"query": _unit(query)}
        grid = net.image_embedder(pixel_values=batch["pixel_values"])[0]
        patches, head = grid.flatten(1, 2), net.class_head
        return {
            "classes": _unit(head.dense0(patches)),
            "boxes": corners(net.box_predictor(patches, grid), batch["size"]),
            "shift": head.logit_shift(patches),
            "scale": head.elu(head.logit_scale(patches)) + 1,
        }

    def join(self, values: Mapping[str, Any], index: Mapping[str, Tensor]) -> Readout:
        """Boxes, probabilities and presence; see `detection_readout`."""
        return _joined(values["image_encoder"], values["text_encoder"]["query"], index)


@without_gradients
def _joined(image: Mapping[str, Tensor], query: Tensor, index: Mapping[str, Tensor]) -> Readout:
    rows = index["image_encoder"][:, 0].to(query.device)
    asked = query[index["text_encoder"].to(query.device)]  # [B, n, D]
    # in float64, so that a readout does not depend on its neighbours in the batch
    cosines = image["classes"][rows].double() @ asked.double().transpose(1, 2)
    logits = (cosines + image["shift"][rows]) * image["scale"][rows]
    found = {"boxes": image["boxes"][rows], "logits": logits}
    return detection_readout(found, torch.arange(len(rows))[:, None])


def _unit(embedding: Tensor) -> Tensor:
    size: Tensor = torch.linalg.norm(embedding, dim=-1, keepdim=True)
    return embedding / (size + _TINY)


def _stage_and_ports(stage: str, root: str, config: Any) -> tuple[Stage, tuple[Port, ...]]:
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    embed = "pre_layernorm" if stage == "image_encoder" else "embeddings"
    block = f"{root}.encoder.layers.{{layer}}"
    neurons = config.intermediate_size
    ports = (
        Port(stage, "embed", f"{root}.{embed}", "out", cut=True),
        Port(stage, "resid", block, "out", layers, cut=True),
        Port(stage, "attn", f"{block}.self_attn", "out", layers),
        Port(stage, "mlp", f"{block}.mlp", "out", layers),
        Port(stage, "head", f"{block}.self_attn.out_proj", "in", layers, units=heads),
        Port(stage, "neuron", f"{block}.mlp.fc2", "in", layers, units=neurons),
    )
    blocks = tuple(f"{root}.encoder.layers.{i}" for i in range(layers))
    return Stage(stage, root, blocks=blocks), ports


def load(checkpoint: str, *, name: str, **options: Any) -> Owl:
    """A detector from the hub or from a local folder that `save_pretrained` wrote.

    Args:
        checkpoint: Hub name or folder.
        name: Short name for tables.
        options: `device`, `dtype` and `weights`; see `vlbias.models.pretrained.pretrained`, which
            raises what cannot be loaded.
    """
    got = pretrained(AutoModelForZeroShotObjectDetection, checkpoint, **options)
    return Owl(got.net, got.image_processor, got.tokenizer, name=name, revision=got.revision)
