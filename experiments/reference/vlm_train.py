"""What the generative reference model learns: to answer whether objects are there, and to describe."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from reference.detector_bank import FeatureFile, truth_in
from reference.loop import Loop, Schedule
from reference.photos import Photo, key_of
from reference.views import View
from reference.vlm import logits, pack
from reference.vlm_questions import Asker
from torch import Tensor, nn

__all__ = ["Settings", "VlmTrainer", "folded", "with_adapters"]

LORA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Schedule):
    """Everything that determines the trained weights, given the photos and the two towers."""

    epochs: int = 4  # about half an hour each on two cores
    patience: int = 4
    batch: int = 8
    average: float = 0.99
    warm_up: float = 0.3
    pixels: int = 168
    views: int = 4  # of each photo: whole, mirrored, crops; taken in turn
    pairs: int = 3  # questions of either answer per photo
    rank: int = 16  # of the low-rank changes of the language model (Hu et al. 2022)
    rate: float = 1e-3  # of the projector
    rate_language: float = 2e-4
    decay: float = 0.0
    captions: float = 0.3  # weight of a caption's tokens, beside that of answers

    @property
    def features_key(self) -> str:
        """A short name that differs whenever the features of the views do."""
        read = ("patches of the last block", self.pixels, self.views, self.seed)
        return hashlib.sha256(repr(read).encode()).hexdigest()[:12]


def with_adapters(net: Any, settings: Settings) -> dict[str, nn.Parameter]:
    """What is trained: the projector, and low-rank changes of the language model's linear maps."""
    config = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules=list(LORA))
    torch.manual_seed(settings.seed)
    with warnings.catch_warnings():
        # peft asks transformers in a way that its next release forgets
        warnings.simplefilter("ignore", FutureWarning)
        net.model.language_model = get_peft_model(net.model.language_model, config)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_("lora_" in name or "multi_modal_projector" in name)
    return {name: p for name, p in net.named_parameters() if p.requires_grad}


def folded(net: Any) -> Any:
    """The net with its low-rank changes added to the weights: an ordinary LLaVA."""
    net.model.language_model = net.model.language_model.merge_and_unload()
    return net


class VlmTrainer(Loop):
    """Trains the projector and low-rank changes of the language model on the fit split.

    Args:
        net: The model; changed in place.
        trainable: See `with_adapters`.
        asker: How questions become tokens.
        photos: Of the fit split.
        plan: Their views.
        features: Of these views.
        often: [classes] share of photos with each.
        settings: See `Settings`.
    """

    def __init__(
        self,
        net: Any,
        trainable: Mapping[str, nn.Parameter],
        asker: Asker,
        photos: Sequence[Photo],
        plan: Sequence[Sequence[View]],
        features: FeatureFile,
        *,
        often: np.ndarray,
        settings: Settings,
    ) -> None:
        self.net, self.asker, self.settings = net, asker, settings
        self.photos, self.plan, self.features, self.often = photos, plan, features, often
        groups = [
            {
                "params": [p for n, p in trainable.items() if ("lora_" in n) == is_language],
                "rate": settings.rate_language if is_language else settings.rate,
                "weight_decay": settings.decay,
            }
            for is_language in (False, True)
        ]
        super().__init__(len(photos), key_of(photos), trainable, groups, settings)

    def losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over photos of the loss of answers and of captions."""
        turn = (rows + self.progress.epoch) % self.settings.views
        parts = [self._of(int(i), int(v), rng) for i, v in zip(rows, turn, strict=True)]
        answers, captions = (torch.stack(each).mean() for each in zip(*parts, strict=True))
        total = answers + self.settings.captions * captions
        return total, {"total": total, "answers": answers, "captions": captions}

    def _of(self, i: int, view: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        photo = self.photos[i]
        shown = truth_in(photo, self.plan[i][view]).classes.numpy()
        branches = self.asker.drawn(photo, shown, self.settings.pairs, self.often, rng)
        states = self.features.rows(np.array([i]), np.array([view]))[0, 0].float()
        packed = pack(self.asker.head, len(states), branches)
        found = logits(self.net, states, len(self.asker.head), packed)
        each = nn.functional.cross_entropy(found, packed.target, reduction="none")
        is_caption = packed.branch == len(branches) - 1
        zero = each.new_zeros(())
        answers = each[~is_caption]
        return answers.mean() if len(answers) else zero, each[is_caption].mean()
