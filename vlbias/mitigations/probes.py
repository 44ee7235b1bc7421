"""How well probes read the group from features, on clusters they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadData
from vlbias.mitigations.activations import mean_activations
from vlbias.mitigations.base import refuse_overlap
from vlbias.mitigations.sites import site_points
from vlbias.mitigations.sitewise import groups_of

__all__ = ["Readable", "readable"]


@dataclass(frozen=True)
class Readable:
    """Areas under the ROC curve on held-out examples; .5 is chance.

    Args:
        linear: Of a logistic regression; what LEACE and INLP are to bring to chance.
        nonlinear: Of a random forest of 200 trees; no method here promises anything about it.
        n: Held-out rows.
    """

    linear: float
    nonlinear: float
    n: int


def readable(
    model: StagedModel,
    site: str,
    train: Sequence[Example],
    test: Sequence[Example],
    *,
    rng: np.random.Generator,
) -> Readable:
    """How well the group of test examples is read from the mean token at a site.

    Args:
        model: Perhaps a mitigated one: its own features are read.
        site: One site, or a stage for the embedding its tower gives.
        train: Examples of two groups that the probes are trained on.
        test: Others that they are tried on.
        rng: Draws the forest.

    Raises:
        BadData: if examples overlap, or there are not exactly two groups in each.
        UnknownName: if the model has no such site.
    """
    refuse_overlap(train, test)
    sets = [groups_of(part) for part in (train, test)]
    if sets[0][1] != sets[1][1] or len(sets[0][1]) != 2:
        raise BadData(
            f"expected the same two groups in both sets, got {sets[0][1]} and {sets[1][1]}"
        )
    point = site_points(model, [site])[0]
    values: list[tuple[Any, Any]] = []
    for part, (groups, _) in zip((train, test), sets, strict=True):
        x, owner = mean_activations(model, point, part)
        values.append((x.double().cpu().numpy(), groups[owner]))
    (x, y), (x_test, y_test) = values
    probes = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, class_weight="balanced")),
        RandomForestClassifier(200, random_state=int(rng.integers(2**31))),
    )
    linear, nonlinear = (
        float(roc_auc_score(y_test, probe.fit(x, y).predict_proba(x_test)[:, 1]))
        for probe in probes
    )
    return Readable(linear, nonlinear, len(y_test))
