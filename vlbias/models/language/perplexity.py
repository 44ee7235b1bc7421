"""How well a causal language model predicts plain text: what a mitigation may cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from vlbias.errors import BadData, BadModel
from vlbias.models.language.adapter import LanguageModel

__all__ = ["perplexity"]


@torch.inference_mode()
def perplexity(model: LanguageModel, texts: Sequence[str]) -> float:
    """The exponential of minus the mean log-probability of every token of the texts but each first one.

    The network runs as it is at the moment, with what a mitigation has changed in it.

    Raises:
        BadModel: for a masked model, which has no such thing.
        BadData: if no text has two tokens.
    """
    if model.layout.masked:
        raise BadModel(f"{model.name} fills masks: it gives texts no probability")
    total, count = 0.0, 0
    for text in texts:
        ids = model.tokens(text)
        if len(ids) < 2:
            continue
        tensor = torch.tensor([ids], device=next(model.net.parameters()).device)
        logits = model.net(input_ids=tensor, use_cache=False).logits[0, :-1].float()
        logprob = logits.log_softmax(1).gather(1, tensor[0, 1:, None])
        total, count = total + float(logprob.double().sum()), count + len(ids) - 1
    if not count:
        raise BadData("perplexity needs texts of at least two tokens")
    return math.exp(-total / count)
