"""Attention-only transformers for the identity-rule task, small enough to wire by hand or train in minutes.

Their truth is known: which heads abstract, induce and retrieve. They are models of transformers, so that
the adapter of language models takes them as any other.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Regex, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Inner
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from vlbias.models.language.attention import attend

__all__ = [
    "SPECIAL",
    "RuleNet",
    "RuleNetConfig",
    "example_mask",
    "register_rule_nets",
    "rule_tokenizer",
]

SPECIAL = ("^", "\n", "<s>", "<A>", "<B>")
"""First tokens of the vocabulary: separator, newline, begin, and the newlines that tell the rule."""
EXAMPLE = 6
"""Tokens of one example: three items, each with a separator behind it."""


class RuleNetConfig(PretrainedConfig):
    """Shape of a rule net.

    Args:
        vocab_size: Tokens.
        hidden_size: Width of the residual stream.
        num_hidden_layers: Layers.
        num_attention_heads: Heads of a layer.
        head_dim: Width of a head.
        max_position_embeddings: Longest text, with the token that begins it.
        norm: Whether each layer, and the end, normalises what it reads.
        bottleneck: Whether the attention is confined as `example_mask` says.
        scaling: Factor of the attention scores; head_dim to the power of -1/2 if not given.
        tie_word_embeddings: Whether the output reads the input's embeddings.
    """

    model_type = "rule_net"

    def __init__(
        self,
        vocab_size: int = 32,
        hidden_size: int = 64,
        num_hidden_layers: int = 4,
        num_attention_heads: int = 4,
        head_dim: int = 16,
        max_position_embeddings: int = 25,
        norm: bool = True,
        bottleneck: bool = False,
        scaling: float | None = None,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.head_dim, self.max_position_embeddings = head_dim, max_position_embeddings
        self.norm, self.bottleneck, self.scaling = norm, bottleneck, scaling
        self.tie_word_embeddings = tie_word_embeddings
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


def example_mask(tokens: int) -> Tensor:
    """Which tokens [queries, keys] may be attended to in a net with a bottleneck.

    A token sees its own example and the first token. Second separators see the third items of earlier
    examples too: what an example shows of the rule passes through its third item.
    """
    place = torch.arange(tokens) - 1
    example, slot = place.div(EXAMPLE, rounding_mode="floor"), place % EXAMPLE
    own = (example[:, None] == example) | (place < 0)
    across = (slot[:, None] == 3) & (slot == 4) & (place >= 0)
    return (own | across) & (place <= place[:, None])


class _Attention(nn.Module):
    def __init__(self, config: RuleNetConfig) -> None:
        super().__init__()
        self.config: Any = config
        inner = config.num_attention_heads * config.head_dim
        for name in ("query", "key", "value"):
            self.add_module(name, nn.Linear(config.hidden_size, inner, bias=False))
        self.out = nn.Linear(inner, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        heads = (self.config.num_attention_heads, self.config.head_dim)
        query, key, value = (
            self.get_submodule(name)(hidden).unflatten(-1, heads).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        read, _ = attend(self, query, key, value, mask, scaling=self.config.scaling)
        given: Tensor = self.out(read.flatten(2))
        return given


class _Layer(nn.Module):
    def __init__(self, config: RuleNetConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size) if config.norm else nn.Identity()
        self.attention = _Attention(config)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        added: Tensor = self.attention(self.norm(hidden), mask)
        return hidden + added


class _Base(nn.Module):
    def __init__(self, config: RuleNetConfig) -> None:
        super().__init__()
        self.config: Any = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size) if config.norm else nn.Identity()

    def forward(self, input_ids: Tensor, **_: Any) -> BaseModelOutput:
        tokens = input_ids.shape[1]
        mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        if self.config.bottleneck:
            mask = mask & example_mask(tokens)
        added = torch.zeros(mask.shape).masked_fill(~mask, -1e9).to(input_ids.device)[None, None]
        places = torch.arange(tokens, device=input_ids.device)
        hidden = self.embed_tokens(input_ids) + self.embed_positions(places)
        for layer in self.layers:
            hidden = layer(hidden, added)
        return BaseModelOutput(last_hidden_state=self.norm(hidden))


class RuleNet(PreTrainedModel):  # type: ignore[no-any-unimported, unused-ignore]
    """An attention-only transformer with its output; see `RuleNetConfig`."""

    config_class = RuleNetConfig
    base_model_prefix = "model"
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: RuleNetConfig) -> None:
        super().__init__(config)
        self.model = _Base(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The map from tokens, to which the output may be tied."""
        embeddings: nn.Module = self.model.embed_tokens
        return embeddings

    def get_output_embeddings(self) -> nn.Module:
        """The map to logits."""
        head: nn.Module = self.lm_head
        return head

    def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutput:
        """Logits [rows, tokens, vocabulary]."""
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids).last_hidden_state))


def rule_tokenizer(letters: int) -> PreTrainedTokenizerFast:
    """A tokenizer of so many items of one or two letters, with the separator, and newlines.

    Args:
        letters: Items; 26 small letters, 26 capitals, then pairs.
    """
    small = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    items = [*small, *map(str.upper, small), *(f"{a}{b}" for a in small for b in small)]
    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *items[:letters]))}
    inner = Inner(models.WordLevel(vocabulary, unk_token="<s>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\^\n]"), "isolated")
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", pad_token="<s>", unk_token="<s>"
    )


def register_rule_nets() -> None:
    """Let transformers load rule nets from their folders."""
    AutoConfig.register(RuleNetConfig.model_type, RuleNetConfig, exist_ok=True)
    AutoModelForCausalLM.register(RuleNetConfig, RuleNet, exist_ok=True)
