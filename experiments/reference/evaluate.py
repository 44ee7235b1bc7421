"""The numbers of the reference model: on dev to stop by, on test once beside chance and a probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from reference.dual import embed_hidden, embed_photos, embed_texts
from reference.losses import contrastive
from reference.measure import LEAST, mean_ap, probe_scores, recall_at, retrieval
from reference.photos import Corpus, Photo, person_word
from reference.prompts import PERSON_WORDS, gender_prompts, gendered_prompts, object_prompts
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from transformers import VisionTextDualEncoderModel

__all__ = ["Row", "dev_numbers", "fit_scale", "pooled_features", "probe_rows", "test_rows"]

RANKS = (1, 5, 10)
PERMUTATIONS = 20
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the final table; chance is the mean over shuffled photos."""

    name: str
    value: float
    chance: float


@torch.inference_mode()
def dev_numbers(
    model: VisionTextDualEncoderModel, tokenizer: Any, corpus: Corpus, hidden: Tensor, frozen: int
) -> dict[str, float]:
    """What early stopping reads: presence, recall at 5, and "score", the mean of the two.

    Args:
        model: The dual encoder.
        tokenizer: Of its text tower.
        corpus: Photos and categories.
        hidden: Whole photos of the dev split after the frozen blocks.
        frozen: How many blocks that is.
    """
    photos = corpus.split("dev")
    seen = embed_hidden(model, hidden, frozen).numpy()
    prompts = embed_texts(model, tokenizer, object_prompts(corpus.categories)).numpy()
    first = embed_texts(model, tokenizer, [photo.captions[0] for photo in photos]).numpy()
    same = np.eye(len(photos), dtype=bool)
    similarity = seen @ first.T
    recall = (recall_at(similarity, same, [5])[0] + recall_at(similarity.T, same, [5])[0]) / 2
    presence = mean_ap(seen @ prompts.T, corpus.presence(photos), _without_person(corpus))
    return {"presence": presence, "recall": recall, "score": (presence + recall) / 2}


@torch.inference_mode()
def fit_scale(
    model: VisionTextDualEncoderModel, tokenizer: Any, corpus: Corpus, hidden: Tensor, frozen: int
) -> float:
    """The logit scale (natural log) under which dev photos and captions are most likely.

    The scale that training ends with is too sharp, since the fit split is known by heart.
    Arguments as for `dev_numbers`; no ranking depends on it.
    """
    captions = [photo.captions[0] for photo in corpus.split("dev")]
    similarity = embed_hidden(model, hidden, frozen) @ embed_texts(model, tokenizer, captions).T
    owner = torch.arange(len(captions))
    found = minimize_scalar(
        lambda scale: contrastive(similarity * math.exp(scale), owner).item(),
        bounds=(0.0, math.log(100.0)),
        method="bounded",
    )
    return float(found.x)


def _without_person(corpus: Corpus) -> list[int]:
    return [k for k, name in enumerate(corpus.categories) if name != "person"]


def _presence(
    name: str, scores: np.ndarray, present: np.ndarray, corpus: Corpus, seed: int
) -> list[Row]:
    rng = np.random.default_rng([seed, 7])
    shuffled = [rng.permutation(len(scores)) for _ in range(PERMUTATIONS)]
    rows = []
    for columns, kind in (
        (range(len(corpus.categories)), "all categories"),
        (_without_person(corpus), "without person"),
    ):
        count = sum(int(present[:, k].sum() >= LEAST) for k in columns)
        value = mean_ap(scores, present, columns)
        chance = np.mean([mean_ap(scores[order], present, columns) for order in shuffled])
        rows.append(Row(f"presence mAP, {name}, {kind} ({count})", value, float(chance)))
    return rows


@torch.inference_mode()
def test_rows(
    model: VisionTextDualEncoderModel,
    tokenizer: Any,
    corpus: Corpus,
    photos: Sequence[Photo],
    pixels: Tensor,
    *,
    seed: int,
) -> list[Row]:
    """Presence, retrieval and perceived gender on some photos, each beside chance.

    Args:
        model: The dual encoder.
        tokenizer: Of its text tower.
        corpus: For the names of the categories.
        photos: The photos to report on.
        pixels: The same, prepared.
        seed: Of the permutations that give chance.
    """
    seen, present = embed_photos(model, pixels).numpy(), corpus.presence(photos)
    names = corpus.categories
    plain = embed_texts(model, tokenizer, object_prompts(names)).numpy()
    rows = _presence('"a photo of a {object}"', seen @ plain.T, present, corpus, seed)
    by_word = {}
    for word in PERSON_WORDS:
        prompts = gendered_prompts(names, [word] * len(names))
        by_word[word] = seen @ embed_texts(model, tokenizer, prompts).numpy().T
        title = f'"a photo of a {word} with a {{object}}"'
        rows += _presence(title, by_word[word], present, corpus, seed)
    own = np.stack([by_word[person_word(p.gender)][i] for i, p in enumerate(photos)])
    rows += _presence("person word of the captions", own, present, corpus, seed)
    rows += _retrieval_rows(model, tokenizer, photos, seen, seed)
    gender = embed_texts(model, tokenizer, gender_prompts()).numpy()
    clear = [i for i, p in enumerate(photos) if p.gender in ("masculine", "feminine")]
    target = [photos[i].gender == "masculine" for i in clear]
    margin = seen[clear] @ (gender[0] - gender[1])
    title = f'perceived gender, "a man" against "a woman", AUC ({len(clear)} photos)'
    rows.append(Row(title, float(roc_auc_score(target, margin)), 0.5))
    return rows


def _retrieval_rows(
    model: VisionTextDualEncoderModel,
    tokenizer: Any,
    photos: Sequence[Photo],
    seen: np.ndarray,
    seed: int,
) -> list[Row]:
    texts = [text for photo in photos for text in photo.captions]
    owner = np.repeat(np.arange(len(photos)), [len(photo.captions) for photo in photos])
    written = embed_texts(model, tokenizer, texts).numpy()
    found = retrieval(seen, written, owner, RANKS)
    rng = np.random.default_rng([seed, 8])
    runs = [
        retrieval(seen[rng.permutation(len(seen))], written, owner, RANKS)
        for _ in range(PERMUTATIONS)
    ]
    return [
        Row(f"{name}, recall@{k}", values[i], float(np.mean([run[name][i] for run in runs])))
        for name, values in found.items()
        for i, k in enumerate(RANKS)
    ]


@torch.inference_mode()
def pooled_features(vision: nn.Module, pixels: Tensor) -> np.ndarray:
    """Class token and mean of patches of a vision tower, [photos, 2 width]."""
    parts = []
    for chunk in pixels.split(32):
        hidden = vision(pixel_values=chunk).last_hidden_state
        parts.append(torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1))
    return torch.cat(parts).numpy()


def probe_rows(
    features: dict[str, np.ndarray], corpus: Corpus, seed: int
) -> tuple[list[Row], dict[str, float]]:
    """Presence on test by a linear probe of frozen features, and what was chosen on dev.

    Args:
        features: "fit", "dev", "test" to [photos, width], as `pooled_features` gives them.
        corpus: Photos and categories.
        seed: Of the permutations that give chance.
    """
    present = {name: corpus.presence(corpus.split(name)) for name in features}
    scores, strength, score = probe_scores(features, present, STRENGTHS)
    rows = _presence("linear probe of frozen DINOv2", scores, present["test"], corpus, seed)
    return rows, {"C": strength, "dev presence, all categories": score}
