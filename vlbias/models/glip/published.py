"""The published GLIP models: their files on the hub and what their shapes have of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["HUB", "PUBLISHED", "Published"]

HUB = "GLIPModel/GLIP"
"""The authors' repository of checkpoints on the Hugging Face hub."""


@dataclass(frozen=True, slots=True)
class Published:
    """A published checkpoint.

    Args:
        file: Its name in the repository.
        about: What it was trained on, for lists.
        shape: Fields of `GlipConfig` that are not as they are by default.
    """

    file: str
    about: str
    shape: dict[str, Any] = field(default_factory=dict)


_LARGE = {
    "embed_dim": 192,
    "depths": (2, 2, 18, 2),
    "num_heads": (6, 12, 24, 48),
    "window_size": 12,
    "num_layers": 8,
}

PUBLISHED = {
    "glip-tiny-a": Published(
        "glip_a_tiny_o365.pth",
        "GLIP-T (A), Swin-T without deep fusion, Objects365 (Microsoft)",
        {"fused": False},
    ),
    "glip-tiny-b": Published(
        "glip_tiny_model_o365.pth", "GLIP-T (B), Swin-T, Objects365 (Microsoft)"
    ),
    "glip-tiny-c": Published(
        "glip_tiny_model_o365_goldg.pth", "GLIP-T (C), Swin-T, Objects365 and GoldG (Microsoft)"
    ),
    "glip-tiny": Published(
        "glip_tiny_model_o365_goldg_cc_sbu.pth",
        "GLIP-T, Swin-T, Objects365, GoldG and captions (Microsoft)",
    ),
    "glip-large": Published(
        "glip_large_model.pth", "GLIP-L, Swin-L, four sets, GoldG and captions (Microsoft)", _LARGE
    ),
}
"""Name in lists to checkpoint; shapes are those of configs/pretrain of microsoft/GLIP."""
