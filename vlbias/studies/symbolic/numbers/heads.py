"""Which heads are of which type: scores, the test of all heads at once, the floor, and the order of layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis.inference import cluster_weights, student
from vlbias.analysis.sign_flips import sign_flip_test
from vlbias.studies.symbolic.head_types import HEAD_TYPES, RULES, HeadType

__all__ = ["head_table", "layer_order", "type_table"]

Cells = Sequence[dict[str, Any]]
Floats = NDArray[np.float64]


def head_table(scored: Cells, floor: float, draws: int, seed: int) -> pd.DataFrame:
    """One row a type and head, the highest score of a type first.

    Columns: score, its limits over pairs (Student), the score for each base rule, the score in the other
    kind of pairs, its share of the logit gap, the threshold and adjusted p of the sign-flip test, and whether
    the head is significant, above the floor, and both: found.

    Args:
        scored: Cells of scores.
        floor: Least share of the logit gap.
        draws: Of the test.
        seed: Of the draws.
    """
    frames = []
    for kind in HEAD_TYPES:
        scores, rules, clusters = _rows(scored, kind.pairs, kind.site)
        test = sign_flip_test(
            scores.reshape(len(scores), -1),
            clusters,
            draws=draws,
            rng=np.random.default_rng(seed),
        )
        gap = abs(_gap(scored, kind))
        other = "token" if kind.pairs == "abstract" else "abstract"
        elsewhere = _rows(scored, other, kind.site)[0].mean(axis=0).ravel()
        flat = scores.reshape(len(scores), -1)
        limits = [student(*_per_cluster(column, clusters)) for column in flat.T]
        layers, heads = np.indices(scores.shape[1:]).reshape(2, -1)
        frame = pd.DataFrame(
            {
                "type": kind.name,
                "layer": layers,
                "head": heads,
                "score": test.mean,
                "lo": [one.lo for one in limits],
                "hi": [one.hi for one in limits],
                "share": test.mean / gap,
                **{f"score_{rule}": flat[rules == rule].mean(axis=0) for rule in RULES},
                "score_other_pairs": elsewhere,
                "odds_ratio_minus_1": np.expm1(test.mean),
                "threshold": test.threshold,
                "p": test.p,
                "significant": test.significant,
                "above_floor": test.mean >= floor * gap,
            }
        )
        frame["found"] = frame["significant"] & frame["above_floor"]
        frames.append(frame.sort_values("score", ascending=False, kind="stable"))
    return pd.concat(frames, ignore_index=True)


def type_table(heads: pd.DataFrame, scored: Cells) -> pd.DataFrame:
    """One row a type: pairs, logit gap, heads found, and their layer weighted by score."""
    rows = []
    for kind in HEAD_TYPES:
        part = heads[heads["type"] == kind.name]
        found = part[part["found"]]
        positive = part["score"].clip(lower=0).sum()
        rows.append(
            {
                "type": kind.name,
                "pairs": sum(len(c["pairs"]) for c in scored if c["kind"] == kind.pairs),
                "gap": _gap(scored, kind),
                "threshold": part["threshold"].iloc[0],
                "heads": len(part),
                "significant": int(part["significant"].sum()),
                "found": len(found),
                "layer": _weighted(found["layer"], found["score"]),
                "first_layer": found["layer"].min() if len(found) else np.nan,
                "last_layer": found["layer"].max() if len(found) else np.nan,
                "share_of_positive": found["score"].sum() / positive if positive > 0 else np.nan,
                "of_other_types": _shared(heads, found, kind.name),
            }
        )
    return pd.DataFrame(rows)


def layer_order(heads: pd.DataFrame, scored: Cells, draws: int, seed: int) -> pd.DataFrame:
    """Differences of the score-weighted layers of neighbouring types, with percentile limits over pairs.

    The heads are those found in the same pairs: limits say how exact the difference is, not whether other
    pairs would find others. Types without a found head are left out.
    """
    drawn: dict[str, Floats] = {}
    weights: dict[str, Floats] = {}
    for kind in HEAD_TYPES:
        found = heads[(heads["type"] == kind.name) & heads["found"]]
        if found.empty:
            continue
        scores, _, clusters = _rows(scored, kind.pairs, kind.site)
        code = np.unique(clusters, return_inverse=True)[1]
        picked = scores[:, found["layer"], found["head"]]
        sums = np.stack([np.bincount(code, column) for column in picked.T])
        if kind.pairs not in weights:  # types of the same pairs are resampled together
            rng = np.random.default_rng(seed)
            weights[kind.pairs] = cluster_weights(sums.shape[1], draws, rng)
        mean = np.maximum(weights[kind.pairs] @ sums.T, 0)
        total = np.maximum(mean.sum(axis=1), 1e-12)
        drawn[kind.name] = mean @ found["layer"].to_numpy(float) / total
    rows = []
    for earlier, later in pairwise(kind.name for kind in HEAD_TYPES):
        if earlier in drawn and later in drawn:
            gap = drawn[later] - drawn[earlier]
            lo, hi = np.quantile(gap, [0.025, 0.975])
            layers = [_layer_of(heads, name) for name in (earlier, later)]
            rows.append(
                {
                    "earlier": earlier,
                    "later": later,
                    "estimate": layers[1] - layers[0],
                    "lo": lo,
                    "hi": hi,
                }
            )
    return pd.DataFrame(rows, columns=["earlier", "later", "estimate", "lo", "hi"])


def _rows(scored: Cells, pairs: str, site: str) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    """Scores [rows, layers, heads] of both directions, and of each row the base rule and the pair."""
    cells = [cell for cell in scored if cell["kind"] == pairs]
    scores = np.concatenate(
        [np.moveaxis(np.array(c["scores"][site]), (2, 3), (0, 1)) for c in cells]
    )
    rules = np.array([rule for cell in cells for pair in cell["base_rules"] for rule in pair])
    clusters = np.array([pair for cell in cells for pair in cell["pairs"] for _ in range(2)])
    return scores.reshape(-1, *scores.shape[2:]), rules, clusters


def _gap(scored: Cells, kind: HeadType) -> float:
    return float(np.concatenate([c["gap"] for c in scored if c["kind"] == kind.pairs]).mean())


def _per_cluster(column: Floats, clusters: NDArray[Any]) -> tuple[Floats, NDArray[np.intp]]:
    code = np.unique(clusters, return_inverse=True)[1]
    return np.bincount(code, column).astype(float), np.bincount(code)


def _weighted(layers: pd.Series[Any], scores: pd.Series[Any]) -> float:
    return float(np.average(layers, weights=scores)) if len(layers) else np.nan


def _layer_of(heads: pd.DataFrame, kind: str) -> float:
    found = heads[(heads["type"] == kind) & heads["found"]]
    return _weighted(found["layer"], found["score"])


def _shared(heads: pd.DataFrame, found: pd.DataFrame, kind: str) -> int:
    """How many of the found heads are found for another type too."""
    others = heads[heads["found"] & (heads["type"] != kind)]
    known = set(zip(others["layer"], others["head"], strict=True))
    return sum(place in known for place in zip(found["layer"], found["head"], strict=True))
