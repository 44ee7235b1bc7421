"""Where each family of language models keeps what is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vlbias.errors import BadModel

__all__ = ["LAYOUTS", "Layout", "layout_of"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Dotted paths in a network, those of a block's parts relative to the block.

    Args:
        base: The part that gives the last hidden states.
        blocks: The list of its blocks.
        embed: Word embeddings.
        core: The module that calls the attention function.
        attn: What gives the attention branch as it is added to the residual stream.
        attn_out: The last linear map of the attention: heads are slices of its input.
        mlp: What gives the MLP branch as it is added to the residual stream; empty where there is none.
        mlp_out: The last linear map of the MLP: hidden neurons are its input.
        head: Modules that turn hidden states into logits, in order.
        masked: Whether the model fills masks, and sees both sides of them.
        tail: Parts of the last block that work token by token and take [rows, tokens, width], see
            `Stage.tail`.
        cached: Whether the base takes keys and values of earlier tokens, so that a text can be gone on with.
    """

    base: str
    blocks: str
    embed: str
    core: str
    attn: str
    attn_out: str
    mlp: str
    mlp_out: str
    head: tuple[str, ...] = ("lm_head",)
    masked: bool = False
    tail: tuple[str, ...] = ()
    cached: bool = True


_LLAMA = Layout(
    "model",
    "model.layers",
    "model.embed_tokens",
    "self_attn",
    "self_attn.o_proj",
    "self_attn.o_proj",
    "mlp.down_proj",
    "mlp.down_proj",
    tail=("self_attn.o_proj", "mlp"),
)
# these normalise what a branch gives before they add it
_NORMALISED = replace(_LLAMA, attn="post_attention_layernorm", mlp="post_feedforward_layernorm")
_GPT2 = Layout(
    "transformer",
    "transformer.h",
    "transformer.wte",
    "attn",
    "attn.c_proj",
    "attn.c_proj",
    "mlp.c_proj",
    "mlp.c_proj",
    tail=("attn.c_proj", "mlp"),
)
_NEOX = Layout(
    "gpt_neox",
    "gpt_neox.layers",
    "gpt_neox.embed_in",
    "attention",
    "attention.dense",
    "attention.dense",
    "mlp.dense_4h_to_h",
    "mlp.dense_4h_to_h",
    tail=("attention.dense", "mlp"),
)
_OPT = Layout(
    "model.decoder",
    "model.decoder.layers",
    "model.decoder.embed_tokens",
    "self_attn",
    "self_attn.out_proj",
    "self_attn.out_proj",
    "fc2",
    "fc2",
    tail=("self_attn.out_proj",),
)
_RULE_NET = Layout(
    "model",
    "model.layers",
    "model.embed_tokens",
    "attention",
    "attention.out",
    "attention.out",
    "",
    "",
    cached=False,
)
_FACT_NET = replace(_RULE_NET, mlp="mlp", mlp_out="mlp.down")
_BERT = Layout(
    "bert",
    "bert.encoder.layer",
    "bert.embeddings.word_embeddings",
    "attention.self",
    "attention.output.dense",
    "attention.output.dense",
    "output.dense",
    "output.dense",
    head=("cls",),
    masked=True,
)
_ROBERTA = replace(
    _BERT,
    base="roberta",
    blocks="roberta.encoder.layer",
    embed="roberta.embeddings.word_embeddings",
    head=("lm_head",),
)
_DISTILBERT = Layout(
    "distilbert",
    "distilbert.transformer.layer",
    "distilbert.embeddings.word_embeddings",
    "attention",
    "attention.out_lin",
    "attention.out_lin",
    "ffn.lin2",
    "ffn.lin2",
    head=("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
    masked=True,
)
LAYOUTS = {
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    "fact_net": _FACT_NET,
    "gemma": _LLAMA,
    "gemma2": _NORMALISED,
    "gemma3_text": _NORMALISED,
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _NORMALISED,
    "olmo3": _NORMALISED,
    "opt": _OPT,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "roberta": _ROBERTA,
    "rule_net": _RULE_NET,
}
"""Hugging Face model type to layout."""


def layout_of(kind: str) -> Layout:
    """The layout of a model type.

    Raises:
        BadModel: if there is none.
    """
    if kind not in LAYOUTS:
        raise BadModel(
            f"language models of type {kind!r} are not known; known are {', '.join(sorted(LAYOUTS))}. "
            "Add a line to LAYOUTS in vlbias/models/language/layouts.py"
        )
    return LAYOUTS[kind]
