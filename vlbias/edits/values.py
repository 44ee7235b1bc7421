"""The output that an MLP should give at a subject so that an answer follows, found by gradient.

As in the published code of ROME: Adam on a change δ of the output, with the loss of the answer behind several
prefixes, a divergence that keeps what the model says of the subject otherwise, and a decay of δ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from vlbias.data.facts import Fact
from vlbias.edits.added_passes import Added, Passes, WholePasses
from vlbias.edits.keys import completion, record_maps
from vlbias.edits.staggered_passes import StaggeredPasses, can_stagger
from vlbias.edits.weights import OutputMap

__all__ = ["Target", "ValueSearch", "find_targets"]


@dataclass(frozen=True)
class ValueSearch:
    """Settings of the search.

    Args:
        steps: Of Adam, at most.
        rate: Its learning rate.
        decay: Weight of ‖δ‖ / ‖v‖².
        divergence: Weight of the divergence on "SUBJECT is a".
        reach: Largest ‖δ‖ / ‖v‖.
        enough: Loss below which the search stops.
        essence: What follows the subject where its divergence is measured.
    """

    steps: int = 20
    rate: float = 0.5
    decay: float = 0.5
    divergence: float = 0.0625
    reach: float = 4.0
    enough: float = 0.05
    essence: str = "is a"


@dataclass(frozen=True, eq=False)
class Target:
    """What the search found for one map.

    Args:
        value: v, what the map gives without a prefix, [out].
        delta: What it should give more, [out].
        keys: What it reads behind each prefix, the first without one, [prefixes, in].
        loss: At the end.
        steps: How many were made.
    """

    value: Tensor
    delta: Tensor
    keys: Tensor
    loss: float
    steps: int

    @property
    def mean_key(self) -> Tensor:
        """Mean over prefixes, [in]."""
        return self.keys.mean(0)


def find_targets(
    model: Any,
    maps: Sequence[OutputMap],
    fact: Fact,
    answer: str,
    prefixes: Sequence[str],
    search: ValueSearch,
    *,
    shared: bool = True,
) -> list[Target]:
    """The target of each map, each as if it were searched for alone, in shared passes.

    The rows of one pass are those of all maps whose search goes on, each with its own δ: their losses
    do not depend on one another.

    Args:
        model: A causal language model; left as it is.
        maps: Of one layer each.
        fact: Its prompt and subject.
        answer: What should follow.
        prefixes: Texts that may stand before the prompt.
        search: Settings.
        shared: Leave out tokens and blocks that no δ reaches, and take the gradients of the first step from
            one pass; off only to test that the same is found.
    """
    texts = [completion(fact, answer, prefix) for prefix in ("", *prefixes)]
    seen = record_maps(model, maps, texts)
    essence = completion(fact, answer, prompt=f"{fact.subject} {search.essence}")
    searched = [_Search(one, seen[one.path].values[0], search.rate) for one in maps]
    kind: type[StaggeredPasses] | type[WholePasses] = (
        StaggeredPasses if shared and can_stagger(model) else WholePasses
    )
    with torch.enable_grad():
        _run(kind(model, texts, essence), searched, search)
    return [
        Target(s.value, s.delta.detach(), seen[s.map.path].keys, s.loss, s.steps) for s in searched
    ]


class _Search:
    reference: Tensor | None

    def __init__(self, map_: OutputMap, value: Tensor, rate: float) -> None:
        self.map, self.value = map_, value
        self.delta = torch.zeros_like(value, requires_grad=True)
        self.loss, self.steps, self.reference = float("inf"), 0, None
        self.optimiser = torch.optim.Adam([self.delta], lr=rate)


def _run(passes: Passes, searched: Sequence[_Search], search: ValueSearch) -> None:
    going = list(searched)
    for step in range(search.steps + 1):
        losses = _losses(passes, going, search)
        for one, loss in zip(going, losses, strict=True):
            one.loss, one.steps = float(loss.detach()), step
        on = [
            (one, loss)
            for one, loss in zip(going, losses, strict=True)
            if one.loss >= search.enough
        ]
        if not on or step == search.steps:
            return
        # before the first step all searches may have one loss: its gradient counts once for each
        apart = {id(loss): loss for _, loss in on}
        grads = torch.autograd.grad(
            torch.stack(list(apart.values())).sum(), [one.delta for one, _ in on]
        )
        for (one, _), grad in zip(on, grads, strict=True):
            one.delta.grad = grad
            one.optimiser.step()
            most = search.reach * float(one.value.norm())
            if float(one.delta.detach().norm()) > most:
                with torch.no_grad():
                    one.delta *= most / one.delta.norm()
        going = [one for one, _ in on]


def _losses(passes: Passes, going: Sequence[_Search], search: ValueSearch) -> list[Tensor]:
    scores, others = passes.run([Added(one.map, one.delta) for one in going])
    if len(scores) < len(going):  # nothing is added yet: one pass is that of every search
        going[0].reference = others[0].detach()
        for one in going:
            one.reference = going[0].reference
        return [-scores[0].mean()] * len(going)
    losses = []
    for place, one in enumerate(going):
        if one.reference is None:
            one.reference = others[place].detach()
        kept = kl_div(one.reference, others[place], log_target=True, reduction="sum")
        size = one.delta.norm() / one.value.norm() ** 2
        losses.append(-scores[place].mean() + search.divergence * kept + search.decay * size)
    return losses
