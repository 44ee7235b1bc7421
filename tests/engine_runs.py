"""Examples and mediators of tiny models, and the engine's arms of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tiny_models
import tiny_photos
import torch
from torch import nn

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Arm, Engine, altered_channels
from vlbias.causal.example import Example, mix
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve

ADAPTERS = [*tiny_models.HF, "openclip"]
BOTH, IMAGE, TEXT, NONE = (Contrast("null", other) for other in ("both", "image", "text", "null"))
SEVERAL = (
    "image_encoder/attn.0+image_encoder/mlp.2",
    "text_encoder/neuron.0[0,3]@1+text_encoder/mlp.1@2",
    "image_encoder/mlp.1+text_encoder/attn.0",
    "image_encoder/neuron.0[1]@0,2+text_encoder",
    "image_encoder+text_encoder",
    "image_encoder+image_encoder/mlp.2",
)  # fmt: skip


Load = Callable[[str], StagedModel]
Arms = dict[tuple[Contrast, str, str], Arm]


def examples_of(n: int = 2) -> list[Example]:
    base, cf = tiny_photos.sides(n)
    return [
        Example(
            str(i),
            str(i),
            {"null": a, "both": b, "image": mix(a, b, {"image"}), "text": mix(a, b, {"text"})},
        )
        for i, (a, b) in enumerate(zip(base, cf, strict=True))
    ]


def mediators_of(model: StagedModel) -> list[Mediator]:
    """Every encoder, attention, MLP and head; neurons at positions; several sites together."""
    patterns = []
    for stage in ("image_encoder", "text_encoder"):
        ports = {port.name for port in model.ports if port.stage == stage}
        patterns += [stage, f"{stage}/attn.*", f"{stage}/mlp.*", f"{stage}/resid.1"]
        patterns += [f"{stage}/head.*[*]", f"{stage}/head.1[1]@-1"] if "head" in ports else []
        patterns += [f"{stage}/neuron.0[3]", f"{stage}/neuron.2[0,5]@1", f"{stage}/attn.1@0,2"]
        patterns += [f"{stage}/neuron.1@-1", f"{stage}/resid.0@-2", f"{stage}/resid.2[0,1]"]
    return resolve(model, [*patterns, *SEVERAL])


def run(
    model: StagedModel,
    contrasts: list[Contrast],
    mediators: list[Mediator],
    examples: list[Example] | None = None,
    **options: Any,
) -> Arms:
    examples = examples_of() if examples is None else examples
    options.setdefault("altered", altered_channels(examples, contrasts))
    engine = Engine(model, contrasts, mediators, **options)
    return {(arm.contrast, arm.mediator, arm.arm): arm for arm in engine.run(examples)}


def score(arms: Arms, contrast: Contrast, mediator: str, arm: str) -> torch.Tensor:
    key = (contrast, "" if arm in ("00", "11") else mediator, arm)
    return arms[key].readout["class_logits"]


def toy_examples(n: int = 4) -> list[Example]:
    vectors = torch.randn(2, n, 2, 8, generator=torch.Generator().manual_seed(1)).double().tolist()
    return [
        Example(
            str(i),
            str(i),
            {
                world: {"image": tuple(vectors[k][i][0]), "text": tuple(vectors[k][i][1])}
                for k, world in enumerate(("null", "both"))
            },
        )
        for i in range(n)
    ]


TRACED = 5  # rows: a tower is traced once on two and once on three rows


@contextmanager
def rows_through(module: nn.Module) -> Iterator[list[int]]:
    """How many rows each executed call of the module's children's parameters saw."""
    seen: list[int] = []
    handle = module.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(next(iter([*args, *kwargs.values()])).shape[0]),
        with_kwargs=True,
    )
    try:
        yield seen
    finally:
        handle.remove()
