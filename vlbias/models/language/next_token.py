"""What a causal language model says next, beside the candidates of a cloze: logits of its whole vocabulary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vlbias.causal.cloze import Cloze
from vlbias.errors import BadModel
from vlbias.models.language.layouts import Layout
from vlbias.models.language.tokens import Tokenised, Tokenizer
from vlbias.models.long_texts import refuse_long_texts

__all__ = ["NextToken"]


class NextToken:
    """The part of a language model that works on whole texts and its own vocabulary."""

    net: nn.Module
    name: str
    layout: Layout
    _pad: int
    max_tokens: int
    _cap: Any

    @property
    def _ready(self) -> Tokenizer:
        raise NotImplementedError

    def tokens(self, text: str) -> list[int]:
        """Ids of a whole text, with the special tokens that begin one."""
        return self._ready.ids(text)

    def token_places(self, text: str) -> list[tuple[int, int]]:
        """First and one past the last character of each token of a text; (0, 0) for special tokens."""
        return self._ready.offsets(text)

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of some tokens."""
        return self._ready.decoded(ids)

    def words(self, pattern: re.Pattern[str]) -> dict[str, int]:
        """Entries of the vocabulary that match a pattern as a whole, with their ids."""
        return self._ready.words(pattern)

    def tokenised(self, cloze: Cloze) -> Tokenised:
        """A text with the first of its candidates, in tokens."""
        return self._ready(self._ready.rows(cloze)[0])

    def save(self, folder: Path) -> None:
        """Write the network and its tokenizer, as `from_pretrained` loads them."""
        net: Any = self.net
        # the file says what the weights are, and nothing of the attention that reads them here
        before, net.config._attn_implementation = net.config._attn_implementation, "eager"
        try:
            net.save_pretrained(folder)
        finally:
            net.config._attn_implementation = before
        self._ready.save(folder)

    def next_token_logits(self, ids: Sequence[Sequence[int]], *, grad: bool = False) -> Tensor:
        """Logits [N, vocabulary] of the token behind each text of a causal model.

        Args:
            ids: Tokens of the texts, of any lengths.
            grad: Whether they can be differentiated.

        Raises:
            BadModel: if the model fills masks, or a text is longer than it takes.
        """
        self._refuse_to_go_on(ids)
        with torch.set_grad_enabled(grad) if grad else torch.inference_mode():
            return self._next(ids)

    @torch.inference_mode()
    def are_next(self, ids: Sequence[Sequence[int]], firsts: Sequence[int]) -> list[bool]:
        """Whether the tokens of texts are, from a place on, each the most probable one behind those before it.

        Args:
            ids: Tokens of the texts, of any lengths.
            firsts: The first of them that is asked for, in each text; 1 or more.

        Raises:
            BadModel: if the model fills masks, or a text is longer than it takes.
        """
        begun = [row[:-1] for row in ids]
        self._refuse_to_go_on(begun)
        rows = [row for row, first in enumerate(firsts) for _ in range(first, len(ids[row]))]
        places = [
            place for row, first in enumerate(firsts) for place in range(first, len(ids[row]))
        ]
        hidden = self._hidden(begun)
        said = self.logits_behind(hidden[rows, [place - 1 for place in places]]).argmax(1).tolist()
        right = [True] * len(ids)
        for row, place, token in zip(rows, places, said, strict=True):
            right[row] = right[row] and token == ids[row][place]
        return right

    def _refuse_to_go_on(self, ids: Sequence[Sequence[int]]) -> None:
        if self.layout.masked:
            raise BadModel(f"{self.name} fills masks and gives no next token: give a causal model")
        longest = max(ids, key=len)
        if len(longest) > self.max_tokens:
            refuse_long_texts(self.name, [self.text_of(longest)], [longest], self.max_tokens)

    @torch.inference_mode()
    def written(self, ids: Sequence[Sequence[int]], longest: int) -> list[str]:
        """What a causal model writes behind texts, the most probable token each time.

        Args:
            ids: Tokens of the texts, all of as many.
            longest: So many tokens, at most; fewer where the model takes no more or ends by itself.

        Raises:
            BadModel: if the model cannot write, or a text fills all that it takes.
        """
        net: Any = self.net
        if self.layout.masked or not hasattr(net, "generate"):
            raise BadModel(f"{self.name} cannot write: give a causal model of transformers")
        begun = torch.tensor([list(row) for row in ids], device=next(net.parameters()).device)
        room = min(longest, self.max_tokens - begun.shape[1])
        if room < 1:
            raise BadModel(
                f"{self.name} takes {self.max_tokens} tokens, and a text has {begun.shape[1]}: nothing can "
                "be written behind it"
            )
        whole = net.generate(
            begun,
            attention_mask=torch.ones_like(begun),
            max_new_tokens=room,
            do_sample=False,
            use_cache=True,
            pad_token_id=self._pad,
        )
        behind = whole[:, begun.shape[1] :].tolist()
        return [self._ready.decoded(row, special=False) for row in behind]

    def _next(self, ids: Sequence[Sequence[int]]) -> Tensor:
        hidden = self._hidden(ids)
        last = torch.tensor([len(row) - 1 for row in ids], device=hidden.device)
        return self.logits_behind(hidden[torch.arange(len(ids), device=hidden.device), last])

    def _hidden(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Last hidden states [N, tokens, width] of texts that are padded behind their end."""
        device = next(self.net.parameters()).device
        rows = [torch.tensor(row) for row in ids]
        batch = pad_sequence(rows, batch_first=True, padding_value=self._pad).to(device)
        base = self.net.get_submodule(self.layout.base)
        hidden: Tensor = base(input_ids=batch, use_cache=False).last_hidden_state
        return hidden

    def logits_behind(self, state: Tensor) -> Tensor:
        """Logits [N, vocabulary] of last hidden states [N, width]."""
        for name in self.layout.head:
            state = self.net.get_submodule(name)(state)
        logits: Tensor = state.float()
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)
