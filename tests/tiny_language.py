"""Minuscule random language models of every family, with real tokenizers, made loud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import loud
from tiny_tokenizers import word_pieces

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Inputs

WORDS = [
    "The", "nurse", "doctor", "clerk", "man", "woman", "person", "said", "that", "because", "told",
    "the", "he", "she", "they", "was", "tired", "happy", "ran", "ate", "home", "went", ".",
]  # fmt: skip
WIDTH, LAYERS, HEADS = 16, 3, 4
_SHAPE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 160,
}
_OPT = {key: size for key, size in _SHAPE.items() if key != "intermediate_size"}
_GQA = {**_SHAPE, "num_key_value_heads": 2}


def byte_tokenizer(bos: bool = False) -> Any:
    """Byte-level pieces; every known word after a space is one token, others are several."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces, merges = word_pieces([["Ġ", *word] for word in WORDS] + [list("The")], False)
    special = ["<s>", "<pad>", "</s>"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*special, *letters, *pieces]))}
    inner = Tokenizer(models.BPE(vocabulary, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if bos:
        inner.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def mask_tokenizer(kind: str) -> Any:
    """Of BERT or RoBERTa, with special tokens at both ends."""
    from transformers import BertTokenizerFast, RobertaTokenizerFast

    if kind == "roberta":
        pieces, merges = word_pieces([["Ġ", *word] for word in WORDS], False)
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        letters = [chr(code) for code in range(33, 127)]
        every = dict.fromkeys([*special, *letters, *pieces])
        vocabulary = {piece: i for i, piece in enumerate(every)}
        return RobertaTokenizerFast(vocab=vocabulary, merges=merges, add_prefix_space=True)
    letters = [mark + chr(code) for code in range(97, 123) for mark in ("", "##")]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    every = dict.fromkeys([*special, *(word.lower() for word in WORDS), *letters])
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(every)})


def _config(kind: str, vocabulary: int) -> Any:
    import transformers as hf

    size = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 2}
    sizes = {"n_layers": LAYERS, "n_heads": HEADS, "max_position_embeddings": 160}
    wide = {**_GQA, "head_dim": 6}
    plain: dict[str, tuple[str, dict[str, Any]]] = {
        "gpt2": ("GPT2", {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 160}),
        "llama": ("Llama", _GQA),
        "qwen2": ("Qwen2", _GQA),
        "qwen3": ("Qwen3", wide),
        "gemma": ("Gemma", wide),
        "gemma2": (
            "Gemma2",
            {
                **wide,
                "sliding_window": 4,
                "attn_logit_softcapping": 5.0,
                "final_logit_softcapping": 4.0,
            },
        ),
        "gemma3": ("Gemma3Text", {**wide, "sliding_window": 4}),
        "gpt_neox": ("GPTNeoX", _SHAPE),
        "opt": ("OPT", {**_OPT, "word_embed_proj_dim": WIDTH, "ffn_dim": 2 * WIDTH}),
        "olmo": ("Olmo", _GQA),
        "olmo2": ("Olmo2", _GQA),
        "bert": ("Bert", _SHAPE),
        "roberta": ("Roberta", {**_SHAPE, "pad_token_id": 1}),
        "distilbert": ("DistilBert", {**sizes, "dim": WIDTH, "hidden_dim": 2 * WIDTH}),
    }
    name, options = plain[kind]
    return getattr(hf, name + "Config")(**{**size, **options})


CAUSAL = (
    *("gpt2", "gpt_neox", "opt", "llama", "qwen2", "qwen3"),
    *("gemma", "gemma2", "gemma3", "olmo", "olmo2"),
)
MASKED = ("bert", "roberta", "distilbert")


def write_language(kind: str, folder: Path) -> Path:
    """The folder of a loud language model, as `save_pretrained` writes it."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    tokenizer = mask_tokenizer(kind) if kind in MASKED else byte_tokenizer(bos=kind == "llama")
    torch.manual_seed(0)
    config = _config(kind, len(tokenizer))
    maker = AutoModelForMaskedLM if kind in MASKED else AutoModelForCausalLM
    for part in (loud(maker.from_config(config)), tokenizer):
        part.save_pretrained(folder)
    return folder


def cloze(who: str = "nurse", *candidates: str, frame: str = "The {} said that") -> Cloze:
    start = frame.index("{}")
    spans = (("word", start, start + len(who)),)
    return Cloze(frame.format(who), candidates or ("he", "she"), spans)


def language_sides(after: str = "") -> tuple[list[Inputs], list[Inputs]]:
    """Three examples in two worlds: two with candidates of one token, one with longer ones."""
    from dataclasses import replace

    longer = ("was tired", "ran home")
    frame = "The {} told the man that"
    base = [cloze("nurse"), cloze("clerk", *longer, frame=frame), cloze("doctor")]
    cf = [cloze("man"), cloze("person", *longer, frame=frame), cloze("woman")]
    sides = [[{"text": replace(c, after=after)} for c in side] for side in (base, cf)]
    return sides[0], sides[1]


Write = Callable[[str], Path]
