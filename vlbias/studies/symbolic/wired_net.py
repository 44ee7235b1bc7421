"""A transformer wired by hand for the identity-rule task: three heads, each of one known kind.

The residual stream holds [token | position | symbol 1 | prediction 1 | output]. Head (0, 1) compares a
third item with the first two of its example and writes +1 or -1 as symbol; head (1, 2) copies the symbol
of earlier third items to second separators as prediction; head (2, 0) reads the item of the query that the
prediction names, and writes it to the output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vlbias.models.language.rule_net import SPECIAL, RuleNet, RuleNetConfig, rule_tokenizer

__all__ = ["WIRED", "wired_net", "write_wired"]

ABSTRACTION, INDUCTION, RETRIEVAL = (0, 1), (1, 2), (2, 0)
WIRED = {"abstraction": ABSTRACTION, "induction": INDUCTION, "retrieval": RETRIEVAL}
"""Type of heads to the layer and number of the head that is wired to be it."""
_HEADS = 4
_SHARP = 30.0
"""Scale of queries: attention to one token alone."""


def wired_net(vocabulary: int = 64, shots: int = 3, noise: float = 0.0) -> RuleNet:
    """The net.

    Args:
        vocabulary: Tokens, special ones included.
        shots: Examples of the prompts that it reads.
        noise: Standard deviation of the weights of all other heads.
    """
    tokens = 6 * shots + 5
    symbol = vocabulary + tokens
    width, inner = 2 * vocabulary + tokens + 2, vocabulary + tokens
    config = RuleNetConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=3, num_attention_heads=_HEADS,
        head_dim=inner, max_position_embeddings=tokens, norm=False, scaling=1.0,
        tie_word_embeddings=False,
    )  # fmt: skip
    net: Any = RuleNet(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data.normal_(generator=generator).mul_(noise)
    parts: dict[tuple[int, int], Any] = {}
    for layer, head in (ABSTRACTION, INDUCTION, RETRIEVAL):
        attention = net.model.layers[layer].attention
        rows = slice(head * inner, (head + 1) * inner)
        views = [attention.get_submodule(n).weight.data[rows] for n in ("query", "key", "value")]
        views.append(attention.out.weight.data[:, rows])
        for view in views:
            view.zero_()
        # maps from the stream to the head, and from the head to the stream
        parts[layer, head] = *(view.T for view in views[:3]), views[3].T
    _wire(parts, vocabulary, shots)
    item, place = slice(0, vocabulary), vocabulary
    net.model.embed_tokens.weight.data.zero_()[:, item].copy_(torch.eye(vocabulary))
    net.model.embed_positions.weight.data.zero_()[:, place : place + tokens].copy_(
        torch.eye(tokens)
    )
    net.lm_head.weight.data.zero_()[:, symbol + 2 :].copy_(torch.eye(vocabulary))
    wired: RuleNet = net.eval()
    return wired


def _wire(parts: dict[tuple[int, int], Any], vocabulary: int, shots: int) -> None:
    """Write what the three heads do into their maps: query, key, value and output of each, in place."""
    tokens = 6 * shots + 5
    symbol, place = vocabulary + tokens, vocabulary
    first, second, third, ask = (
        [place + start + 6 * k for k in range(count)]
        for start, count in ((1, shots + 1), (3, shots + 1), (5, shots), (4, shots + 1))
    )
    every = torch.arange(vocabulary)

    query, key, value, out = parts[ABSTRACTION]
    query[every, every], key[every, every] = _SHARP, 1.0
    for k in range(shots):
        query[third[k], vocabulary + k] = _SHARP
        key[[first[k], second[k]], vocabulary + k] = 1.0
        value[first[k], 0], value[second[k], 0] = 1.0, -1.0
    out[0, symbol] = 1.0

    query, key, value, out = parts[INDUCTION]
    query[ask, 0], key[third, 0] = _SHARP, 1.0
    value[symbol, 0], out[0, symbol + 1] = 1.0, 1.0

    query, key, value, out = parts[RETRIEVAL]
    query[symbol + 1, 0] = _SHARP
    for k in range(shots + 1):
        key[first[k], 0], key[second[k], 0] = 1.0, -1.0
        query[ask[k], 1 + k] = _SHARP
        key[[first[k], second[k]], 1 + k] = 2.0
    value[every, every] = 1.0
    out[every, symbol + 2 + every] = 10.0


def write_wired(folder: Path, **shape: float) -> Path:
    """The folder of the net with its tokenizer, as `save_pretrained` writes it."""
    net = wired_net(**shape)  # type: ignore[arg-type]
    net.save_pretrained(folder)
    rule_tokenizer(net.config.vocab_size - len(SPECIAL)).save_pretrained(folder)
    return folder
