"""Fusion encoders with a match head as staged models of one tower: how well a text fits a photo.

A row is a photo with a text. Its score is the log-odds that the two match, so that everything made for dual
encoders holds: presence of an object from "a photo of a dog", effects, mitigations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from vlbias.causal.cosine_join import opened, split_dual
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Batch, Readout, Tower
from vlbias.errors import BadData, BadModel
from vlbias.models.fusion.families import FAMILIES
from vlbias.models.fusion.layouts import LAYOUTS, STREAM, TEXT, drawn
from vlbias.models.fusion.passes import SCORES, SPAN, of_the_stream
from vlbias.models.fusion.similarity import FusionSimilarity
from vlbias.models.long_texts import refuse_long_texts
from vlbias.models.pretrained import refuse_placement
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["FusionEncoder"]

TOWER = "model"


class FusionEncoder:
    """A fusion encoder as a staged model of one tower, "model".

    Args:
        net: A network of a class in `families.FAMILIES`.
        image_processor: Turns PIL images into pixels; None for an outline.
        tokenizer: Turns texts into token ids; padding on the right.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.

    Raises:
        BadModel: if the class is not known.
    """

    gives = frozenset({"class_logits", "score"})

    def __init__(
        self, net: nn.Module, image_processor: Any, tokenizer: Any, *, name: str, revision: str
    ) -> None:
        refuse_placement(name, net)
        self.net, self.name, self.revision = net.eval(), name, revision
        self._kind = type(net).__name__
        if self._kind not in FAMILIES:
            raise BadModel(
                f"{name}: {self._kind} has no match head that is known; known are "
                f"{', '.join(sorted(FAMILIES))}"
            )
        self._processor, self._tokenizer = image_processor, tokenizer
        self._layout = LAYOUTS[self._kind]
        stages, self.ports = drawn(net, self._layout)
        self.towers = (Tower(TOWER, ("image", "text"), stages, (TEXT,), spans=SPAN),)
        self._limit = _longest_text(net.config)
        # words come first in ViLT's stream: texts of one length keep patches at one place
        first = self._layout.streams[:1] == ("text",)
        self._padding: dict[str, Any] = {"padding": True}
        if first:
            self._padding = {"padding": "max_length", "max_length": self._limit}

    def similarity(self) -> FusionSimilarity:
        """The same network by its contrastive head.

        Raises:
            BadModel: if it has none.
        """
        return FusionSimilarity(self)

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """The photo with the caption, or with each class prompt."""
        image, texts = split_dual(inputs).values()
        return {TOWER: tuple((image[0], text) for text in texts)}

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels and token ids of the rows, with the length of each text and what the stream's tokens are.

        Raises:
            BadData: if an image cannot be read, a text holds a special token, or photos have several sizes.
            BadModel: if a text is longer than the model takes.
        """
        batch = self.words([text for _, text in rows]) | self.pixels([image for image, _ in rows])
        return self.placed(batch | of_the_stream(self.net, self._layout, batch))

    def placed(self, batch: Batch) -> Batch:
        """A batch on the network's device, in the numbers of its image encoder."""
        # a Q-Former's own weights stay in float32 where all others are narrower
        first = next(self.net.get_submodule(self._layout.image).parameters())
        return {
            key: value.to(first.device, first.dtype if value.is_floating_point() else None)
            for key, value in batch.items()
        }

    def words(self, texts: Sequence[str]) -> Batch:
        """Token ids of texts with mask and length; errors as of `collate`."""
        self._refuse_outline()
        texts = list(texts)
        refuse_special_tokens(self.name, self._tokenizer, texts)
        refuse_long_texts(self.name, texts, self._tokenizer(texts)["input_ids"], self._limit)
        read = self._tokenizer(
            texts, return_tensors="pt", return_attention_mask=True, **self._padding
        )
        batch = {key: read[key] for key in ("input_ids", "attention_mask")}
        batch[TEXT] = batch["attention_mask"].sum(1)
        return batch

    def _refuse_outline(self) -> None:
        if self._processor is None:
            raise BadModel(f"{self.name} is an outline without weights; load the model to run it")

    def pixels(self, images: Sequence[Any]) -> Batch:
        """Pixels of photos of one size; errors as of `collate`."""
        self._refuse_outline()
        seen = opened(images)
        made = self._processor(images=seen, return_tensors="pt")
        mask = made.get("pixel_mask")
        if mask is not None and not bool(mask.all()):
            raise BadData(
                f"{self.name}: photos of the sizes {sorted({image.size for image in seen})} in one batch "
                "would be padded, and padding moves scores; batch them with "
                "vlbias.causal.photo_sizes.PhotoSizes"
            )
        keys = (
            ("pixel_values", "pixel_mask") if self._kind.startswith("Vilt") else ("pixel_values",)
        )
        return {key: made[key] for key in keys}

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Log-odds [R] that photo and text match; of ViLT the rank of the text, on that scale."""
        own = (TEXT, STREAM)
        given = {k: v for k, v in batch.items() if k not in own and not k.startswith(SPAN)}
        return SCORES[self._kind](self.net, given)

    def join(self, values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Readout:
        """Log-odds of each text: class_logits [B, n], and score [B] where there is one text an example."""
        table = values[TOWER]
        logits = table[index[TOWER].to(table.device)].double().cpu()
        readout = {"class_logits": logits}
        return {**readout, "score": logits[:, 0]} if logits.shape[1] == 1 else readout


def _longest_text(config: Any) -> int:
    text = getattr(config, "qformer_config", None) or getattr(config, "text_config", config)
    longest = int(text.max_position_embeddings)
    if config.model_type == "bridgetower":
        longest -= (
            text.pad_token_id + 1
        )  # positions are counted from behind the padding token's number
    return longest
