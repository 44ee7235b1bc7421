"""How good the generative model is: presence of categories, and yes or no, beside chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from reference.measure import LEAST, mean_ap
from reference.photos import Corpus, Photo
from reference.vlm import Branch, logits, pack
from reference.vlm_questions import WORDINGS, Asker
from torch import Tensor, nn

from vlbias.errors import BadModel

__all__ = ["dev_numbers", "presence", "test_numbers"]

SHUFFLES = 20
States = Callable[[int], Tensor]


@torch.inference_mode()
def odds(net: Any, asker: Asker, states: Tensor, asked: Sequence[tuple[Branch, Branch]]) -> Tensor:
    """[questions] log-odds of yes against no.

    Raises:
        BadModel: if an answer has more than one token.
    """
    if any(len(answer.answer) != 1 for pair in asked for answer in pair):
        raise BadModel("yes and no: expected one token each, of this tokenizer and chat template")
    packed = pack(asker.head, len(states), [yes for yes, _ in asked])
    found = logits(net, states, len(asker.head), packed)
    yes, no = (torch.tensor([pair[k].answer[0] for pair in asked])[:, None] for k in (0, 1))
    return (found.gather(1, yes) - found.gather(1, no))[:, 0]


def presence(
    net: Any,
    asker: Asker,
    states: States,
    photos: Sequence[Photo],
    columns: Sequence[int],
    wording: str = "question",
    report: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """[photos, columns] log-odds that each class is there.

    Args:
        net: The model.
        asker: How questions become tokens.
        states: Row of a photo to what the projector reads of it.
        photos: The photos.
        columns: Classes that are asked for.
        wording: Of the question.
        report: Called after every photo.
    """
    rows = []
    for i, photo in enumerate(photos):
        asked = asker.presence(wording, photo.gender)
        rows.append(odds(net, asker, states(i), [asked[k] for k in columns]).numpy())
        report()
    return np.stack(rows)


def dev_numbers(
    net: Any, asker: Asker, states: States, photos: Sequence[Photo], often: np.ndarray, pairs: int
) -> dict[str, float]:
    """Loss and accuracy of the same balanced questions at every call; "score" is the loss, negative.

    Args:
        net: The model.
        asker: How questions become tokens.
        states: Row of a photo to what the projector reads of it.
        photos: Of the dev split.
        often: [classes] share of photos with each.
        pairs: Questions of either answer per photo.
    """
    rng = np.random.default_rng(0)
    score, truth = [], []
    for i, photo in enumerate(photos):
        there = np.unique(photo.classes)
        away = np.setdiff1d(np.arange(len(often)), there)
        many = min(pairs, len(there), int((often[away] > 0).sum()))
        picks = [rng.choice(there, many, replace=False)]
        chance = often[away] / max(often[away].sum(), 1e-12)
        picks.append(rng.choice(away, many, replace=False, p=chance) if many else away[:0])
        asked = asker.presence(WORDINGS[i % len(WORDINGS)], photo.gender)
        score.append(odds(net, asker, states(i), [asked[k] for k in np.concatenate(picks)]))
        truth.append(torch.tensor([1.0] * many + [0.0] * many))
    x, y = torch.cat(score), torch.cat(truth)
    loss = nn.functional.binary_cross_entropy_with_logits(x, y).item()
    accuracy = ((x > 0) == (y > 0)).float().mean().item()
    return {"loss": loss, "accuracy": accuracy, "score": -loss}


def test_numbers(
    net: Any,
    asker: Asker,
    states: States,
    corpus: Corpus,
    often: np.ndarray,
    pairs: int,
    report: Callable[[], None],
) -> dict[str, float]:
    """Presence mAP of the classes but person beside shuffled photos, and balanced yes and no."""
    photos = corpus.split("test")
    present = corpus.presence(photos)
    columns = [
        k
        for k, name in enumerate(corpus.categories)
        if name != "person" and present[:, k].sum() >= LEAST
    ]
    found = presence(net, asker, states, photos, columns, report=report)
    truth, every = present[:, columns], range(len(columns))
    rng = np.random.default_rng(0)
    chance = [mean_ap(found[rng.permutation(len(found))], truth, every) for _ in range(SHUFFLES)]
    balanced = dev_numbers(net, asker, states, photos, often, pairs)
    return {
        "presence mAP": mean_ap(found, truth, every),
        "presence mAP, photos shuffled": float(np.mean(chance)),
        "classes": float(len(columns)),
        "yes or no, accuracy (chance 0.5)": balanced["accuracy"],
    }
