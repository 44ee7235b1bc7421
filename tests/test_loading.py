"""What is refused or mended when a model is loaded, since its numbers would be another model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_language import write_language
from tiny_models import write_hf
from tiny_tokenizers import WORDS, siglip2_tokenizer, word_pieces

from vlbias.errors import BadModel
from vlbias.models import load_model, outline_model


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def gemma_tokenizer() -> Any:
    from transformers import GemmaTokenizer

    pieces, merges = word_pieces([["▁", *word] for word in WORDS], False)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *pieces])}
    return GemmaTokenizer(vocab=vocabulary, merges=merges)


def test_siglip_with_the_tokenizer_of_gemma_reads_lower_case(tmp_path: Path) -> None:
    folder = write_hf("siglip", tmp_path / "siglip")
    for path in folder.glob("token*"):
        path.unlink()
    gemma_tokenizer().save_pretrained(folder)
    vocabulary = len(siglip2_tokenizer())
    assert vocabulary == len(gemma_tokenizer())
    model = load_model(str(folder))
    texts = ["A Photo of a MAN", "a photo of a man"]
    upper, lower = model.collate("text_encoder", texts)["input_ids"].tolist()
    assert upper == lower
    wanted = siglip2_tokenizer()(texts[0])["input_ids"]
    assert [token for token in upper if token][-len(wanted) :] == wanted


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("gemma3", "use_bidirectional_attention"), ("gemma2", "use_bidirectional_attention"),
     ("bert", "is_decoder"), ("roberta", "is_decoder")],
)  # fmt: skip
@pytest.mark.parametrize("read", [load_model, outline_model])
def test_a_model_that_reads_in_another_direction_is_refused(
    tmp_path: Path, kind: str, setting: str, read: Any
) -> None:
    folder = write_language(kind, tmp_path / kind)
    edit(folder / "config.json", **{setting: True})
    with pytest.raises(BadModel, match=setting):
        read(str(folder))
