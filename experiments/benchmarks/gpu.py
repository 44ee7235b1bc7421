"""The engine on a GPU: times, memory and exactness of three kinds of models, in float32 and bfloat16.

    python experiments/benchmarks/gpu.py --out gpu.md
    python experiments/benchmarks/gpu.py --small --out small.md      what a CPU can do in half an hour

CLIP ViT-L/14, Grounding DINO tiny, and a generative model of 2 billion weights in LLaVA's shape. Weights are
random: only times, memory and differences mean anything. A number is one score of one photo under one
mediator in one direction. The naive time of a number is that of a full pass of one row, whose hook costs
nothing. Exactness is checked with the same weights: a world against itself must have effects of exactly 0, a
model cut into whole encoders must give the other world's scores, and the engine must give what it gives
without any of its short cuts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from detector_inputs import Held, published
from image_text import Shape, example, made
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Arm, Engine, altered_channels
from vlbias.causal.example import Example, Picture, mix
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.models.dual import HfDual

BASE = "null"


@dataclass(frozen=True)
class Case:
    """A model with one example in the worlds null, image and text, and what is measured of it.

    Args:
        name: For the table.
        build: The model in a type of numbers on a device, and the example.
        sites: Mediators that are timed.
        encoders: Stages that together hand over all of the inputs.
    """

    name: str
    build: Callable[[torch.dtype, str], tuple[StagedModel, Example]]
    sites: Sequence[str]
    encoders: Sequence[str]


@dataclass(frozen=True)
class Row:
    """One line of the table; times in milliseconds, differences relative to the largest score."""

    model: str
    numbers: str
    weights: str
    full_pass_ms: float
    engine_ms: float
    faster: float
    photos_per_s: float
    memory_gib: float
    itself: float
    cut: float
    short_cuts: float


def dual(small: bool) -> Callable[[torch.dtype, str], tuple[StagedModel, Example]]:
    """CLIP in the shape of ViT-L/14, or a small one."""

    def build(dtype: torch.dtype, device: str) -> tuple[StagedModel, Example]:
        torch.manual_seed(0)
        wide, deep, heads = (64, 2, 2) if small else (1024, 24, 16)
        text = (64, 2, 2) if small else (768, 12, 12)
        words = ["[UNK]", "[PAD]", "a", "photo", "of", "man", "woman", "with", "cup"]
        inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer = hf.PreTrainedTokenizerFast(
            tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]"
        )
        vision = hf.CLIPVisionConfig(
            hidden_size=wide, intermediate_size=4 * wide, num_hidden_layers=deep, num_attention_heads=heads,
            image_size=224, patch_size=14,
        )  # fmt: skip
        language = hf.CLIPTextConfig(
            hidden_size=text[0], intermediate_size=4 * text[0], num_hidden_layers=text[1],
            num_attention_heads=text[2], bos_token_id=0, eos_token_id=8, pad_token_id=1,
        )  # fmt: skip
        config = hf.CLIPConfig(
            text_config=language.to_dict(), vision_config=vision.to_dict(), projection_dim=wide
        )
        net = hf.CLIPModel(config).to(device, dtype)
        processor = hf.CLIPImageProcessor()
        model = HfDual(net, processor, tokenizer, name="clip", revision="random")
        pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
        one, other = (Picture(Image.fromarray(array)) for array in pixels)
        texts = ("a photo of a man with a cup", "a photo of a woman with a cup")
        return model, worlds_of(
            {"image": one, "text": texts[0]}, {"image": other, "text": texts[1]}
        )

    return build


class OnDevice(Held):
    """A detector on tensors that are moved to where it is."""

    def collate(self, tower: str, rows: Sequence[Any]) -> dict[str, torch.Tensor]:
        """See `Held.collate`."""
        place = next(self.net.parameters()).device
        return {key: value.to(place) for key, value in super().collate(tower, rows).items()}


def detector(small: bool) -> Callable[[torch.dtype, str], tuple[StagedModel, Example]]:
    """Grounding DINO tiny as published, on photos of 800 px, or of 224."""

    def build(dtype: torch.dtype, device: str) -> tuple[StagedModel, Example]:
        torch.manual_seed(0)
        held = OnDevice(published().to(device, dtype), 224 if small else 800)
        return held, worlds_of({"image": 0, "text": 0}, {"image": 1, "text": 1})

    return build


def generative(small: bool) -> Callable[[torch.dtype, str], tuple[StagedModel, Example]]:
    """A LLaVA with a language model of 24 blocks of width 2,560 and CLIP-L's image encoder, or a small one."""
    shape = Shape(4, 128, 4, 2, 64, 2) if small else Shape(24, 2560, 20, 24, 1024, 16)

    def build(dtype: torch.dtype, device: str) -> tuple[StagedModel, Example]:
        model = made(dtype, shape)
        model.net.to(device)
        return model, example()

    return build


