"""What heads attend to, and what their outputs say: of the rule, or of the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["attention_targets", "mean_cosines", "rule_accuracy", "similarity"]

Floats = NDArray[np.floating[Any]]
RIDGE = 10.0
"""Penalty of the decoder, on outputs of standard deviation 1."""


def attention_targets(
    weights: Floats, rules: Sequence[str], shots: int, begin: int
) -> dict[str, Floats]:
    """Mean attention of every head to where its type should look, and to where it should not.

    Args:
        weights: [prompts, layers, queries, heads, keys].
        rules: Of each prompt.
        shots: Examples of a prompt.
        begin: Tokens before the first item.

    Returns:
        Name of a target to its share of attention [layers, heads]: from third items to the item they repeat
        and to the other one; from the last token to third items, to the query's item that is the answer, and
        to the other one.
    """
    first = {"ABA": 0, "ABB": 2}
    rows = np.arange(len(rules))
    right = np.array([first[rule] for rule in rules])
    last = begin + 6 * shots + 3
    query = begin + 6 * shots
    thirds = [begin + 6 * k + 4 for k in range(shots)]
    repeated, other = (
        np.mean(
            [
                weights[rows, :, third, :, third - 4 + slot].mean(0)
                for third in thirds
                for slot in [right if same else 2 - right]
            ],
            axis=0,
        )
        for same in (True, False)
    )
    return {
        "third item to the item it repeats": repeated,
        "third item to the other item": other,
        "last token to third items": weights[:, :, last][..., thirds].sum(-1).mean(0),
        "last token to the answer": weights[rows, :, last, :, query + right].mean(0),
        "last token to the other item of the query": weights[
            rows, :, last, :, query + 2 - right
        ].mean(0),
    }


def similarity(outputs: Floats, labels: Sequence[Any]) -> Floats:
    """Pearson correlation, for every head, of the similarity of its outputs with having the same label.

    Representational similarity analysis over all pairs of prompts: cosine similarity of outputs against 1
    where labels agree and 0 where they do not.

    Args:
        outputs: [prompts, layers, heads, width].
        labels: One a prompt.

    Returns:
        [layers, heads]; NaN where outputs do not vary.
    """
    size = np.linalg.norm(outputs, axis=-1, keepdims=True)
    unit = outputs / np.where(size > 0, size, 1)
    low = np.tril_indices(len(labels), -1)
    code = np.unique(np.array(labels), return_inverse=True)[1]
    same = (code[:, None] == code)[low].astype(float)
    same -= same.mean()
    result = np.empty(outputs.shape[1:3])
    for layer in range(outputs.shape[1]):
        cosines = np.einsum("ihd,jhd->hij", unit[:, layer], unit[:, layer])[:, *low]
        cosines = cosines - cosines.mean(1, keepdims=True)
        scale = np.sqrt((cosines**2).sum(1) * (same**2).sum())
        flat = scale < 1e-9 * len(same)
        result[layer] = np.where(flat, np.nan, cosines @ same / np.where(flat, 1, scale))
    return result


def mean_cosines(outputs: Floats, conditions: Sequence[int]) -> Floats:
    """Mean cosine similarity of every head's outputs within and between conditions.

    Args:
        outputs: [prompts, layers, heads, width].
        conditions: Of each prompt, numbered from 0; each has two prompts or more.

    Returns:
        [layers, heads, conditions, conditions]; a prompt is not compared with itself.
    """
    size = np.linalg.norm(outputs, axis=-1, keepdims=True)
    unit = outputs / np.where(size > 0, size, 1)
    member = np.eye(max(conditions) + 1)[list(conditions)]
    sums = np.einsum("pc,plhd->clhd", member, unit)
    total = np.einsum("clhd,klhd->lhck", sums, sums)
    own = np.einsum("pc,plhd,plhd->lhc", member, unit, unit)
    count = member.sum(0)
    pairs = np.outer(count, count) - np.diag(count)
    corrected = total - own[..., None] * np.eye(len(count))
    found: Floats = corrected / pairs
    return found


def rule_accuracy(fit: tuple[Floats, Sequence[str]], test: tuple[Floats, Sequence[str]]) -> Floats:
    """Share of prompts whose rule a linear decoder of each head's output tells, [layers, heads].

    Ridge regression on outputs centred and scaled by those it is fitted to.

    Args:
        fit: Outputs [prompts, layers, heads, width] and rules to fit.
        test: The same, to count on.
    """
    (known, rules), (held, asked) = fit, test
    target = np.array([1.0 if rule == "ABA" else -1.0 for rule in rules])
    wanted = np.array([rule == "ABA" for rule in asked])
    centre, scale = known.mean(0), known.std(0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    known, held = (known - centre) / scale, (held - centre) / scale
    found = np.empty(known.shape[1:3])
    for layer, head in np.ndindex(*found.shape):
        x = known[:, layer, head].astype(float)
        gram = x.T @ x + RIDGE * np.eye(x.shape[1])
        said = held[:, layer, head] @ np.linalg.solve(gram, x.T @ (target - target.mean()))
        found[layer, head] = np.mean((said + target.mean() > 0) == wanted)
    return found
