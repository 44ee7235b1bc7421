"""The engine on a generative model of LLaVA's shape with 576 image tokens, against one full pass a number.

python experiments/benchmarks/image_text.py            8 blocks of width 256, every head of the language model
python experiments/benchmarks/image_text.py --heads 16 --plain 4      fewer of both

Weights are random: only times and differences mean anything. Times are those of the processor (CPU seconds),
which other programs hardly move. The ceiling is what must run behind a replacement in any case: the blocks
behind it and half of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from vlbias.causal.cloze import Cloze
from vlbias.causal.conformance_tools import hooked
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example, Picture, mix
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.models.image_text.adapter import ImageText

SIDE, PATCH, BLOCKS, WIDTH, HEADS = 336, 14, 8, 256, 8


@dataclass(frozen=True)
class Shape:
    """Blocks, width and heads of the language model and of the image encoder."""

    blocks: int = BLOCKS
    width: int = WIDTH
    heads: int = HEADS
    image_blocks: int = 6
    image_width: int = 128
    image_heads: int = 4


WORDS = [
    "is",
    "there",
    "a",
    "man",
    "person",
    "in",
    "this",
    "image",
    "?",
    "USER",
    "ASSISTANT",
    ":",
    "yes",
    "no",
]


def made(dtype: torch.dtype, shape: Shape | None = None) -> ImageText:
    """A LLaVA of random weights, with its processor."""
    shape = shape or Shape()
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers

    every = ["<pad>", "<s>", "</s>", "<unk>", "<image>", *WORDS]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(every)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    torch.manual_seed(0)
    vision = hf.CLIPVisionConfig(
        hidden_size=shape.image_width,
        intermediate_size=2 * shape.image_width,
        num_hidden_layers=shape.image_blocks,
        num_attention_heads=shape.image_heads,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=32,
    )
    text = hf.LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=43 * shape.width // 16,
        num_hidden_layers=shape.blocks,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        vocab_size=len(every),
        max_position_embeddings=1024,
        pad_token_id=0,
    )
    net = hf.LlavaForConditionalGeneration(
        hf.LlavaConfig(
            vision_config=vision, text_config=text, image_token_id=every.index("<image>")
        )
    )
    with torch.no_grad():  # loud, so that a difference is one
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 1.5 * weight.shape[-1] ** -0.5)
    pixels = hf.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    template = "{% for m in messages %}USER : <image> {{ m['content'][1]['text'] }}{% endfor %} ASSISTANT :"
    processor = hf.LlavaProcessor(
        pixels,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return ImageText(net.to(dtype), processor, name="llava", revision="random")


def example() -> Example:
    """One photo of noise, and another; one question, and another."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    one, other = ({"image": Picture(Image.fromarray(array))} for array in pixels)
    texts = [
        Cloze(f"is there a {word} in this image ?", ("yes", "no")) for word in ("man", "person")
    ]
    base, cf = {**one, "text": texts[0]}, {**other, "text": texts[1]}
    worlds = {"null": base, "text": mix(base, cf, {"text"}), "image": mix(base, cf, {"image"})}
    return Example("0", "0", worlds)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, and its CPU seconds."""
    began = time.process_time()
    given = run()
    return given, time.process_time() - began


def by_engine(
    model: ImageText, sample: Example, contrast: Contrast, mediators: Sequence[Mediator]
) -> tuple[dict[tuple[str, str], torch.Tensor], float]:
    """Scores of both mediated arms by mediator, and CPU seconds."""
    altered = altered_channels([sample], [contrast])
    engine = Engine(model, [contrast], mediators, altered=altered)
    rows = [model.split(sample.worlds[contrast.base])["model"][0]]
    engine.plans["model"]._ensure_trace(model.collate("model", rows))  # once a study, not a photo
    arms, seconds = timed(lambda: list(engine.run([sample])))
    return {(a.mediator, a.arm): a.readout["candidate_score"][0] for a in arms}, seconds


def one_pass_each(
    model: ImageText, sample: Example, contrast: Contrast, mediators: Sequence[Mediator]
) -> tuple[dict[tuple[str, str], torch.Tensor], float]:
    """The same by one full pass of both rows with one hook; a pass serves one number."""
    tower = model.towers[0]
    rows = [model.split(sample.worlds[world])["model"][0] for world in (contrast.base, contrast.cf)]
    batch = model.collate("model", rows)
    flipped = model.collate("model", rows[::-1])
    plan = SweepPlan(model, tower, mediators)
    plan._ensure_trace(batch)
    found, seconds = {}, 0.0
    for mediator in mediators:
        for arm, both in (("01", batch), ("10", flipped)):
            value, took = timed(
                lambda both=both, m=mediator: hooked(model, tower, both, plan, m.sites[0], 1)
            )
            # the donor's own pass is recorded once in either way: half of two rows
            found[mediator.name, arm], seconds = value, seconds + took / 2
    return found, seconds


def seconds_of_image(model: ImageText, sample: Example) -> float:
    """CPU seconds of image encoder and projector on one photo, which no replacement behind them runs again."""
    batch = model.collate("model", [model.split(sample.worlds["null"])["model"][0]])
    pixels, net = batch["pixel_values"].flatten(0, 1), model.net
    with torch.inference_mode():
        return timed(lambda: net.model.get_image_features(pixel_values=pixels))[1]


def main() -> None:
    """Run the benchmark and print its table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument(
        "--heads", type=int, default=BLOCKS * HEADS, help="heads of the language model"
    )
    options.add_argument("--plain", type=int, default=8, help="of them also by full passes")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    given = options.parse_args()
    torch.set_num_threads(1)
    model, sample = made(getattr(torch, given.dtype)), example()
    every = resolve(model, ["lm/head.*[*]"])
    step = max(1, len(every) // given.heads)
    mediators = every[::step][: given.heads]
    few = mediators[:: max(1, len(mediators) // given.plain)][: given.plain]
    table = Table(
        title=f"{len(mediators)} heads, 576 image tokens, {given.dtype}; prefix kept: {model.prefix}"
    )
    for name in (
        "contrast",
        "full pass, ms a job",
        "engine, ms a job",
        "faster",
        "of its ceiling",
        "difference",
    ):
        table.add_column(name)
    seen = seconds_of_image(model, sample)
    for cf in ("text", "image"):
        contrast = Contrast("null", cf)
        found, seconds = by_engine(model, sample, contrast, mediators)
        plain, slow = one_pass_each(model, sample, contrast, few)
        each, full = seconds / (2 * len(mediators)), slow / (2 * len(few))
        behind = np.mean([BLOCKS - m.sites[0].layer - 0.5 for m in mediators]) / BLOCKS
        ceiling = "" if cf == "text" else f"{behind * (full - seen) / each:.0%}"
        worst = max(float((found[key] - value).abs().max()) for key, value in plain.items())
        row = (
            f"{full * 1e3:.0f}",
            f"{each * 1e3:.1f}",
            f"{full / each:.1f}x",
            ceiling,
            f"{worst:.1e}",
        )
        table.add_row(f"null->{cf}", *row)
    Console().print(table)


if __name__ == "__main__":
    main()
