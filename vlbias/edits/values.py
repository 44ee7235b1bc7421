"""The output that an MLP should give at a subject so that an answer follows, found by gradient.

As in the published code of ROME: Adam on a change δ of the output, with the loss of the answer behind several
prefixes, a divergence that keeps what the model says of the subject otherwise, and a decay of δ.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div

from vlbias.causal.hooks import first_tensor, with_first_tensor
from vlbias.data.facts import Fact
from vlbias.edits.keys import by_rows, collated, completion, record_maps
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
    """
    texts = [completion(fact, answer, prefix) for prefix in ("", *prefixes)]
    seen = record_maps(model, maps, texts)
    essence = completion(fact, answer, prompt=f"{fact.subject} {search.essence}")
    searched = [_Search(one, seen[one.path].values[0]) for one in maps]
    with torch.enable_grad():
        _run(model, searched, texts, essence, search)
    return [
        Target(s.value, s.delta.detach(), seen[s.map.path].keys, s.loss, s.steps) for s in searched
    ]


class _Search:
    def __init__(self, map_: OutputMap, value: Tensor) -> None:
        self.map, self.value = map_, value
        self.delta = torch.zeros_like(value, requires_grad=True)
        self.loss, self.steps, self.reference = float("inf"), 0, None
        self.optimiser: Any = None

    reference: Tensor | None


def _run(
    model: Any,
    searched: Sequence[_Search],
    texts: Sequence[Any],
    essence: Any,
    search: ValueSearch,
) -> None:
    batch, places = collated(model, texts)
    said = model.tokenised(essence)
    ids, subject = list(said.ids[: said.length]), max(said.spans["subject"])
    for one in searched:
        one.optimiser = torch.optim.Adam([one.delta], lr=search.rate)
    going = list(searched)
    for step in range(search.steps + 1):
        losses = _losses(model, going, batch, places, (ids, subject), search)
        for one, loss in zip(going, losses, strict=True):
            one.loss, one.steps = float(loss.detach()), step
        on = [
            (one, loss)
            for one, loss in zip(going, losses, strict=True)
            if one.loss >= search.enough
        ]
        if not on or step == search.steps:
            return
        grads = torch.autograd.grad(
            torch.stack([loss for _, loss in on]).sum(), [one.delta for one, _ in on]
        )
        for (one, _), grad in zip(on, grads, strict=True):
            one.delta.grad = grad
            one.optimiser.step()
            most = search.reach * float(one.value.norm())
            if float(one.delta.detach().norm()) > most:
                with torch.no_grad():
                    one.delta *= most / one.delta.norm()
        going = [one for one, _ in on]


def _losses(
    model: Any,
    going: Sequence[_Search],
    batch: dict[str, Tensor],
    places: Tensor,
    essence: tuple[list[int], int],
    search: ValueSearch,
) -> list[Tensor]:
    count, copies = len(places), len(going)
    several = {
        key: t.repeat(copies, *(1 for _ in t.shape[1:])) if t.ndim else t
        for key, t in batch.items()
    }
    with _added(model.net, going, [places] * copies):
        scores = model.encode("lm", several)[:, 0].view(copies, count)
    ids, subject = essence
    with _added(model.net, going, [torch.tensor([subject], device=places.device)] * copies):
        others = model.next_token_logits([ids] * copies, grad=True).log_softmax(1)
    losses = []
    for place, one in enumerate(going):
        if one.reference is None:
            one.reference = others[place].detach()
        kept = kl_div(one.reference, others[place], log_target=True, reduction="sum")
        size = one.delta.norm() / one.value.norm() ** 2
        losses.append(-scores[place].mean() + search.divergence * kept + search.decay * size)
    return losses


def _added(net: nn.Module, going: Sequence[_Search], places: Sequence[Tensor]) -> ExitStack:
    """Each copy of the rows has the δ of its own map added at its places."""
    hooks, every = ExitStack(), sum(map(len, places))
    for number, (one, own) in enumerate(zip(going, places, strict=True)):

        def after(
            _: nn.Module,
            __: Any,
            output: Any,
            one: _Search = one,
            first: int = number,
            own: Tensor = own,
        ) -> Any:
            given = first_tensor(output)
            tensor = by_rows(given, every).clone()
            rows = torch.arange(first * len(own), (first + 1) * len(own), device=own.device)
            tensor[rows, own] = tensor[rows, own] + one.delta
            return with_first_tensor(output, tensor.view_as(given))

        hooks.callback(net.get_submodule(one.map.path).register_forward_hook(after).remove)
    return hooks