def worlds_of(base: dict[str, Any], cf: dict[str, Any]) -> Example:
    """One example in the worlds null, image and text."""
    changed = {channel: mix(base, cf, {channel}) for channel in base}
    return Example("0", "0", {BASE: base, **changed})


def cases(small: bool) -> list[Case]:
    """The three models."""
    clip, llava = (
        ("CLIP, small", "LLaVA, small") if small else ("CLIP ViT-L/14", "LLaVA shape, 2 B")
    )
    streams = ["fusion_encoder/text_stream.*", "fusion_encoder/vision_stream.*"]
    blocks = ["image_encoder/attn.*", "image_encoder/mlp.*"]
    return [
        Case(clip, dual(small), blocks, ["image_encoder"]),
        Case("Grounding DINO tiny", detector(small), streams, ["image_encoder"]),
        Case(llava, generative(small), ["lm/attn.*", "lm/mlp.*"], ["image_encoder"]),
    ]


def measured(case: Case, dtype: torch.dtype, device: str) -> Row:
    """One line: times after a first pass that warms up, memory, and the three checks."""
    model, sample = case.build(dtype, device)
    net: torch.nn.Module = model.net
    mediators = resolve(model, case.sites)
    _, seconds = timed(lambda: arms_of(model, sample, "image", []), device)
    found, whole = timed(lambda: arms_of(model, sample, "image", mediators), device)
    passes = 2  # the two worlds
    full, jobs = seconds / passes, 2 * len(mediators)
    each = (whole - seconds) / jobs
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
    itself = arms_of(model, sample, BASE, mediators[:2])
    encoders = [Mediator.of([name]) for name in case.encoders]
    cut = arms_of(model, sample, "image", encoders)
    slow = arms_of(model, sample, "image", mediators[:2], shortcut=False)
    name = case.encoders[0]
    return Row(
        case.name, str(dtype).removeprefix("torch."), f"{sum(p.numel() for p in net.parameters()) / 1e6:.0f} M",
        full * 1e3, each * 1e3, full / each, 1 / full, memory,
        max(gap(itself["", "00"], arm) for arm in itself.values()),
        max(gap(cut["", "11"], cut[name, "01"]), gap(cut["", "00"], cut[name, "10"])),
        max(gap(arm, found[key]) for key, arm in slow.items()),
    )  # fmt: skip


def timed(run: Callable[[], Any], device: str) -> tuple[Any, float]:
    """What a function gives the second time, and its wall seconds; the GPU is waited for."""
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    given = run()
    if device == "cuda":
        torch.cuda.synchronize()
    return given, time.perf_counter() - began


def arms_of(
    model: StagedModel,
    sample: Example,
    cf: str,
    mediators: Sequence[Mediator],
    *,
    shortcut: bool = True,
) -> dict[tuple[str, str], Arm]:
    """Mediator and arm to what the model reads out."""
    contrasts = [Contrast(BASE, cf)]
    engine = Engine(model, contrasts, mediators, altered=altered_channels([sample], contrasts))
    if not shortcut:
        for plan in engine.plans.values():
            plan.shortcut = plan.narrow = plan.lazy = False
    return {(arm.mediator, arm.arm): arm for arm in engine.run([sample])}


def gap(one: Arm, other: Arm) -> float:
    """Largest difference of two readouts, relative to the largest number of the first."""
    worst = 0.0
    for key, value in one.readout.items():
        scale = max(float(value.abs().max()), 1e-12)
        worst = max(worst, float((value - other.readout[key]).abs().max()) / scale)
    return worst


def table(rows: Sequence[Row]) -> str:
    """Markdown, one line a model and type of numbers."""
    heads = list(asdict(rows[0]))
    lines = [
        "| " + " | ".join(head.replace("_", " ") for head in heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for row in rows:
        cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in asdict(row).values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure every case and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="Markdown file; printed in any case")
    parser.add_argument(
        "--small", action="store_true", help="small shapes; without a GPU in any case"
    )
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    small = given.small or device == "cpu"
    where = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else "CPU, small shapes: says nothing of a GPU"
    )
    rows = []
    for case in cases(small):
        for dtype in (torch.float32, torch.bfloat16):
            if device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            rows.append(measured(case, dtype, device))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    text = f"Random weights, {where}, torch {torch.__version__}.\n\n{table(rows)}\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
