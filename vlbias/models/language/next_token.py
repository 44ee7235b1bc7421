"""Logits of the token behind texts of any lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vlbias.models.language.layouts import Layout

__all__ = ["next_logits"]


@torch.inference_mode()
def next_logits(
    net: nn.Module, layout: Layout, ids: Sequence[Sequence[int]], pad: int, cap: float | None
) -> Tensor:
    """Logits [N, vocabulary] behind each text of a causal model, in single precision.

    Args:
        net: The model.
        layout: Where its parts are.
        ids: Tokens of the texts.
        pad: Token that fills up short texts, on the right, where a causal model does not see it.
        cap: Soft cap of the final logits, if the model has one.
    """
    device = next(net.parameters()).device
    rows = [torch.tensor(row) for row in ids]
    batch = pad_sequence(rows, batch_first=True, padding_value=pad).to(device)
    hidden = net.get_submodule(layout.base)(input_ids=batch, use_cache=False).last_hidden_state
    last = torch.tensor([len(row) - 1 for row in ids], device=device)
    state = hidden[torch.arange(len(batch), device=device), last]
    for name in layout.head:
        state = net.get_submodule(name)(state)
    logits: Tensor = state.float()
    return logits if cap is None else cap * torch.tanh(logits / cap)
