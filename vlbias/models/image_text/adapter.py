"""Generative models of images and texts as staged models: what they answer, in one forward pass.

One tower: image encoder, projectors and text embedding feed the language model; log-probabilities of candidate
answers come out. The network's own forward pass runs untouched, and nothing is generated.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Batch, Readout, Tower
from vlbias.errors import BadModel
from vlbias.models.image_text.drawing import LENGTH, drawn
from vlbias.models.image_text.families import FAMILIES, REFUSED
from vlbias.models.image_text.network import Network
from vlbias.models.image_text.prefix import kept_prefix
from vlbias.models.image_text.question import Question
from vlbias.models.image_text.reading import SPANS, RowReader
from vlbias.models.image_text.tokens import PromptReader, Row
from vlbias.models.language.attention import Past
from vlbias.models.pretrained import refuse_placement

__all__ = ["ImageText", "refuse_family"]

TOWER = "model"
IDENTITY, BEGINS = "identity", "begins"


class ImageText:
    """A generative image-text model as a staged model of one tower, "model".

    The text of an example is a `Cloze`, whose candidates are scored, or one text per class, each asked as a
    question that is answered with yes or no; see `Question`. Candidates of several tokens are
    length-normalised, as those of language models.

    Args:
        net: A network of `AutoModelForImageTextToText` of a family in `families.FAMILIES`.
        processor: Its processor; None for an outline.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.
        question: How classes are asked for.

    Raises:
        BadModel: if the family cannot be taken, the network has no image encoder, or what it answers is not
            what its own forward pass gives.
    """

    gives = frozenset({"candidate_logprob", "candidate_score", "class_logits", "score"})

    def __init__(
        self,
        net: nn.Module,
        processor: Any,
        *,
        name: str,
        revision: str,
        question: Question | None = None,
    ) -> None:
        refuse_placement(name, net)
        self.net, self.name, self.revision = net.eval(), name, revision
        self.question = Question() if question is None else question
        config: Any = net.config
        refuse_family(name, config.model_type)
        self._family = FAMILIES[config.model_type]
        self._drawing = drawn(net, self._family, name)
        self._network = Network(net, self._family, self._drawing)
        self.ports = self._drawing.ports
        # rows of one photo and text may ask for different answers: these are no rows for each other
        aligned = (LENGTH, SPANS + "image", "ask", "decoder_input_ids")
        tower = Tower(TOWER, ("image", "text"), self._drawing.stages, aligned, spans=SPANS)
        self.towers = (tower,)
        self._reader: RowReader | None = None
        self._prompts: PromptReader | None = None
        self._processor = processor
        self._begins_before, self.prefix = False, "not tried: an outline"
        if processor is not None:
            self._read_with(self.question)
            self._keep_prefix()

    def _read_with(self, question: Question) -> None:
        """Read prompts as a question asks."""
        self.question, family, start = question, self._family, self._drawing.start
        self._prompts = PromptReader(
            self._processor, template=question.template, sets_image=family.sets_image,
            parted=start is not None, name=self.name,
        )  # fmt: skip
        self._reader = RowReader(
            self._processor, self._prompts, image_token=_image_token(self.net.config, self.name),
            start=start, answer_type=family.answer_type, limit=self._network.limit, name=self.name,
        )  # fmt: skip

    def _keep_prefix(self) -> None:
        """Keep the tokens before those in which rows differ, where that changes no number."""
        kept = kept_prefix(self)
        self.prefix = kept.why
        self._begins_before = kept.before_image
        if kept.behind_image:
            tower = replace(self.towers[0], causal=IDENTITY, reads="at", begins=BEGINS)
            self.towers = (tower,)

    def asking(self, question: Question) -> ImageText:
        """The same model, asked in another way."""
        other = copy.copy(self)
        other._read_with(question)
        return other

    def scores_only(self) -> ImageText:
        """The same model: its scores are log-probabilities as they are."""
        return self

    def refuse_inputs(self, inputs: Iterable[Inputs]) -> None:
        """Nothing, if the model can read every photo and text; a photo of each size is processed.

        Raises:
            BadData: if a photo cannot be read, or answers share their first token.
            BadModel: if a photo is larger than the model takes, or the prompt loses it or the text.
        """
        longest: dict[Hashable, Row] = {}
        for given in inputs:
            rows = (longest.get(given["image"].size), *self.split(given)[TOWER])
            longest[given["image"].size] = max(
                filter(None, rows), key=lambda row: len(row.cloze.text)
            )
        for row in longest.values():
            self.collate(TOWER, [row])

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Row, ...]]:
        """The row of each candidate of a `Cloze`, or of both answers to the question of every class."""
        text = inputs["text"]
        clozes = (text,) if isinstance(text, Cloze) else self.question.asked(text)
        if self._prompts is None:
            raise BadModel(f"{self.name} is an outline: load it with weights to run it")
        rows: list[Row] = []
        for cloze in clozes:
            rows += self._prompts.rows(inputs["image"], cloze)
        return {TOWER: tuple(rows)}

    def collate(self, tower: str, rows: Sequence[Row]) -> Batch:
        """Pixels and tokens of the rows; see `reading.RowReader`."""
        if self._reader is None:
            raise BadModel(f"{self.name} is an outline: load it with weights to run it")
        batch = self._reader(rows)
        images = batch[SPANS + "image"]
        batch[IDENTITY] = _identity(batch, images)
        batch[BEGINS] = _begins(images, before=self._begins_before)
        batch |= self._network.positions(batch)
        first = next(self.net.parameters())
        return {
            key: value.to(first.device, first.dtype if value.is_floating_point() else None)
            for key, value in batch.items()
        }

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Log-probabilities [R, K] of the candidates that a row scores, 0 for the others."""
        hidden = self._network.hidden(self._network.given(batch), use_cache=False)
        return self._network.scores(hidden, batch["at"], batch["ask"])

    @torch.inference_mode()
    def past(self, tower: str, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Keys and values [R, key heads, T, width] of every layer."""
        cache = DynamicCache()
        self._network.hidden(self._network.given(batch), use_cache=True, cache=cache)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def continued(self, tower: str, batch: Batch, past: Any, rows: Tensor, start: int) -> Tensor:
        """As `encode`, running only the tokens from `start` on; the image encoder only if its tokens are."""
        seen = bool(batch[SPANS + "image"][:, start:].any())
        given = self._network.given(batch, start=start, image=seen)
        hidden = self._network.hidden(given, use_cache=True, cache=Past(past, rows, start))
        return self._network.scores(hidden, batch["at"] - start, batch["ask"])

    def join(self, values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Readout:
        """Log-probabilities [B, K] of candidates, each from its own row; log-odds [B, classes] of questions."""
        table, rows = values[TOWER], index[TOWER].to(values[TOWER].device)
        each = torch.arange(rows.shape[1], device=rows.device) % table.shape[1]
        return _readout(table[rows, each].double().cpu().unflatten(1, (-1, table.shape[1])))


def refuse_family(name: str, kind: str) -> None:
    """Nothing, if a model type can be taken.

    Raises:
        BadModel: says why not.
    """
    if kind in REFUSED:
        raise BadModel(f"{name}: models of type {kind!r} are not taken: {REFUSED[kind]}")
    if kind not in FAMILIES:
        raise BadModel(
            f"{name}: image-text models of type {kind!r} are not known; known are "
            f"{', '.join(sorted(FAMILIES))}. Add a line to FAMILIES in vlbias/models/image_text/families.py"
        )


def _image_token(config: Any, name: str) -> int:
    for part in (config, getattr(config, "vision_config", None)):
        for key in ("image_token_id", "image_token_index", "image_patch_id"):
            if getattr(part, key, None) is not None:
                return int(getattr(part, key))
    raise BadModel(
        f"{name}: config.json names no image token (image_token_id), so that the image's place in a text is "
        "not known; fetch the model again"
    )


def _readout(logprob: Tensor) -> Readout:
    """What log-probabilities [B, questions, K] of candidates say."""
    readout: Readout = {}
    if logprob.shape[2] == 2:
        readout["class_logits"] = logprob[..., 0] - logprob[..., 1]
    if logprob.shape[1] == 1:
        readout |= {"candidate_score": logprob[:, 0], "candidate_logprob": logprob[:, 0]}
        readout |= {"score": readout["class_logits"][:, 0]} if logprob.shape[2] == 2 else {}
    return readout


def _identity(batch: Batch, images: Tensor) -> Tensor:
    """Token ids [R, T] in which the tokens of different photos differ."""
    pixels = next(v for k, v in batch.items() if v.is_floating_point() and v.ndim > 2)
    seen: dict[bytes, int] = {}
    numbers = [seen.setdefault(row.contiguous().numpy().tobytes(), len(seen)) for row in pixels]
    return torch.where(images, -1 - torch.tensor(numbers)[:, None], batch["input_ids"])


def _begins(images: Tensor, *, before: bool) -> Tensor:
    """Tokens [R, T] at which a pass may begin: those behind the image, where allowed also up to its first."""
    place = torch.arange(images.shape[1])
    last = torch.where(images, place, -1).amax(1, keepdim=True)
    first = torch.where(images, place, images.shape[1]).amin(1, keepdim=True)
    allowed = place > last
    return allowed | (place <= first) if before else allowed | (place == 0)
