"""Causal and masked language models of Hugging Face as staged models.

One tower, one stage: the text goes in, the log-probabilities of candidates come out. The adapter names
the blocks and their ports; the network's own forward pass runs untouched.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from vlbias.causal.cloze import Cloze, Completion
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Batch, Port, Readout, Stage, Tower
from vlbias.errors import BadModel
from vlbias.models.language.attention import (
    PROBE,
    Past,
    add_probe,
    refuse_other_direction,
    use_fused_gelu,
    use_open_attention,
)
from vlbias.models.language.layouts import Layout, layout_of
from vlbias.models.language.next_token import NextToken
from vlbias.models.language.noised_tokens import NoisedTokens
from vlbias.models.language.scoring import candidate_scores
from vlbias.models.language.tokens import SPANS, Row, Tokenised, Tokenizer, batch_of
from vlbias.models.long_texts import refuse_long_texts
from vlbias.models.pretrained import refuse_placement

__all__ = ["LanguageModel"]

STAGE = "lm"


class LanguageModel(NextToken):
    """A language model as a staged model.

    The probability of a candidate of several tokens is length-normalised: the geometric mean of its
    tokens' probabilities, each given the ones before it (Vig et al. 2020); in a masked model each at its
    own mask, all masks in place.

    Args:
        net: A model of a family in `layouts.LAYOUTS`, with its language-model head.
        tokenizer: Its fast tokenizer; None for an outline.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.

    Raises:
        BadModel: if the family is not known, or the model reads in another direction than its family.
    """

    gives = frozenset({"candidate_logprob", "candidate_score"})
    normalised = True

    def __init__(self, net: nn.Module, tokenizer: Any, *, name: str, revision: str) -> None:
        refuse_placement(name, net)
        self.net, self.name, self.revision = net.eval(), name, revision
        config: Any = net.config
        self.layout = layout_of(config.model_type)
        refuse_other_direction(name, config, self.layout.masked)
        use_open_attention(net)
        use_fused_gelu(net)
        layers = len(net.get_submodule(self.layout.blocks))  # type: ignore[arg-type]
        blocks = tuple(f"{self.layout.blocks}.{i}" for i in range(layers))
        for block in blocks:
            add_probe(net.get_submodule(f"{block}.{self.layout.core}"))
        tail = tuple(f"{blocks[-1]}.{part}" for part in self.layout.tail)
        stage = Stage(STAGE, self.layout.base, blocks=blocks, tail=tail)
        tower = Tower(STAGE, ("text",), (stage,), ("length",), "length", spans=SPANS)
        if not self.layout.masked and self.layout.cached:
            tower = replace(tower, causal="input_ids", reads="at")
        self.towers = (tower,)
        self.ports = _ports(net, self.layout, layers)
        self._tokenizer: Tokenizer | None = None
        if tokenizer is not None:
            self._tokenizer = Tokenizer(tokenizer, masked=self.layout.masked, name=name)
            self._pad = tokenizer.pad_token_id or 0
        # RoBERTa counts positions from behind its padding token
        taken = config.pad_token_id + 1 if config.model_type == "roberta" else 0
        self.max_tokens = int(getattr(config, "max_position_embeddings", None) or 1 << 30) - taken
        self._cap = getattr(config, "final_logit_softcapping", None)
        self.noised = NoisedTokens(net.get_submodule(self.layout.embed))

    def scores_only(self) -> LanguageModel:
        """The same model without the sum over the vocabulary, where no probability is asked for.

        It gives "candidate_score" alone: log-probabilities up to what is common to the candidates of a
        text. Differences of scores are those of log-probabilities.
        """
        lean = copy.copy(self)
        lean.gives, lean.normalised = frozenset({"candidate_score"}), False
        return lean

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Row, ...]]:
        """The row of each candidate of the text, a `Cloze`; candidates may share one."""
        cloze: Cloze = inputs["text"]
        return {STAGE: self._ready.rows(cloze)}

    def collate(self, tower: str, rows: Sequence[Row]) -> Batch:
        """Token ids, and what is read from the output; see `tokens.batch_of`.

        Raises:
            BadData: if a candidate or a span has no token.
            BadModel: if a text is longer than the model takes.
        """
        tokenised = [self._tokenised(row) for row in rows]
        texts, ids = [row.cloze.text for row in rows], [row.ids for row in tokenised]
        refuse_long_texts(self.name, texts, ids, self.max_tokens)
        return batch_of(tokenised, self._pad, next(self.net.parameters()).device)

    def _tokenised(self, row: Row) -> Tokenised:
        plain, cloze = self._ready(row), row.cloze
        if not isinstance(cloze, Completion) or cloze.noise is None:
            return plain
        if self.layout.masked:
            raise BadModel(f"{self.name} fills masks; noise is for causal models")
        return replace(plain, ids=self.noised.ids(plain.ids, cloze.noise, plain.spans))

    @property
    def _ready(self) -> Tokenizer:
        if self._tokenizer is None:
            raise BadModel(f"{self.name} is an outline: load it with weights to run it")
        return self._tokenizer

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Log-probabilities [R, K] of the candidates that a row scores, 0 for the others."""
        inputs: dict[str, Any] = {"input_ids": batch["input_ids"]}
        if self.layout.masked:
            inputs["attention_mask"] = batch["attention_mask"]
        else:
            # padding stands behind every token that is read, where a causal model cannot see it
            inputs["use_cache"] = False
        hidden = self.net.get_submodule(self.layout.base)(**inputs).last_hidden_state
        return self._scores(hidden, batch["at"], batch["ask"])

    @torch.inference_mode()
    def past(self, tower: str, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Keys and values [R, key heads, T, width] of every layer."""
        cache = DynamicCache()
        base = self.net.get_submodule(self.layout.base)
        base(input_ids=batch["input_ids"], use_cache=True, **{_cache_name(base): cache})
        return [(layer.keys, layer.values) for layer in cache.layers]

    def continued(self, tower: str, batch: Batch, past: Any, rows: Tensor, start: int) -> Tensor:
        """As `encode`, running only the tokens from `start` on."""
        ids = batch["input_ids"][:, start:]
        positions = torch.arange(start, start + ids.shape[1], device=ids.device)
        base = self.net.get_submodule(self.layout.base)
        hidden = base(
            input_ids=ids,
            position_ids=positions.expand(len(ids), -1),
            use_cache=True,
            **{_cache_name(base): Past(past, rows, start)},
        ).last_hidden_state
        return self._scores(hidden, batch["at"] - start, batch["ask"])

    def _scores(self, hidden: Tensor, at: Tensor, ask: Tensor) -> Tensor:
        normalised = self.normalised or self.layout.masked
        return candidate_scores(
            *(self.net, self.layout, hidden, at, ask), cap=self._cap, normalised=normalised
        )

    def join(self, values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Readout:
        """Log-probabilities [B, K], each candidate from its own row."""
        rows = index[STAGE].to(values[STAGE].device)
        each = torch.arange(rows.shape[1], device=rows.device)
        logprob = values[STAGE][rows, each].double().cpu()
        readout = {"candidate_score": logprob}
        return {**readout, "candidate_logprob": logprob} if self.normalised else readout


def _cache_name(base: nn.Module) -> str:
    """What the forward pass calls its keys and values, which transformers renames."""
    known = inspect.signature(base.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def _ports(net: nn.Module, layout: Layout, layers: int) -> tuple[Port, ...]:
    config: Any = net.config
    heads, width = int(config.num_attention_heads), int(config.hidden_size)
    block = layout.blocks + ".{layer}"
    embedding: Any = net.get_submodule(layout.embed)

    def port(name: str, part: str, units: int, slot: Any = "out", **kind: Any) -> Port:
        module = f"{block}.{part}" if part else block
        return Port(STAGE, name, module, slot, layers, units=units, **kind)

    ports = (
        Port(STAGE, "embed", layout.embed, units=embedding.embedding_dim, cut=True),
        port("resid", "", width, cut=True),
        port("attn", layout.attn, width),
        port("head", layout.attn_out, heads, "in"),
        port("weights", f"{layout.core}.{PROBE}", heads, keys=True),
    )
    if not layout.mlp:
        return ports
    last: Any = net.get_submodule(f"{layout.blocks}.0.{layout.mlp_out}")
    inner = last.weight.shape[0] if type(last).__name__ == "Conv1D" else last.in_features
    return (*ports, port("mlp", layout.mlp, width), port("neuron", layout.mlp_out, inner, "in"))
