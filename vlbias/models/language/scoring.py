"""Log-probabilities of a few tokens of a large vocabulary, without the others' logits in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlbias.models.language.layouts import Layout

__all__ = ["candidate_scores", "log_normaliser", "logits_of"]

WIDTH = 4096
"""So many words at a time: their logits stay in the processor's cache."""


def candidate_scores(
    net: nn.Module,
    layout: Layout,
    hidden: Tensor,
    at: Tensor,
    ask: Tensor,
    *,
    cap: float | None,
    normalised: bool,
) -> Tensor:
    """Mean log-probability of each candidate's tokens, [R, K]; 0 for candidates that a row does not score.

    Args:
        net: The model.
        layout: Where its head is.
        hidden: Hidden states [R, T, D].
        at: Tokens behind which candidates are read, [R, P].
        ask: Token id of each candidate at each of these, [R, P, K]; negative where there is none.
        cap: Bound of the logits, where a model has one.
        normalised: Whether probabilities are asked for. If not, and a row scores all its candidates at one
            token, logits are given: what they are normalised by is the same for all of them.
    """
    rows = torch.arange(len(hidden), device=hidden.device)[:, None]
    state = hidden[rows, at]  # [R, P, D]
    head: Any = net.get_submodule(layout.head[-1])
    asked = ask >= 0
    if not normalised and ask.shape[1] == 1 and bool(asked.all()):
        return logits_of(head, state, ask, cap)[:, 0]
    logprob = torch.zeros(ask.shape, device=hidden.device)
    if isinstance(head, nn.Linear):
        for name in layout.head[:-1]:
            state = net.get_submodule(name)(state)
        where = asked.any(2)
        state, tokens = state[where], ask[where].clamp(min=0)
        sums = log_normaliser(head, state, cap)
        logprob[where] = logits_of(head, state, tokens, cap) - sums[:, None]
    else:
        for name in layout.head:
            state = net.get_submodule(name)(state)
        logits = state.float()
        logprob = logits.gather(2, ask.clamp(min=0)) - logits.logsumexp(2, keepdim=True)
    return (logprob * asked).sum(1) / asked.sum(1).clamp(min=1)


def logits_of(head: nn.Linear, state: Tensor, ask: Tensor, cap: float | None) -> Tensor:
    """Logits [..., K] of the tokens `ask` [..., K] after hidden states [..., D].

    Args:
        head: The map to the vocabulary.
        state: Hidden states.
        ask: Token ids.
        cap: Bound of the logits, where a model has one.
    """
    logits = (head.weight[ask] @ state[..., None])[..., 0].float()
    if head.bias is not None:
        logits = logits + head.bias[ask]
    return _capped(logits, cap)


def log_normaliser(head: nn.Linear, state: Tensor, cap: float | None) -> Tensor:
    """Logarithm of the sum of exponentials of all logits, [N], after hidden states [N, D].

    Args:
        head: The map to the vocabulary.
        state: Hidden states.
        cap: Bound of the logits, where a model has one.
    """
    total = torch.full((len(state),), -torch.inf, device=state.device)
    for first in range(0, len(head.weight), WIDTH):
        part = slice(first, first + WIDTH)
        bias = None if head.bias is None else head.bias[part]
        logits = _capped(nn.functional.linear(state, head.weight[part], bias).float(), cap)
        total = torch.logaddexp(total, logits.logsumexp(1))
    return total


def _capped(logits: Tensor, cap: float | None) -> Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)
