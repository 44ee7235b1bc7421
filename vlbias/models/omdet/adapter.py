"""OmDet-Turbo as one tower of four stages.

Image and text meet in the decoder, so that a row of the tower is an image with a task and the classes
that it asks for. The model's own modules run untouched; its cache of texts is passed by.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForZeroShotObjectDetection

from vlbias.causal.cosine_join import opened
from vlbias.causal.detection_readout import class_logits, corners
from vlbias.causal.staged_model import Batch, Tower
from vlbias.errors import BadModel, MissingExtra
from vlbias.models.grounded import GroundedModel
from vlbias.models.omdet.layout import CLASSES, FOUND, TASK, gated, stages_and_ports
from vlbias.models.omdet.text import TASK as IS_TASK
from vlbias.models.omdet.text import TaskReader, apart
from vlbias.models.pretrained import pretrained

__all__ = ["OmDet", "load"]


class OmDet(GroundedModel[TaskReader]):
    """An OmDet-Turbo as a staged model.

    Args:
        net: An `OmDetTurboForObjectDetection`; gets three modules without weights, see `gated`.
        image_processor: Turns PIL images into pixels of one size; None for an outline.
        tokenizer: The text encoder's tokenizer; None for an outline.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.

    Raises:
        BadModel: if the text encoder is not CLIP's, the tokenizer is not the model's, or the images
            would have several sizes.
    """

    def __init__(
        self, net: nn.Module, image_processor: Any, tokenizer: Any, *, name: str, revision: str
    ) -> None:
        if image_processor is not None and "height" not in image_processor.size:
            raise BadModel(
                f"{name}: the image processor gives images of several sizes ({image_processor.size}), "
                "the model takes no mask of padding; give it a size of height and width"
            )
        config: Any = net.config
        reader = None
        if tokenizer is not None:
            reader = TaskReader(name, tokenizer, config.text_config.max_position_embeddings)
        stages, self.ports = stages_and_ports(net, config)
        super().__init__(gated(net.eval()), reader, name=name, revision=revision)
        self._processor = image_processor
        aligned = ("text", "owner", "size")
        self.towers = (Tower("model", ("image", "text"), stages, aligned=aligned),)
        self._queries = config.num_queries

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels, the images' `size`, what `TaskReader.read` gives, and how many tokens the decoder fuses.

        Raises:
            BadData: if an image cannot be read.
            BadModel: if a text has too many tokens or unknown class names.
        """
        images = opened([image for image, _ in rows])
        batch = self.reader.read([piece for _, piece in rows])
        batch["fused_length"] = batch["task_length"] + self._queries
        batch["size"] = torch.tensor([image.size for image in images])
        first = next(self.net.parameters())
        pixels = self._processor(images=images, return_tensors="pt")["pixel_values"]
        batch["pixel_values"] = pixels.to(first.dtype)
        return {key: value.to(first.device) for key, value in batch.items()}

    def encode(self, tower: str, batch: Batch) -> dict[str, Tensor]:
        """Boxes in pixels [R, Q, 4] and logits of classes [R, Q, K]."""
        net: Any = self.net
        maps = net.encoder(net.vision_backbone(batch["pixel_values"])).extracted_states
        classes, task, told = self._read(batch)
        # the decoder takes tokens first
        found = net.decoder(maps, classes.transpose(0, 1), task.transpose(0, 1), told)
        last = {"boxes": found.decoder_coords[-1], "logits": found.decoder_classes[-1]}
        last = net.get_submodule(FOUND)(last)
        return {
            "boxes": corners(last["boxes"], batch["size"]),
            "logits": class_logits(last["logits"], batch["owner"], int(batch["classes"][0])),
        }

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of the classes [R, K, D], states of the task's tokens [R, T, D], and their mask."""
        language: Any = self.net.get_submodule("language_backbone")
        hidden = language.model(
            input_ids=batch["input_ids"],
            attention_mask=apart(batch["text"], language.text_projection.dtype),
            position_ids=batch["place"],
        ).last_hidden_state
        at_end = batch["end"][..., None].expand(-1, -1, hidden.shape[-1])
        classes = hidden.gather(1, at_end) @ language.text_projection
        longest = int(batch["task_width"][0])
        told = batch["text"][:, :longest] == IS_TASK
        task = hidden[:, :longest] * told[..., None]
        return self.net.get_submodule(CLASSES)(classes), self.net.get_submodule(TASK)(task), told


def load(checkpoint: str, *, name: str, **options: Any) -> OmDet:
    """An OmDet-Turbo from the hub or from a local folder that `save_pretrained` wrote.

    Args:
        checkpoint: Hub name or folder.
        name: Short name for tables.
        options: `device`, `dtype` and `weights`; see `vlbias.models.pretrained.pretrained`, which
            raises what cannot be loaded.

    Raises:
        MissingExtra: if the backbone is timm's, as the published one is, and timm is not installed.
    """
    try:
        got = pretrained(AutoModelForZeroShotObjectDetection, checkpoint, **options)
    except ImportError as error:
        if find_spec("timm") is not None:
            raise
        raise MissingExtra("omdet", "timm") from error
    return OmDet(got.net, got.image_processor, got.tokenizer, name=name, revision=got.revision)
