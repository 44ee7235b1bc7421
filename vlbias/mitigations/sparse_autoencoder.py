"""Sparse autoencoders of features: read from a user's folder, or trained here on a few thousand tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlbias.errors import BadModel
from vlbias.files import read_object

__all__ = ["SparseAutoencoder", "read_autoencoder", "train_autoencoder"]

_NAMES = {
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "decoder.weight": "W_dec",
    "decoder.bias": "b_dec",
}
"""Names of linear maps, [out, in], to the names [in, out] that most publish."""
_KINDS = ("standard", "jumprelu", "topk")
_BATCH = 256


@dataclass(frozen=True)
class SparseAutoencoder:
    """Features f = act((x - centre) W + bias), and what they stand for: x is about f D + b.

    Args:
        encoder: W, [D, F].
        bias: [F].
        centre: [D]; zeros where nothing is subtracted.
        decoder: D, [F, D].
        offset: b, [D].
        threshold: Below which a feature is 0, [F]; zeros for a plain ReLU.
        k: How many features of a token may be active; 0 for any number.
    """

    encoder: Tensor
    bias: Tensor
    centre: Tensor
    decoder: Tensor
    offset: Tensor
    threshold: Tensor
    k: int = 0

    @property
    def width(self) -> int:
        """Of what it reads."""
        return self.encoder.shape[0]

    @property
    def count(self) -> int:
        """Of features."""
        return self.encoder.shape[1]

    def features(self, x: Tensor) -> Tensor:
        """Features [..., F] of tokens [..., D]."""
        before = (x - self.centre.to(x)) @ self.encoder.to(x) + self.bias.to(x)
        active = before.clamp(min=0) * (before > self.threshold.to(x))
        if not self.k:
            return active
        values, places = active.topk(min(self.k, self.count), dim=-1)
        return torch.zeros_like(active).scatter(-1, places, values)

    def unexplained(self, x: Tensor) -> float:
        """Share of the variance of tokens [N, D] that the features do not reconstruct."""
        left = x - (self.features(x) @ self.decoder.to(x) + self.offset.to(x))
        return float(left.square().sum() / (x - x.mean(0)).square().sum().clamp(min=1e-30))


def read_autoencoder(folder: Path) -> SparseAutoencoder:
    """The autoencoder of a folder with one file of weights as safetensors and perhaps a cfg.json.

    Weights are `W_enc` [D, F], `b_enc`, `W_dec` [F, D] and `b_dec` as SAELens names them, or `encoder.weight`
    [F, D], `encoder.bias`, `W_dec`, `b_dec` as sparsify does; `threshold` makes a JumpReLU. cfg.json may say
    `architecture` (standard, jumprelu, topk), `k`, and `apply_b_dec_to_input`.

    Raises:
        BadModel: if weights are missing or do not fit, or the settings ask for what is not known here.
    """
    if not folder.is_dir():
        raise BadModel(f"{folder} is no folder: give that of a sparse autoencoder")
    # how often features are active stands beside the weights
    files = sorted(p for p in folder.glob("*.safetensors") if p.stem != "sparsity")
    if len(files) != 1:
        raise BadModel(
            f"{folder}: expected one .safetensors file with the weights of a sparse autoencoder, found "
            f"{', '.join(path.name for path in files) or 'none'}"
        )
    try:
        given = {key: value.float() for key, value in load_file(files[0]).items()}
    except (OSError, SafetensorError) as error:
        raise BadModel(f"{files[0]} cannot be read: {error}; fetch it again") from error
    settings: Mapping[str, Any] = {}
    if (folder / "cfg.json").is_file():
        settings = read_object(folder / "cfg.json", BadModel, "fetch it again")
    weights = _named(given)
    lacking = sorted({"W_enc", "b_enc", "W_dec", "b_dec"} - set(weights))
    if lacking:
        raise BadModel(
            f"{files[0]}: no {', no '.join(lacking)}; there are {', '.join(sorted(given))}"
        )
    return _made(folder, weights, settings)


def _named(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under one set of names, [in, out]."""
    found = {}
    for key, value in given.items():
        name = _NAMES.get(key, key)
        found[name] = value.T if key.endswith(".weight") else value
    return found


def _made(
    folder: Path, weights: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> SparseAutoencoder:
    nested = settings.get("activation_fn_kwargs")
    k = int(settings.get("k") or (nested.get("k") if isinstance(nested, dict) else 0) or 0)
    kind = str(settings.get("architecture") or ("topk" if k else ""))
    kind = kind or ("jumprelu" if "threshold" in weights else "standard")
    scaled = settings.get("normalize_activations") not in (None, "none", "")
    scaled |= bool(settings.get("finetuning_scaling_factor"))
    if kind not in _KINDS or scaled or (kind == "topk" and not k):
        expected = f"architecture {', '.join(_KINDS)} (topk with k), without scaled activations"
        raise BadModel(f"{folder / 'cfg.json'}: {dict(settings)}"[:300] + f": expected {expected}")
    encoder, decoder = weights["W_enc"], weights["W_dec"]
    width, count = encoder.shape
    shapes = {"b_enc": (count,), "W_dec": (count, width), "b_dec": (width,), "threshold": (count,)}
    for name, shape in shapes.items():
        if name in weights and tuple(weights[name].shape) != shape:
            found = tuple(weights[name].shape)
            raise BadModel(
                f"{folder}: {name} is {found}, with W_enc {(width, count)} expected {shape}"
            )
    offset = weights["b_dec"]
    centred = bool(settings.get("apply_b_dec_to_input", kind != "jumprelu"))
    threshold = weights.get("threshold", torch.zeros(count))
    return SparseAutoencoder(
        encoder.contiguous(),
        weights["b_enc"],
        offset if centred else torch.zeros(width),
        decoder.contiguous(),
        offset,
        threshold if kind == "jumprelu" else torch.zeros(count),
        k if kind == "topk" else 0,
    )


@torch.inference_mode(False)
def train_autoencoder(
    x: Tensor, *, count: int, k: int, steps: int, rng: np.random.Generator
) -> SparseAutoencoder:
    """An autoencoder with k active features a token (Gao et al. 2024, arXiv 2406.04093).

    There is no loss on features that are never active.

    Args:
        x: Tokens [N, D].
        count: Of features.
        k: Active ones.
        steps: Of Adam, on 256 tokens each.
        rng: Draws first weights and tokens.
    """
    x = x.detach().clone().float().cpu()
    middle = x.mean(0)
    size = (x - middle).square().mean().sqrt().clamp(min=1e-12)
    z = (x - middle) / size
    first = torch.tensor(rng.standard_normal((count, x.shape[1]))).float()
    decoder = torch.nn.functional.normalize(first, dim=1).requires_grad_()
    encoder = decoder.detach().T.clone().requires_grad_()
    bias, offset = (
        torch.zeros(count, requires_grad=True),
        torch.zeros(x.shape[1], requires_grad=True),
    )
    optimiser = torch.optim.Adam([encoder, bias, decoder, offset], lr=3e-3)
    with torch.enable_grad():
        for _ in range(steps):
            part = z[torch.tensor(rng.integers(0, len(z), _BATCH))]
            net = SparseAutoencoder(encoder, bias, offset, decoder, offset, torch.zeros(count), k)
            loss = (net.features(part) @ decoder + offset - part).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                decoder.copy_(torch.nn.functional.normalize(decoder, dim=1))
    centre = middle + size * offset.detach()
    return SparseAutoencoder(
        encoder.detach() / size, bias.detach(), centre, decoder.detach() * size, centre,
        torch.zeros(count), k,
    )  # fmt: skip
