"""Real tokenizers of a few words, as tiny models read them."""

from __future__ import annotations

from typing import Any

WORDS = [
    "a",
    "an",
    "the",
    "photo",
    "picture",
    "image",
    "of",
    "man",
    "woman",
    "person",
    "people",
    "with",
    "and",
    "bicycle",
    "umbrella",
    "dog",
    "cup",
    "horse",
    "riding",
    "holding",
    "his",
    "her",
    "their",
    "near",
    "big",
    "very",
    "on",
    "street",
    "road",
    ".",
    ",",
]


def bert_tokenizer() -> Any:
    from transformers import BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)})


def word_pieces(
    words: list[list[str]], from_end: bool
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair vocabulary and merges in which every word is one piece.

    Merges grow from the end that carries the word's mark, so that no two words' merges interfere.
    """
    alphabet = {piece for word in words for piece in word}
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = list(word)
        while len(parts) > 1:
            pair = (parts[-2], parts[-1]) if from_end else (parts[0], parts[1])
            parts = [*parts[:-2], "".join(pair)] if from_end else ["".join(pair), *parts[2:]]
            merges.append(pair)
            alphabet.add("".join(pair))
    return {piece: i for i, piece in enumerate(sorted(alphabet))}, list(dict.fromkeys(merges))


def clip_tokenizer(more: tuple[str, ...] = ()) -> Any:
    from transformers import CLIPTokenizer

    words = [*WORDS, *more]
    vocabulary, merges = word_pieces([[*word[:-1], word[-1] + "</w>"] for word in words], True)
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


def roberta_tokenizer() -> Any:
    from transformers import RobertaTokenizerFast

    pieces, merges = word_pieces([["Ġ", *word] for word in WORDS], False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *pieces])}
    return RobertaTokenizerFast(vocab=vocabulary, merges=merges, add_prefix_space=True)


def siglip2_tokenizer() -> Any:
    from transformers import Siglip2Tokenizer

    pieces, merges = word_pieces([["▁", *word] for word in WORDS], False)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *pieces])}
    return Siglip2Tokenizer(vocab=vocabulary, merges=merges)


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )
