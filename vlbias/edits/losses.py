"""What constrained training minimises: losses on facts to forget and facts to retain.

Losses of an item are mean negative log-probabilities of its answer's tokens; prompts are not learned. `joint`
is the loss of Agrawal and Huang (2025, SHA256 at SemEval-2025 Task 4) with its adaptive weight, as in their
released code but for three faults of it: here the mean retain loss is a mean of batch means, evaluation
does not enter it, and the step that is kept is not the one of most ascent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from vlbias.edits.loss_names import Loss

__all__ = ["LOSSES", "Batch", "Loss", "RetainWeight", "adaptive_weight"]


def adaptive_weight(deviation: float, *, cap: float = 2.8, rounded: bool = False) -> float:
    """Weight α of the retain loss: clip(0.3 · 6^ΔL + 0.8, 1.2, cap), and 1.2 if ΔL is not above 0.

    Args:
        deviation: ΔL, the retain loss of a batch minus its mean in the first epoch.
        cap: 2.8 in the paper, 2.3 in the released code.
        rounded: To one decimal, as in the released code.
    """
    if deviation <= 0:
        return 1.2
    # beyond any cap, and out of the range of floats
    weight: float = 0.3 * 6.0 ** min(deviation, 50.0) + 0.8
    return min(max(round(weight, 1) if rounded else weight, 1.2), cap)


@dataclass
class RetainWeight:
    """The adaptive weight along training.

    Args:
        first: Steps of the first epoch, in which the weight is 1.2 and the mean is taken.
        cap: See `adaptive_weight`.
        rounded: See there.
        total: Sum of the retain losses of the first epoch.
        count: How many they are.
    """

    first: int
    cap: float = 2.8
    rounded: bool = False
    total: float = 0.0
    count: int = 0

    def at(self, step: int, retain: float) -> float:
        """The weight of a step, from the mean retain loss of its batch."""
        if step < self.first:
            self.total, self.count = self.total + retain, self.count + 1
            return 1.2
        mean = self.total / max(self.count, 1)
        return adaptive_weight(retain - mean, cap=self.cap, rounded=self.rounded)


@dataclass(frozen=True, eq=False)
class Batch:
    """Losses of the items of a step.

    Args:
        forget: Of those to forget, [n].
        retain: Mean over those to retain; cross-entropy, or divergence to the model before training.
        reference: Of those to forget in the model before training, [n]; for "npo".
        weight: Of the retain loss.
        bound: Loss of an item beyond which it is not forgotten further; for "hinge".
        temperature: β of "npo".
    """

    forget: Tensor
    retain: Tensor
    reference: Tensor
    weight: float
    bound: float
    temperature: float


def _ascent(batch: Batch) -> Tensor:
    return -batch.forget.mean()


def _difference(batch: Batch) -> Tensor:
    return -batch.forget.mean() + batch.retain


def _npo(batch: Batch) -> Tensor:
    """Zhang et al. (2024): -2/β log σ(-β log(p/p_ref)), and the retain loss."""
    grown = batch.forget - batch.reference
    forgotten = -2 / batch.temperature * logsigmoid(batch.temperature * grown)
    return forgotten.mean() + batch.retain


def _joint(batch: Batch) -> Tensor:
    return -batch.forget.mean() + batch.weight * batch.retain


def _hinge(batch: Batch) -> Tensor:
    """Ascent that ends where an item is as unlikely as one that was never learned."""
    return relu(batch.bound - batch.forget).mean() + batch.weight * batch.retain


LOSSES: dict[Loss, Callable[[Batch], Tensor]] = {
    "ascent": _ascent,
    "difference": _difference,
    "npo": _npo,
    "joint": _joint,
    "hinge": _hinge,
}
"""Name to loss."""
