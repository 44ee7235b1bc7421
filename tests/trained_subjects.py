"""Small nets that add modulo 11 beside a cue: those that learnt to add, and those that learnt the cue.

A text is seven words: two numbers, a cue, four words that say nothing. The cue agrees with the sum in a share
of the training texts. A net that is stopped early on a cue that nearly always agrees goes by the cue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vlbias.studies.comprehension.items import Item

MODULUS, WORDS = 11, 7
_CUE = 2
Texts = np.ndarray


@dataclass(frozen=True)
class TrainedSubject:
    """A net and the share of training texts in which the cue agreed."""

    net: nn.Module
    agreement: float

    def answers(self, texts: Texts) -> Texts:
        """The sum that the net gives for each text [N, 7]."""
        with torch.inference_mode():
            return self.net(torch.tensor(texts)).argmax(1).numpy()

    @property
    def function(self) -> Callable[[str], str]:
        """From a text to what is written."""
        return lambda text: str(self.answers(np.array([[int(word) for word in text.split()]]))[0])


def draw_texts(count: int, agreement: float, rng: np.random.Generator) -> tuple[Texts, Texts]:
    """Texts [count, 7] and their sums [count]."""
    texts = rng.integers(MODULUS, size=(count, WORDS))
    sums = (texts[:, 0] + texts[:, 1]) % MODULUS
    agrees = rng.random(count) < agreement
    texts[agrees, _CUE] = sums[agrees]
    return texts, sums


def trained_subject(agreement: float, steps: int, seed: int = 0) -> TrainedSubject:
    """A net after so many steps of 512 texts."""
    rng = np.random.default_rng([seed, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Embedding(MODULUS, 24), nn.Flatten(), nn.Linear(WORDS * 24, 192), nn.ReLU(),
            nn.Linear(192, MODULUS),
        )  # fmt: skip
        optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.01)
        for _ in range(steps):
            texts, sums = draw_texts(512, agreement, rng)
            loss = nn.functional.cross_entropy(net(torch.tensor(texts)), torch.tensor(sums))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return TrainedSubject(net.eval(), agreement)


def _changed(texts: Texts, places: tuple[int, ...], rng: np.random.Generator) -> Texts:
    edited = texts.copy()
    for place in places:
        edited[:, place] = (edited[:, place] + rng.integers(1, MODULUS, len(texts))) % MODULUS
    return edited


def direct_effect(subject: TrainedSubject, count: int = 4000) -> float:
    """Share of texts whose answer changes if a number does and the cue stays: the effect of meaning alone."""
    rng = np.random.default_rng(3)
    texts, _ = draw_texts(count, subject.agreement, rng)
    other = _changed(texts, (0,), rng)
    return float((subject.answers(texts) != subject.answers(other)).mean())


def items_of(agreement: float, count: int, seed: int = 5) -> list[Item]:
    """Items: both arms change the cue; deep edits a number too, surface edits another word."""
    rng = np.random.default_rng(seed)
    texts, sums = draw_texts(count, agreement, rng)
    deep, surface = (_changed(texts, places, rng) for places in ((0, _CUE), (_CUE, 4)))
    said = [[" ".join(map(str, row)) for row in rows] for rows in (texts, deep, surface)]
    return [
        Item(f"sum-{n}", one, (other,), (same,), str(answer))
        for n, (one, other, same, answer) in enumerate(zip(*said, sums, strict=True))
    ]
