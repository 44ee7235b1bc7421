"""Fairness of rankings and retrieval, and amplification of bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.inference import linearised
from vlbias.analysis.ties import TopGroups, expected_share_logs
from vlbias.errors import BadStudy, BadTable

__all__ = [
    "bias_amplification",
    "bias_at_k",
    "correlation_signs",
    "max_skew",
    "ndkl",
    "parity_gaps",
    "ranking_table",
]

Labels = npt.NDArray[np.str_]


def _checked(
    scores: npt.ArrayLike, groups: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], Labels]:
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(groups, dtype=str)
    if values.shape != labels.shape or values.ndim != 1:
        raise BadTable(
            f"scores {values.shape}, groups {labels.shape}: expected lists of one length"
        )
    if np.isnan(values).any():
        raise BadTable("scores contain NaN; leave these images out of the ranking")
    return values, labels


def _desired(labels: Labels, desired: Mapping[str, float] | None) -> dict[str, float]:
    if desired is None:
        names, counts = np.unique(labels, return_counts=True)
        return {str(n): float(c) / len(labels) for n, c in zip(names, counts, strict=True)}
    if abs(sum(desired.values()) - 1) > 1e-9 or min(desired.values()) <= 0:
        raise BadStudy("desired", dict(desired), "positive shares that add up to 1")
    return dict(desired)


def max_skew(
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    k: int,
    desired: Mapping[str, float] | None = None,
) -> float:
    """Largest log ratio of a group's share among the top k to its desired share.

    MaxSkew@k of Geyik, Ambler & Kenthapadi (KDD 2019). Over the whole set it is 0 for any ranking,
    random or perfectly sorted by group, so that k must be smaller. Of equal scores at the edge of the
    top k it is the expectation over their order.

    Args:
        scores: [n] of one query.
        groups: [n].
        k: How many are shown.
        desired: Share per group; those of the pool if not given.

    Raises:
        BadStudy: if k is not at least 1 and less than n.
    """
    values, labels = _checked(scores, groups)
    if not 1 <= k < len(labels):
        raise BadStudy("k", k, f"1 to {len(labels) - 1}: the whole pool has no skew by definition")
    shares = _desired(labels, desired)
    return TopGroups.of(values, labels, k).largest_log_ratio(shares)


def ndkl(
    scores: npt.ArrayLike, groups: npt.ArrayLike, desired: Mapping[str, float] | None = None
) -> float:
    """Divergence of the shares in every top i from the desired ones, discounted by log2(i + 1).

    Normalised discounted cumulative Kullback-Leibler divergence of Geyik et al. (KDD 2019); of equal
    scores the expectation over their order.
    """
    values, labels = _checked(scores, groups)
    shares = _desired(labels, desired)
    place = np.arange(1, len(labels) + 1)
    total = np.zeros(len(labels))
    for name, share in shares.items():
        total += expected_share_logs(values, labels, name, share)
    discount = 1 / np.log2(place + 1)
    return float((discount * total).sum() / discount.sum())


def bias_at_k(scores: npt.ArrayLike, groups: npt.ArrayLike, k: int, pair: tuple[str, str]) -> float:
    """(first - second) / (first + second) among the top k; 0 where neither is there.

    Bias@K of Wang, Liu & Wang (EMNLP 2021) for one query; average over queries with
    `ranking_table`. Images of other groups count for k but for neither side. Of equal scores at the
    edge of the top k it is the expectation over their order.
    """
    values, labels = _checked(scores, groups)
    if not 1 <= k <= len(labels):
        raise BadStudy("k", k, f"1 to {len(labels)}")
    return TopGroups.of(values, labels, k).contrast(pair)


def ranking_table(
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    queries: Sequence[str],
    k: int,
    pair: tuple[str, str],
    desired: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """One row per query and a last row "mean" over all of them.

    Args:
        scores: [Q, n] of every query over the same pool.
        groups: [n].
        queries: Q names.
        k: How many are shown.
        pair: The two groups of Bias@k.
        desired: Share per group.
    """
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if len(rows) != len(queries):
        raise BadTable(f"{len(rows)} rows of scores for {len(queries)} queries")
    table = pd.DataFrame(
        [
            (
                max_skew(r, groups, k, desired),
                ndkl(r, groups, desired),
                bias_at_k(r, groups, k, pair),
            )
            for r in rows
        ],
        columns=["max_skew", "ndkl", "bias_at_k"],
    )
    table.insert(0, "query", list(queries))
    last = table.drop(columns="query").mean().to_dict() | {"query": "mean"}
    return pd.concat([table, pd.DataFrame([last])], ignore_index=True)


def parity_gaps(
    predicted: npt.ArrayLike, true: npt.ArrayLike, groups: npt.ArrayLike
) -> dict[str, float]:
    """Largest minus smallest group rate of positive predictions, and of true positives.

    Demographic parity counts positive predictions among all images; equal opportunity counts them
    among images that truly are positive. The two are different numbers and must not be swapped.
    """
    hat, truth = np.asarray(predicted, dtype=bool), np.asarray(true, dtype=bool)
    labels = np.asarray(groups, dtype=str)
    names = np.unique(labels)
    parity = [float(hat[labels == g].mean()) for g in names]
    chance = [
        float(hat[(labels == g) & truth].mean()) if ((labels == g) & truth).any() else np.nan
        for g in names
    ]
    return {
        "demographic_parity": max(parity) - min(parity),
        "equal_opportunity": float(np.max(chance) - np.min(chance)),
    }


def bias_amplification(
    attribute: npt.ArrayLike,
    task: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    direction: Literal["attribute to task", "task to attribute"] = "attribute to task",
    signs: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, tuple[float, float], pd.DataFrame]:
    """Directional bias amplification, its interval over clusters, and the table it is averaged from.

    BiasAmp of Wang & Russakovsky (ICML 2021), equation 1: the mean over attributes a and tasks t of
    delta where a and t are positively correlated in the training data, else of -delta; delta is the
    change from true to predicted P(task | attribute), or P(attribute | task). Cells without images
    are in the table as "insufficient" and out of the mean; nothing disappears silently.

    Correlations of the same images would count their noise: a task that is no more frequent in one
    group seems amplified or reduced by chance, and limits around that cover in 7 of 10 data sets.
    Without `signs` a random half of the clusters gives them and is measured no more. Limits are
    Student's, of the linearised mean of ratios over clusters.

    Args:
        attribute: [n, A] true attributes, one-hot.
        task: [n, T] true tasks.
        predicted: [n, T] predicted tasks, or [n, A] predicted attributes for "task to attribute".
        direction: Which is predicted from which.
        signs: [A, T] sign of the correlation in the training data; see `correlation_signs`.
        cluster: [n] what belongs together, such as copies; each image by itself if not given.
        rng: Seeded generator of the halves.
        level: Of the interval.

    Raises:
        BadTable: if shapes disagree or no cell has images.
    """
    a, t = np.asarray(attribute, dtype=np.float64), np.asarray(task, dtype=np.float64)
    hat = np.asarray(predicted, dtype=np.float64)
    is_forward = direction == "attribute to task"
    if len(a) != len(t) or hat.shape != (t if is_forward else a).shape:
        raise BadTable(
            f"attribute {a.shape}, task {t.shape}, predicted {hat.shape}: one row per image, and "
            f"predicted as {'task' if is_forward else 'attribute'}"
        )
    rows = np.arange(len(a))
    together = rows if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    if len(together) != len(a):
        raise BadTable(f"{len(together)} clusters for {len(a)} images")
    if signs is None:
        half = rng.permutation(int(together.max()) + 1)
        rows, held = (np.flatnonzero(np.isin(together, half[i::2])) for i in (0, 1))
        signs = correlation_signs(a[held], t[held])
    own = np.sign(np.asarray(signs, dtype=np.float64))
    if own.shape != (a.shape[1], t.shape[1]):
        raise BadTable(f"signs {own.shape}: expected one row per attribute, one column per task")
    sign = own if is_forward else own.T
    given, true = (a[rows], t[rows]) if is_forward else (t[rows], a[rows])
    count = given.sum(axis=0)
    used = count > 0
    if not used.any():
        raise BadTable("no image has any of the conditions")
    change = hat[rows] - true
    gain = given[:, used] * (change @ sign[used].T)
    share = gain.sum(axis=0) / count[used]
    estimate = float(share.mean() / true.shape[1])
    part = ((gain - share * given[:, used]) / count[used]).mean(axis=1) / true.shape[1]
    names, place = np.unique(together[rows], return_inverse=True)
    parts = np.bincount(place, part, len(names)).astype(np.float64)
    lo, hi = linearised(estimate, parts, level)
    delta = (given.T @ change) / np.maximum(count, 1)[:, None]
    table = pd.DataFrame(
        [
            (i, j, int(count[i]), sign[i, j], delta[i, j] if used[i] else np.nan,
             "ok" if used[i] else "insufficient")
            for i in range(given.shape[1]) for j in range(true.shape[1])
        ],
        columns=["given", "predicted", "n", "sign", "delta", "status"],
    )  # fmt: skip
    return estimate, (lo, hi), table


def correlation_signs(attribute: npt.ArrayLike, task: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[A, T] 1 where attribute and task occur together more often than by chance, else -1.

    Args:
        attribute: [n, A] one-hot.
        task: [n, T].
    """
    a, t = np.asarray(attribute, dtype=np.float64), np.asarray(task, dtype=np.float64)
    together = (a.T @ t) / len(a)
    return np.where(together > a.mean(axis=0)[:, None] * t.mean(axis=0), 1.0, -1.0)
