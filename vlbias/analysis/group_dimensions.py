"""Which feature dimensions tell the group, and features without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_selection import mutual_info_classif

from vlbias.errors import BadData

__all__ = ["drop_dimensions", "informative_dimensions", "require_disjoint"]


def informative_dimensions(
    features: npt.ArrayLike, groups: npt.ArrayLike, m: int, *, seed: int
) -> npt.NDArray[np.intp]:
    """[m] dimensions with the most mutual information with the group, most informative first.

    Args:
        features: [n, D] of fit images, never of the images evaluated; see `require_disjoint`.
        groups: [n] labels.
        m: How many.
        seed: Of the estimator's tie-breaking noise.
    """
    information = mutual_info_classif(np.asarray(features), np.asarray(groups), random_state=seed)
    return np.asarray(np.argsort(-information, kind="stable")[:m], dtype=np.intp)


def drop_dimensions(features: npt.ArrayLike, dimensions: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[n, D] with these dimensions at 0 and every row of unit length again."""
    kept = np.array(features, dtype=np.float64)
    kept[:, np.asarray(dimensions)] = 0.0
    length = np.linalg.norm(kept, axis=1, keepdims=True)
    return np.asarray(kept / np.where(length > 0, length, 1.0))


def require_disjoint(fit: Sequence[str], evaluated: Sequence[str]) -> None:
    """Nothing, if no image is used both to fit and to evaluate.

    Raises:
        BadData: otherwise; names some of the ids.
    """
    both = sorted(set(fit) & set(evaluated))
    if both:
        raise BadData(
            f"{len(both)} images are used both to fit and to evaluate, for example {both[:3]}; "
            "fit on another split"
        )
