"""Attention, similarity and decoding of the heads that a page shows: those found, and the top one of a type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlbias.studies.symbolic.head_types import HEAD_TYPES, HeadType
from vlbias.studies.symbolic.prompts import Format

__all__ = [
    "attention_table",
    "cosine_table",
    "decoding_table",
    "pattern_table",
    "similarity_table",
]

Probes = Sequence[dict[str, Any]]
Tops = Mapping[str, Mapping[str, int]]
CONDITIONS = ("ABA, query as it is", "ABA, swapped", "ABB, query as it is", "ABB, swapped")


def attention_table(probes: Probes, heads: pd.DataFrame) -> pd.DataFrame:
    """Mean attention of shown heads to each target of their type's tokens."""
    rows = []
    for probe, kind, layer, head in _shown(probes, heads):
        start = "third" if kind.site == "third" else "last"
        for target, share in probe["attention"].items():
            if target.startswith(start):
                value = {"target": target, "attention": share[layer][head]}
                rows.append({"type": kind.name, "layer": layer, "head": head, **value})
    return pd.DataFrame(rows, columns=["type", "layer", "head", "target", "attention"])


def similarity_table(probes: Probes, heads: pd.DataFrame) -> pd.DataFrame:
    """Correlation of the similarity of outputs with equal rules and with equal tokens."""
    rows = []
    for probe, kind, layer, head in _shown(probes, heads):
        found = {name: x[layer][head] for name, x in probe["similarity"][kind.site].items()}
        rows.append({"type": kind.name, "layer": layer, "head": head, **found})
    return pd.DataFrame(rows, columns=["type", "layer", "head", "abstract", "token"])


def decoding_table(probes: Probes, heads: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of a linear decoder of the rule on words that it was not fitted to."""
    rows = []
    for probe, kind, layer, head in _shown(probes, heads):
        for shots, accuracy in probe["decoding"][kind.site].items():
            value = {"shots": int(shots), "accuracy": accuracy[layer][head]}
            value["prompts"] = probe["prompts"]
            rows.append({"type": kind.name, "layer": layer, "head": head, **value})
    return pd.DataFrame(rows, columns=["type", "layer", "head", "shots", "accuracy", "prompts"])


def pattern_table(probes: Probes, tops: Tops, shots: int) -> pd.DataFrame:
    """What the top head of each type attends to, token by token, in prompts of rule ABA."""
    labels, rows = Format(shots).labels(), []
    for probe in probes:
        for kind in HEAD_TYPES:
            layer, head = tops[kind.name]["layer"], tops[kind.name]["head"]
            shares = probe["patterns"][kind.site][layer][head]
            rows += [
                {"type": kind.name, "layer": layer, "head": head, "place": place, "token": label,
                 "attention": share}
                for place, (label, share) in enumerate(zip(labels, shares, strict=True))
            ]  # fmt: skip
    return pd.DataFrame(rows, columns=["type", "layer", "head", "place", "token", "attention"])


def cosine_table(probes: Probes, tops: Tops) -> pd.DataFrame:
    """Mean cosine similarity of the top head's outputs between rules and queries."""
    rows = []
    for probe in probes:
        for kind in HEAD_TYPES:
            layer, head = tops[kind.name]["layer"], tops[kind.name]["head"]
            matrix = np.array(probe["cosines"][kind.site][layer][head])
            rows += [
                {"type": kind.name, "layer": layer, "head": head, "one": CONDITIONS[i],
                 "other": CONDITIONS[j], "cosine": matrix[i, j]}
                for i, j in np.ndindex(*matrix.shape)
            ]  # fmt: skip
    return pd.DataFrame(rows, columns=["type", "layer", "head", "one", "other", "cosine"])


def _shown(
    probes: Probes, heads: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], HeadType, int, int]]:
    """Of each type the heads found, and the one of highest score in any case."""
    for probe in probes:
        for kind in HEAD_TYPES:
            part = heads[heads["type"] == kind.name]
            shown = part[part["found"] | (part.index == part.index[0])]
            for layer, head in zip(shown["layer"], shown["head"], strict=True):
                yield probe, kind, int(layer), int(head)
