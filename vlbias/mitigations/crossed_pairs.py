"""Photos with texts of every group: what a model says of them, and what it would say if groups were alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.example import Example, Inputs, channel_key, mix
from vlbias.causal.gradients import followed_gradients
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.staged_model import Encoded, StagedModel
from vlbias.errors import BadModel
from vlbias.mitigations.weight_changes import group_effects

__all__ = ["CrossedPairs", "PairLogits", "crossed_pairs"]

_BATCH = 32


@dataclass(frozen=True, eq=False)
class CrossedPairs:
    """Each photo with a text of each group, so that the group of the one does not tell that of the other.

    Args:
        inputs: Of the pairs.
        photos: The example that the image of each pair is of.
        groups: Channel to the number of the group it shows, [pairs].
    """

    inputs: tuple[Inputs, ...]
    photos: tuple[Example, ...]
    groups: dict[str, NDArray[np.intp]]

    def alike(self, logits: Tensor, channels: Sequence[str]) -> Tensor:
        """Logits [pairs, texts] without what the groups of channels add to them at the same objects."""
        found = logits.double().cpu().numpy()
        shared = found.copy()
        for channel in channels:
            groups = self.groups[channel]
            shared -= group_effects(found, groups, self.photos)[groups]
        return torch.from_numpy(shared)


def crossed_pairs(
    examples: Sequence[Example], groups: NDArray[np.intp], rng: np.random.Generator
) -> CrossedPairs:
    """Every example's image with the text of one example of each group, drawn at random.

    Args:
        examples: Read in their world "null".
        groups: Number of each example's group.
        rng: Draws the texts.
    """
    inputs: list[Inputs] = []
    photos: list[Example] = []
    shown: list[tuple[int, int]] = []
    for example, own in zip(examples, groups.tolist(), strict=True):
        for group in range(int(groups.max()) + 1):
            other = examples[int(rng.choice(np.flatnonzero(groups == group)))]
            inputs.append(mix(example.worlds["null"], other.worlds["null"], {"text"}))
            photos.append(example)
            shown.append((own, group))
    image, text = np.array(shown).T
    return CrossedPairs(tuple(inputs), tuple(photos), {"image": image, "text": text})


class PairLogits:
    """The class logits of pairs; what towers give that are not changed is computed once.

    Args:
        model: The model.
        inputs: Of the pairs.
        changed: Names of the towers that are changed meanwhile.

    Raises:
        BadModel: if the model's readout has no class logits.
    """

    def __init__(
        self, model: StagedModel, inputs: Sequence[Inputs], changed: frozenset[str]
    ) -> None:
        if "class_logits" not in model.gives:
            raise BadModel(
                f"{model.name} gives no class logits, of which gender is to be unlearned; take a dual encoder "
                "or a detector"
            )
        self.model, self.sizes = model, PhotoSizes(model)
        self.rows: dict[str, list[Any]] = {}
        self.index: dict[str, Tensor] = {}
        for tower in model.towers:
            places: dict[Hashable, int] = {}
            own = [model.split(one)[tower.name] for one in inputs]
            numbers = [
                [places.setdefault(channel_key(r), len(places)) for r in some] for some in own
            ]
            rows = {channel_key(row): row for some in own for row in some}
            self.rows[tower.name] = [rows[key] for key in places]
            self.index[tower.name] = torch.tensor(numbers)
        self.known: dict[str, Encoded] = {}
        with torch.no_grad():
            for name, rows_of_tower in self.rows.items():
                if name not in changed:
                    self.known[name] = self._encoded(name, range(len(rows_of_tower)))

    def __call__(self, picked: Sequence[int]) -> Tensor:
        """Logits [picked, texts] with gradients, where they are followed."""
        values, index = dict(self.known), {}
        for name, whole in self.index.items():
            mine = whole[list(picked)]
            if name not in self.known:
                used, mine = mine.unique(return_inverse=True)
                values[name] = self._encoded(name, used.tolist())
            index[name] = mine
        with followed_gradients():
            return self.model.join(values, index)["class_logits"]

    @torch.no_grad()
    def all(self) -> Tensor:
        """Logits of all pairs, [pairs, texts]."""
        count = len(next(iter(self.index.values())))
        starts = range(0, count, _BATCH)
        parts = [self(range(start, min(start + _BATCH, count))).detach() for start in starts]
        return torch.cat(parts)

    def _encoded(self, tower: str, numbers: Sequence[int]) -> Encoded:
        """What a tower gives for some of its rows, in their order."""
        rows = [self.rows[tower][number] for number in numbers]
        batches = list(self.sizes.batches(tower, rows, _BATCH))
        parts = [
            self.model.encode(tower, self.model.collate(tower, [rows[i] for i in batch]))
            for batch in batches
        ]
        order = torch.tensor([i for batch in batches for i in batch]).argsort()
        return tree_map(lambda *same: torch.cat(same)[order.to(same[0].device)], *parts)
