"""What is refused or mended when a model is loaded, since its numbers would be another model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_language import write_language
from tiny_models import write_hf, write_openclip
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


def weights(folder: Path, **changes: torch.Tensor) -> None:
    """Write some weights of a folder anew, dots in their names as double underscores."""
    path = next(folder.glob("*.safetensors"))
    content = load_file(path) | {k.replace("__", "."): v for k, v in changes.items()}
    save_file(content, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("gpt2", "n_layer"), ("llama", "num_hidden_layers"), ("bert", "num_hidden_layers")],
)
def test_weights_of_more_layers_than_the_settings_have_are_refused(
    tmp_path: Path, kind: str, setting: str
) -> None:
    folder = write_language(kind, tmp_path / kind)
    edit(folder / "config.json", **{setting: 2, "layer_types": None})
    with pytest.raises(BadModel, match=r"weights have no place.*2\."):
        load_model(str(folder))


def test_weights_of_more_layers_of_an_encoder_are_refused(tmp_path: Path) -> None:
    folder = write_hf("clip", tmp_path / "clip")
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit(folder / "config.json", text_config=text | {"num_hidden_layers": 2})
    with pytest.raises(BadModel, match=r"weights have no place.*text_model\.encoder\.layers\.2"):
        load_model(str(folder))


def test_weights_that_no_number_hangs_on_may_be_left_over(tmp_path: Path) -> None:
    folder = write_language("bert", tmp_path / "bert")
    weights(
        folder,
        bert__embeddings__position_ids=torch.arange(160)[None],
        bert__pooler__dense__weight=torch.zeros(16, 16),
        cls__seq_relationship__weight=torch.zeros(2, 16),
    )
    assert load_model(str(folder)).name == "bert"
    folder = write_language("gpt2", tmp_path / "gpt2")
    weights(folder, transformer__h__0__attn__masked_bias=torch.tensor(-1e4))
    assert load_model(str(folder)).name == "gpt2"


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["clip", "gpt2", "openclip"])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, kind: str, broken: float) -> None:
    writers = {"clip": write_hf, "gpt2": write_language}
    if kind == "openclip":
        folder, name = write_openclip(tmp_path / kind), "text_projection"
    else:
        folder = writers[kind](kind, tmp_path / kind)
        name = {"clip": "text_projection.weight", "gpt2": "transformer.ln_f.weight"}[kind]
    tensor = load_file(next(folder.glob("*.safetensors")))[name]
    tensor.view(-1)[3] = broken
    weights(folder, **{name: tensor})
    with pytest.raises(BadModel, match=f"{name}.*NaN or infinite"):
        load_model(str(folder))


@pytest.mark.parametrize("std", [[0.5, 0.0, 0.5], [0.5, float("nan"), 0.5]])
def test_pixels_divided_by_zero_are_refused(tmp_path: Path, std: list[float]) -> None:
    folder = write_hf("clip", tmp_path / "clip")
    edit(folder / "preprocessor_config.json", image_std=std)
    with pytest.raises(BadModel, match="image_std"):
        load_model(str(folder))
    folder = write_openclip(tmp_path / "openclip")
    content = json.loads((folder / "open_clip_config.json").read_text())
    edit(
        folder / "open_clip_config.json",
        preprocess_cfg=content["preprocess_cfg"] | {"std": std},
    )
    with pytest.raises(BadModel, match="image_std"):
        load_model(str(folder))
