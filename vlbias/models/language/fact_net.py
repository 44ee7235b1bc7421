"""Small transformers whose facts must be kept in early MLPs, as their shape leaves no other place.

In a block of the first kind attention sees a few tokens only, so that a subject can be read together but
carried no further; a block of the second kind has no MLP. What is known of a subject is then written by the
MLPs before the first block without one. They are models of transformers, so that the adapter of language
models takes them as any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
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

__all__ = ["PAD", "FactNet", "FactNetConfig", "register_fact_nets", "word_tokenizer"]

PAD = "<pad>"


class FactNetConfig(PretrainedConfig):
    """Shape of a fact net.

    Args:
        vocab_size: Tokens.
        hidden_size: Width of the residual stream.
        num_hidden_layers: Blocks.
        num_attention_heads: Heads of a block.
        intermediate_size: Neurons of an MLP.
        max_position_embeddings: Longest text.
        mlp_layers: Blocks that have an MLP.
        local_layers: Blocks whose attention sees the last `window` tokens only.
        window: See `local_layers`; the token itself counts.
        tie_word_embeddings: Whether the output reads the input's embeddings.
    """

    model_type = "fact_net"

    def __init__(
        self,
        vocab_size: int = 32,
        hidden_size: int = 96,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 4,
        intermediate_size: int = 384,
        max_position_embeddings: int = 32,
        mlp_layers: Iterable[int] = (0, 1, 2),
        local_layers: Iterable[int] = (0, 1, 2),
        window: int = 2,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.mlp_layers, self.local_layers = list(mlp_layers), list(local_layers)
        self.window, self.tie_word_embeddings = window, tie_word_embeddings
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


class _Nothing(nn.Module):
    """A map to zeros, in place of one that a block has not."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.new_zeros((*hidden.shape[:-1], self.out_features))


class _Attention(nn.Module):
    def __init__(self, config: FactNetConfig) -> None:
        super().__init__()
        self.config: Any = config
        width = config.hidden_size
        for name in ("query", "key", "value", "out"):
            self.add_module(name, nn.Linear(width, width))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        heads = (self.config.num_attention_heads, -1)
        query, key, value = (
            self.get_submodule(name)(hidden).unflatten(-1, heads).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        read, _ = attend(self, query, key, value, mask, scaling=query.shape[-1] ** -0.5)
        given: Tensor = self.get_submodule("out")(read.flatten(2))
        return given


class _Mlp(nn.Module):
    def __init__(self, config: FactNetConfig, *, present: bool) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.up = nn.Linear(width, inner) if present else _Nothing(width, inner)
        # without a bias it is a linear memory of the neurons
        self.down = nn.Linear(inner, width, bias=False) if present else _Nothing(inner, width)

    def forward(self, hidden: Tensor) -> Tensor:
        given: Tensor = self.down(nn.functional.gelu(self.up(hidden)))
        return given


class _Block(nn.Module):
    def __init__(self, config: FactNetConfig, layer: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(config.hidden_size)
        self.attention = _Attention(config)
        self.before_mlp = nn.LayerNorm(config.hidden_size)
        self.mlp = _Mlp(config, present=layer in config.mlp_layers)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden + self.attention(self.before_attention(hidden), mask)
        added: Tensor = self.mlp(self.before_mlp(hidden))
        return hidden + added


class _Base(nn.Module):
    def __init__(self, config: FactNetConfig) -> None:
        super().__init__()
        self.config: Any = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(_Block(config, i) for i in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, input_ids: Tensor, **_: Any) -> BaseModelOutput:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        behind = places[:, None] - places
        near = {True: self.config.window, False: len(places)}
        masks = {
            local: torch.where((behind >= 0) & (behind < window), 0.0, -1e9)[None, None]
            for local, window in near.items()
        }
        hidden = self.embed_tokens(input_ids) + self.embed_positions(places)
        for layer, block in enumerate(self.layers):
            hidden = block(hidden, masks[layer in self.config.local_layers])
        return BaseModelOutput(last_hidden_state=self.norm(hidden))


class FactNet(PreTrainedModel):  # type: ignore[no-any-unimported, unused-ignore]
    """A transformer with its output, tied to its embeddings; see `FactNetConfig`."""

    config_class = FactNetConfig
    base_model_prefix = "model"
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: FactNetConfig) -> None:
        super().__init__(config)
        self.model = _Base(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The map from tokens, to which the output is tied."""
        embeddings: nn.Module = self.model.embed_tokens
        return embeddings

    def get_output_embeddings(self) -> nn.Module:
        """The map to logits."""
        head: nn.Module = self.lm_head
        return head

    def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutput:
        """Logits [rows, tokens, vocabulary]."""
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids).last_hidden_state))


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of these words, one token each; words stand between spaces.

    Args:
        words: Without repeats; the padding comes before them.
    """
    vocabulary = {word: place for place, word in enumerate((PAD, *words))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=PAD, unk_token=PAD)


def register_fact_nets() -> None:
    """Let transformers load fact nets from their folders."""
    AutoConfig.register(FactNetConfig.model_type, FactNetConfig, exist_ok=True)
    AutoModelForCausalLM.register(FactNetConfig, FactNet, exist_ok=True)
