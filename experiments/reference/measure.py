"""How good a dual encoder is: presence of categories, retrieval, chance, and a linear probe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

__all__ = ["mean_ap", "probe_scores", "recall_at", "retrieval"]

LEAST = 3  # positives a category needs to have an average precision


def mean_ap(scores: np.ndarray, present: np.ndarray, columns: Sequence[int]) -> float:
    """Mean over categories of the average precision with which photos are ranked.

    Args:
        scores: [photos, categories].
        present: bool, same shape.
        columns: The categories that count; those with fewer than 3 positives are left out.
    """
    used = [k for k in columns if present[:, k].sum() >= LEAST]
    return float(np.mean([average_precision_score(present[:, k], scores[:, k]) for k in used]))


def recall_at(similarity: np.ndarray, correct: np.ndarray, ranks: Sequence[int]) -> list[float]:
    """Share of rows that have a correct column among the k most similar, for each k.

    Ties count against: a column is ahead if it is at least as similar.

    Args:
        similarity: [queries, candidates].
        correct: bool, same shape, at least one per row.
        ranks: The values of k.
    """
    best = np.where(correct, similarity, -np.inf).max(1, keepdims=True)
    ahead = ((similarity >= best) & ~correct).sum(1)
    return [float((ahead < k).mean()) for k in ranks]


def retrieval(
    photos: np.ndarray, captions: np.ndarray, owner: np.ndarray, ranks: Sequence[int] = (1, 5, 10)
) -> dict[str, list[float]]:
    """Recall at each rank in both directions, with the first caption of each photo and with all.

    Args:
        photos: Unit vectors [photos, width].
        captions: Unit vectors [captions, width].
        owner: Row of the photo of each caption, [captions]; captions of a photo are adjacent.
        ranks: The values of k.
    """
    first = np.unique(owner, return_index=True)[1]
    one, every = photos @ captions[first].T, photos @ captions.T
    same = np.eye(len(photos), dtype=bool)
    mine = owner[None, :] == np.arange(len(photos))[:, None]
    return {
        "image to text, one caption": recall_at(one, same, ranks),
        "text to image, one caption": recall_at(one.T, same, ranks),
        "image to text, any of all": recall_at(every, mine, ranks),
        "text to image, every caption": recall_at(every.T, mine.T, ranks),
    }


def probe_scores(
    features: dict[str, np.ndarray], present: dict[str, np.ndarray], strengths: Sequence[float]
) -> tuple[np.ndarray, float, float]:
    """Scores on test of one logistic regression per category, C chosen on dev.

    Args:
        features: "fit", "dev", "test" to [photos, width].
        present: The same keys to bool [photos, categories].
        strengths: The values of C (inverse L2 strength) to choose from, one for all categories.

    Returns:
        Scores on test [photos, categories], the chosen C, and its mean average precision on dev.
        A category without a positive in the fit split scores 0 everywhere.
    """
    categories = range(present["fit"].shape[1])
    scaler = StandardScaler().fit(features["fit"])
    features = {name: scaler.transform(table) for name, table in features.items()}
    found: list[tuple[float, float, dict[str, np.ndarray]]] = []
    for strength in strengths:
        scores = {name: np.zeros(present[name].shape) for name in ("dev", "test")}
        for k in categories:
            if len(set(present["fit"][:, k])) < 2:
                continue
            model = LogisticRegression(C=strength, max_iter=500)
            model.fit(features["fit"], present["fit"][:, k])
            for name, table in scores.items():
                table[:, k] = model.decision_function(features[name])
        found.append((mean_ap(scores["dev"], present["dev"], categories), strength, scores))
    score, strength, scores = max(found, key=lambda each: each[0])
    return scores["test"], strength, score
