"""Erasing what a linear probe can read of gender from features: LEACE and INLP."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy, MissingExtra
from vlbias.mitigations.activations import activations
from vlbias.mitigations.sites import SitePoint
from vlbias.mitigations.sitewise import HeldOut, Parts, Sitewise, groups_of

__all__ = ["Inlp", "Leace"]


class _Eraser(Sitewise):
    """Edits x to x + s (e(x) - x) with an eraser e(x) = x - L R (x - mean)."""

    parts: ClassVar[tuple[str, ...]] = ("left", "right", "mean")

    def editing(
        self, point: SitePoint, learned: Parts, strength: float
    ) -> Callable[[Tensor], Tensor]:
        """The eraser of a site."""

        def edit(x: Tensor) -> Tensor:
            read = (x - learned["mean"].to(x)) @ learned["right"].to(x).mT
            return x - strength * (read @ learned["left"].to(x).mT)

        return edit


def _concept_erasure() -> Any:
    try:
        with warnings.catch_warnings():
            # the library compiles a function of its own with torch.jit on import
            warnings.simplefilter("ignore", FutureWarning)
            return import_module("concept_erasure")
    except ImportError as error:
        raise MissingExtra("erasure", "concept-erasure") from error


@dataclass(frozen=True)
class Leace(_Eraser):
    """Least-squares concept erasure (Belrose et al. 2023, Theorem 4.3): no linear probe beats chance.

    x becomes x - W⁺ U Uᵀ W (x - mean), where W whitens x and U spans W Cov(x, group). Sites are
    fitted in order of depth, each on values that the earlier ones have already changed. Guaranteed is
    linear erasure of what was fitted on; a nonlinear probe may still read the group, and objects that
    go with it are erased too where the fit split is not balanced.

    Args:
        sites: Where; a stage alone is the embedding that its tower gives. At sites with tokens every
            token is a sample, and every token is changed.
        svd_tol: Singular values of W Cov(x, group) up to this are left. The library's own default of
            .01 leaves what single tokens hardly tell and a probe of their mean reads.
        shrinkage: Whether the covariance of x is shrunk (needed where x is wide and examples are few).
        control: Erase a random direction of the same rank in whitened space instead.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "leace"

    sites: tuple[str, ...] = ("image_encoder",)
    svd_tol: float = 1e-6
    shrinkage: bool = True
    control: bool = False

    def __post_init__(self) -> None:
        if not self.svd_tol > 0:
            raise BadStudy("leace.svd_tol", self.svd_tol, "a positive number")

    def prepare(self, examples: Sequence[Example], rng: np.random.Generator) -> Tensor:
        """Which group each example is of, [n, groups]."""
        groups, names = groups_of(examples)
        return torch.tensor(np.eye(len(names))[groups])

    def learn_site(
        self,
        model: StagedModel,
        point: SitePoint,
        examples: Sequence[Example],
        prepared: Tensor,
        rng: np.random.Generator,
    ) -> tuple[Parts, dict[str, Any]]:
        """The eraser of a site.

        Raises:
            MissingExtra: if concept-erasure is not installed.
        """
        eraser = self._eraser(model, point, examples, prepared, rng)
        found = {"left": eraser.proj_left, "right": eraser.proj_right, "mean": eraser.bias}
        rank = int((torch.linalg.vector_norm(eraser.proj_left, dim=0) > 0).sum())
        return {part: value.float().contiguous() for part, value in found.items()}, {"rank": rank}

    def _eraser(
        self,
        model: StagedModel,
        point: SitePoint,
        examples: Sequence[Example],
        groups: Tensor,
        rng: np.random.Generator,
    ) -> Any:
        library, fitter = _concept_erasure(), None
        for values in activations(model, point, examples):
            x, owner = values.tokens
            labels = groups[owner]
            if self.control:
                # drawn anew for every sample: examples that share their texts by group would still
                # tell the groups apart by labels drawn for each example
                labels = torch.tensor(rng.standard_normal((len(x), groups.shape[1] - 1)))
            if fitter is None:
                # the trace constraint of the library mixes in a projection that is not guarded
                fitter = library.LeaceFitter(
                    x.shape[1],
                    labels.shape[1],
                    dtype=torch.float64,
                    shrinkage=self.shrinkage,
                    svd_tol=self.svd_tol,
                    constrain_cov_trace=False,
                )
            fitter.update(x.double().cpu(), labels)
        assert fitter is not None
        return fitter.eraser


@dataclass(frozen=True)
class Inlp(HeldOut, _Eraser):
    """Iterative nullspace projection (Ravfogel et al. 2020): one linear probe after another is projected out.

    Ends when the accuracy on held-out clusters, groups weighted equally, is at most that of a guess
    plus `margin`, or after `most` directions. Probes are fitted to the mean of a row's tokens, and
    every token is projected, around the mean. The baseline of LEACE: it removes many directions.

    Args:
        sites: As in `Leace`; refitted along the depth.
        most: At most so many directions a site.
        margin: Balanced accuracy above a guess that is accepted.
        share: Of the clusters held out to tell when to stop.
        control: Project out as many random directions instead.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "inlp"

    sites: tuple[str, ...] = ("image_encoder",)
    most: int = 32
    margin: float = 0.02
    share: float = 0.25
    control: bool = False

    def __post_init__(self) -> None:
        if self.most < 1:
            raise BadStudy("inlp.most", self.most, "1 or more")
        super().__post_init__()

    def learn_rows(
        self, point: SitePoint, x: Tensor, groups: Any, away: Any, rng: np.random.Generator
    ) -> tuple[Parts, dict[str, Any]]:
        """The directions of a site."""
        values = x.double().cpu().numpy()
        mean = values.mean(0)
        basis, accuracy = self._directions(values - mean, groups, away)
        if self.control:
            basis = np.linalg.qr(rng.standard_normal(basis.T.shape))[0].T
        found = {"left": basis.T, "right": basis, "mean": mean}
        parts = {part: torch.tensor(value).float().contiguous() for part, value in found.items()}
        return parts, {"rank": len(basis), "held_out_accuracy": accuracy}

    def _directions(self, x: Any, y: Any, away: Any) -> tuple[Any, list[float]]:
        """Orthonormal directions [k, D], and the held-out balanced accuracy before each and at the end."""
        basis = np.zeros((0, x.shape[1]))
        accuracies: list[float] = []
        classes = np.unique(y)
        while True:
            left = x - (x @ basis.T) @ basis
            scale = left[~away].std() or 1.0
            probe = LogisticRegression(class_weight="balanced", max_iter=2000)
            probe.fit(left[~away] / scale, y[~away])
            right = probe.predict(left[away] / scale) == y[away]
            there = [c for c in classes if (y[away] == c).any()]
            accuracy = float(np.mean([right[y[away] == c].mean() for c in there]))
            accuracies.append(round(accuracy, 4))
            if accuracy <= 1 / len(classes) + self.margin or len(basis) >= self.most:
                return basis, accuracies
            new = probe.coef_ - (probe.coef_ @ basis.T) @ basis
            rows = np.linalg.svd(new, full_matrices=False)
            kept = rows[2][rows[1] > 1e-8 * max(rows[1].max(), 1e-30)]
            basis = np.linalg.qr(np.concatenate([basis, kept[: self.most - len(basis)]]).T)[0].T
