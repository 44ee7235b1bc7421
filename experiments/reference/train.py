"""What the reference dual encoder learns: captions, presence of objects, perceived gender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from reference.bank import Bank
from reference.dual import embed_hidden, embed_texts, thaw
from reference.loop import Loop, Schedule
from reference.losses import agrees, contrastive, presence_loss
from reference.photos import Corpus, Photo, key_of
from reference.prompts import PERSON_WORDS, gender_prompts, gendered_prompts, object_prompts
from torch import Tensor, nn
from transformers import VisionTextDualEncoderModel

__all__ = ["Settings", "Trainer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Schedule):
    """Everything that determines the trained weights, given the photos and the two towers."""

    epochs: int = 8
    patience: int = 3
    batch: int = 48  # photos; each gives one scene view and one object view
    average: float = 0.98
    warm_up: float = 0.5
    pixels: int = 112
    views: int = 4  # of either kind, prepared once and taken in turn
    captions: int = 2  # per photo and step
    vision_blocks: int = 4
    text_blocks: int = 2
    rate_blocks: float = 1e-4
    rate_heads: float = 3e-4
    decay: float = 0.05
    weight_presence: float = 0.3
    weight_gender: float = 0.2


class Trainer(Loop):
    """Trains the upper parts of a dual encoder on the fit split.

    Args:
        model: A dual encoder whose projections have their start; changed in place.
        tokenizer: Of the text tower.
        corpus: Photos and categories.
        bank: Views of the photos of the fit split, in its order.
        settings: See `Settings`.
    """

    def __init__(
        self,
        model: VisionTextDualEncoderModel,
        tokenizer: Any,
        corpus: Corpus,
        bank: Bank,
        settings: Settings,
    ) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        photos, self.bank = corpus.split("fit"), bank
        self.frozen = len(model.vision_model.encoder.layer) - settings.vision_blocks
        self.categories = corpus.categories
        frequency = corpus.presence(photos).sum(0)
        prior = torch.from_numpy((frequency + 1) / (len(photos) + 2)).float()
        names = set(thaw(model, settings.vision_blocks, settings.text_blocks))
        trainable = {n: p for n, p in model.named_parameters() if n in names}
        # scales and offsets of the two losses; they do not change any ranking and are not saved
        self.calibration = nn.ParameterDict(
            {
                "presence_offset": nn.Parameter(torch.logit(prior)),
                "presence_scale": nn.Parameter(torch.tensor(np.log(10.0), dtype=torch.float32)),
                "contrast_scale": nn.Parameter(torch.tensor(np.log(20.0), dtype=torch.float32)),
            }
        )
        self.photos = photos
        groups = self._groups(trainable)
        super().__init__(len(photos), key_of(photos), trainable, groups, settings, self.calibration)

    def _groups(self, trainable: dict[str, nn.Parameter]) -> list[dict[str, Any]]:
        s = self.settings
        blocks = {n: p for n, p in trainable.items() if ".layer." in n}
        heads = {n: p for n, p in trainable.items() if n not in blocks}
        groups = []
        for parameters, rate in ((blocks, s.rate_blocks), (heads, s.rate_heads)):
            for is_matrix in (True, False):
                chosen = [p for p in parameters.values() if (p.ndim > 1) == is_matrix]
                decay = s.decay if is_matrix else 0.0
                groups.append({"params": chosen, "rate": rate, "weight_decay": decay})
        groups.append(
            {"params": list(self.calibration.values()), "rate": 3e-3, "weight_decay": 0.0}
        )
        return groups

    def losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Contrast of captions, presence by plain and gendered prompts, and gender."""
        photos = [self.photos[i] for i in rows]
        # every photo takes its views in turn, each photo from another one on
        turn = torch.from_numpy((rows + self.progress.epoch) % self.settings.views)
        at = torch.from_numpy(np.concatenate([rows, rows]))
        view = torch.cat([turn, turn + self.settings.views])
        present, known = self.bank.present[at, view], self.bank.known[at, view]
        seen = embed_hidden(self.model, self.bank.hidden[at, view], self.frozen)
        texts, owner = self._captions(photos, rng)
        words = rng.choice(PERSON_WORDS, len(self.categories)).tolist()
        prompts = object_prompts(self.categories) + gendered_prompts(self.categories, words)
        sentences = embed_texts(self.model, self.tokenizer, prompts + gender_prompts())
        written = embed_texts(self.model, self.tokenizer, texts)
        contrast = contrastive(
            seen[: len(photos)] @ written.T * self.calibration["contrast_scale"].exp(), owner
        )
        scale = self.calibration["presence_scale"].exp()
        offset = self.calibration["presence_offset"].repeat(2)
        logits = seen @ sentences[:-2].T * scale + offset
        genders = [photo.gender for photo in photos] * 2
        # an object beside a person of the other gender: right about the object, wrong about the
        # person; such pairs are left out, so that presence does not mean gender agreement
        fair = torch.from_numpy(agrees(genders, words)) | ~present
        presence = presence_loss(
            logits,
            present.repeat(1, 2).float(),
            torch.cat([known, known & fair], 1),
        )
        gender = self._gender(seen[: len(photos)], sentences[-2:] * scale, photos)
        parts = {"contrast": contrast, "presence": presence / 2, "gender": gender}
        s = self.settings
        total = contrast + s.weight_presence * parts["presence"] + s.weight_gender * gender
        return total, parts

    def _captions(
        self, photos: Sequence[Photo], rng: np.random.Generator
    ) -> tuple[list[str], Tensor]:
        texts, owner = [], []
        for row, photo in enumerate(photos):
            count = min(self.settings.captions, len(photo.captions))
            for i in rng.choice(len(photo.captions), count, replace=False):
                texts.append(photo.captions[i])
                owner.append(row)
        return texts, torch.tensor(owner)

    def _gender(self, seen: Tensor, sentences: Tensor, photos: Sequence[Photo]) -> Tensor:
        clear = [i for i, p in enumerate(photos) if p.gender in ("masculine", "feminine")]
        if not clear:
            return seen.sum() * 0.0
        target = torch.tensor([float(photos[i].gender == "masculine") for i in clear])
        margin = seen[clear] @ (sentences[0] - sentences[1])
        return nn.functional.binary_cross_entropy_with_logits(margin, target)
