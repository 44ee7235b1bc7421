"""The calls of a generative image-text network: what it takes, its last hidden states, and what it answers."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.hooks import first_tensor
from vlbias.causal.staged_model import Batch
from vlbias.models.image_text.drawing import Drawing
from vlbias.models.image_text.families import Family
from vlbias.models.image_text.reading import PIXELS, SPANS, TEXTUAL
from vlbias.models.language.scoring import log_normaliser, logits_of

__all__ = ["Network"]

_POSITIONS = "positions"
_OWN = ("length", "at", "ask", "identity", "begins", _POSITIONS)
"""Keys of a batch that the network does not take."""


class Network:
    """A network as the adapter calls it.

    Args:
        net: Of transformers.
        family: What cannot be found from it.
        drawing: Where its parts are.
    """

    def __init__(self, net: Any, family: Family, drawing: Drawing) -> None:
        self.net, self._family, self._drawing = net, family, drawing
        self._base: Any = net.get_submodule(drawing.base)
        text = net.config.get_text_config()
        self.limit = int(getattr(text, "max_position_embeddings", None) or 1 << 30)
        self._cap = getattr(text, "final_logit_softcapping", None)
        self._scale = _scale(text)

    def positions(self, batch: Batch) -> Batch:
        """Positions in three axes [R, 3, T], where they hang on the photo's grid; else nothing."""
        index = getattr(self._base, "get_rope_index", None)
        if index is None:
            return {}
        known = inspect.signature(index).parameters
        given = {key: value for key, value in self.given(batch).items() if key in known}
        return {_POSITIONS: index(**given)[0].transpose(0, 1).contiguous()}

    def given(self, batch: Batch, *, start: int = 0, image: bool = True) -> dict[str, Tensor]:
        """What the network takes: the images, rows one behind the other, and the tokens from `start` on.

        Args:
            batch: Of rows.
            start: How many tokens are left off.
            image: Whether images are among what is given.
        """
        end = batch["input_ids"].shape[1]
        given = {}
        for key, value in batch.items():
            if key in _OWN or key.startswith(SPANS):
                continue
            if key in TEXTUAL:
                whole = key == "decoder_input_ids" or key.startswith("qformer")
                given[key] = value if whole else value[:, start:end]
            elif image:
                given[self._family.names.get(key, key)] = value.flatten(0, 1)
        if (
            start
        ):  # padding stands behind every token that is read, where a causal model cannot see it
            given.pop("attention_mask", None)
        if _POSITIONS in batch:
            given["position_ids"] = batch[_POSITIONS][:, :, start:end].transpose(0, 1)
        if self._family.offset and self._family.offset in given:
            self._shift(batch, given)
        return given

    def _shift(self, batch: Batch, given: dict[str, Tensor]) -> None:
        """Let indices into a photo's patches count those of the photos before it."""
        each, pixels = batch[self._family.offset], batch[PIXELS]
        patches = pixels.shape[1] * pixels.shape[2]
        before = patches * torch.arange(len(each), device=each.device)
        shifted = each + before.view(-1, *[1] * (each.ndim - 1)) * (each >= 0)
        given[self._family.offset] = shifted.flatten(0, 1)

    def hidden(self, given: dict[str, Any], **options: Any) -> Tensor:
        """The last hidden states [R, T, D] of the language model, wherever it lies in the network."""
        if "cache" in options:
            options[_cache_name(self._base)] = options.pop("cache")
        seen: list[Tensor] = []
        lm = self.net.get_submodule(self._drawing.lm)
        handle = lm.register_forward_hook(lambda _, __, output: seen.append(first_tensor(output)))
        try:
            self._base(**given, **options)
        finally:
            handle.remove()
        return seen[0]

    def scores(self, hidden: Tensor, at: Tensor, ask: Tensor) -> Tensor:
        """Mean log-probability of each candidate's tokens, [R, K]; 0 for candidates that a row does not score.

        Args:
            hidden: [R, T, D].
            at: Tokens behind which candidates are read, [R, P].
            ask: Token of each candidate at each of these, [R, P, K]; negative where there is none.
        """
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]
        asked = ask >= 0
        where = asked.any(2)
        state, tokens = hidden[rows, at][where] * self._scale, ask[where].clamp(min=0)
        head: nn.Linear = self.net.get_submodule(self._drawing.head)
        logprob = torch.zeros(ask.shape, device=hidden.device)
        sums = log_normaliser(head, state, self._cap)
        logprob[where] = logits_of(head, state, tokens, self._cap) - sums[:, None]
        return (logprob * asked).sum(1) / asked.sum(1).clamp(min=1)

    def own_logprob(self, batch: Batch) -> Tensor:
        """What `scores` gives [R, K] for candidates of one token, from the network's own logits."""
        given = self.given(batch)
        logits = self.net(**given, use_cache=False).logits.float()
        rows = torch.arange(len(logits), device=logits.device)[:, None]
        logprob = logits[rows, batch["at"]].log_softmax(-1)
        picked: Tensor = logprob.gather(2, batch["ask"].clamp(min=0))[:, 0]
        return picked


def _cache_name(base: nn.Module) -> str:
    """What the forward pass calls its keys and values, which transformers renames."""
    known = inspect.signature(base.forward).parameters
    return "past_key_values" if "past_key_values" in known else "cache"


def _scale(text: Any) -> float:
    """What hidden states are multiplied by before the head."""
    return float(text.d_model) ** -0.5 if getattr(text, "scale_decoder_outputs", False) else 1.0
