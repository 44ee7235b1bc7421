"""Time of a head and block sweep: one mediator per full forward against the engine, and the ceiling.

    python experiments/benchmarks/engine.py --shape reference
    python experiments/benchmarks/engine.py --shape clip-b32

Random weights of real shapes: good for time and exactness, and for nothing else. Text features are
cached in both. The ceiling is what remains when nothing is executed that a replacement cannot reach:
the blocks behind it, and in its own block what follows it, at the measured time of each part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from vlbias.causal.arms import Contrast, Engine
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged import resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.models.dual import HfDual
from vlbias.runs.cells import keep_memory


def build(shape: str) -> tuple[HfDual, int]:
    """A dual encoder of a real shape with random weights, and its image size."""
    torch.manual_seed(0)
    if shape == "clip-b32":
        return HfDual(CLIPModel(CLIPConfig()), None, None, name=shape, revision="random"), 224
    image = Dinov2Model(Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6,
                                     patch_size=14, image_size=112, layerscale_value=0.5))  # fmt: skip
    text = BertModel(BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536))
    config = VisionTextDualEncoderConfig.from_vision_text_configs(image.config, text.config)
    net = VisionTextDualEncoderModel(config, image, text)
    return HfDual(net, None, None, name=shape, revision="random"), 112


@torch.inference_mode()
def naive(model: HfDual, plan: SweepPlan, pixels: Tensor, photos: int) -> dict[str, Tensor]:
    """Every mediator and direction by one hook in one full forward of all photos."""
    found = {}
    own, other = {"pixel_values": pixels[:photos]}, {"pixel_values": pixels[photos:]}
    for mediator in plan.mediators:
        target = plan.target(mediator.sites[0])
        module, slot = model.net.get_submodule(target.point[0]), target.point[1]
        values = {}
        for name, batch in (("own", own), ("other", other)):
            with hooked(module, slot, partial(values.setdefault, name)):
                model.encode("image_encoder", batch)
        for name, batch, donor in (("01", own, "other"), ("10", other, "own")):
            with hooked(module, slot, partial(target.write, donor=values[donor])):
                found[mediator.name + name] = model.encode("image_encoder", batch)
    return found


def hooked(module: nn.Module, slot: str, edit: Callable[[Tensor], Tensor]) -> ExitStack:
    """A plain hook that passes the first tensor at a point through `edit`, for the time of a with."""
    stack = ExitStack()
    if slot == "in":
        handle = module.register_forward_pre_hook(lambda _, args: (edit(args[0]), *args[1:]))
    else:
        handle = module.register_forward_hook(
            lambda _, __, out: (edit(out[0]), *out[1:]) if isinstance(out, tuple) else edit(out)
        )
    stack.callback(handle.remove)
    return stack


@torch.inference_mode()
def part_times(model: HfDual, plan: SweepPlan, pixels: Tensor) -> tuple[float, dict[str, float]]:
    """Seconds per photo of a whole pass, and from each mediator's entry to the end of the pass."""
    marks: dict[str, float] = {}
    with ExitStack() as stack:
        for mediator in plan.mediators:
            module, slot = plan.target(mediator.sites[0]).point
            name = mediator.name

            def mark(*_: Any, name: str = name) -> None:
                marks[name] = time.perf_counter()

            part = model.net.get_submodule(module)
            handle = (
                part.register_forward_pre_hook(mark)
                if slot == "in"
                else part.register_forward_hook(mark)
            )
            stack.callback(handle.remove)
        began = time.perf_counter()
        model.encode("image_encoder", {"pixel_values": pixels})
        ended = time.perf_counter()
    rows = len(pixels)
    return (ended - began) / rows, {name: (ended - at) / rows for name, at in marks.items()}


def decomposition(model: HfDual, pixels: Tensor, photos: int) -> tuple[float, float]:
    """Seconds of the whole decomposition into encoders: 22 full forwards, and the engine's 4 cells."""
    ids = torch.randint(5, 1000, (2, photos, 12))

    def both(image: int, text: int) -> Tensor:
        image_rows = pixels[image * photos : (image + 1) * photos]
        one = model.encode("image_encoder", {"pixel_values": image_rows})
        return one @ model.encode("text_encoder", {"input_ids": ids[text]}).T

    with torch.inference_mode():
        began = time.perf_counter()
        for number in range(22):
            both(number % 2, number // 2 % 2)
        slow = time.perf_counter() - began
    memory = _InMemory(model, pixels, ids)
    examples = [
        Example(str(i), str(i), {"null": {"image": i, "text": str(i)},
                                 "both": {"image": photos + i, "text": str(photos + i)}})
        for i in range(photos)
    ]  # fmt: skip
    pair = Contrast("null", "both")
    mediators = [Mediator.of(["image_encoder"]), Mediator.of(["text_encoder"]),
                 Mediator.of(["image_encoder", "text_encoder"])]  # fmt: skip
    began = time.perf_counter()
    list(
        Engine(memory, [pair], mediators, altered={pair: frozenset({"image", "text"})}).run(
            examples
        )
    )
    return slow, time.perf_counter() - began


class _InMemory:
    """The model on rows that are positions in tensors already made."""

    def __init__(self, model: HfDual, pixels: Tensor, ids: Tensor) -> None:
        self.model, self.pixels, self.ids = model, pixels, ids.flatten(0, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def collate(self, tower: str, rows: list[Any]) -> dict[str, Tensor]:
        chosen = [int(row) for row in rows]
        if tower == "image_encoder":
            return {"pixel_values": self.pixels[chosen]}
        return {"input_ids": self.ids[chosen], "length": torch.full((len(chosen),), 12)}


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=("reference", "clip-b32"), default="reference")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mediator-batch", type=int, default=64)
    given = parser.parse_args()
    keep_memory()
    model, size = build(given.shape)
    pixels = torch.randn(2 * given.photos, 3, size, size)
    patterns = ["image_encoder/attn.*", "image_encoder/mlp.*", "image_encoder/head.*[*]"]
    mediators = resolve(model, patterns)
    pairs = [(i, given.photos + i) for i in range(given.photos)]
    pairs += [(j, i) for i, j in pairs]
    plan = SweepPlan(model, model.towers[0], mediators, given.mediator_batch)
    plan.run({"pixel_values": pixels}, pairs[:1])
    print(
        f"{given.shape}: {len(mediators)} mediators x 2 directions, {given.photos} photos, "
        f"{torch.get_num_threads()} threads, random weights"
    )
    # at the engine's batch size, so that the ceiling is not a matter of batching
    many = pixels[torch.arange(given.mediator_batch) % len(pixels)]
    whole, behind = min((part_times(model, plan, many) for _ in range(5)), key=lambda x: x[0])
    jobs = len(mediators) * len(pairs)
    least = 2 * given.photos * whole + len(pairs) * sum(behind.values())
    rows = []
    for _ in range(given.rounds):
        began = time.perf_counter()
        slow = naive(model, plan, pixels, given.photos)
        middle = time.perf_counter()
        fast = plan.run({"pixel_values": pixels}, pairs)
        rows.append((middle - began, time.perf_counter() - middle))
    worst = max(
        float(
            (torch.cat([slow[m.name + "01"], slow[m.name + "10"]]) - fast.patched[m.name])
            .abs()
            .max()
        )
        for m in mediators
    )
    a, b = (sorted(column)[len(column) // 2] for column in zip(*rows, strict=True))
    # a naive loop that caches the donors' values needs one forward per job; quote both
    one_each = a * jobs / (jobs + 2 * len(mediators) * given.photos)
    print(f"(a) naive, two recordings and two forwards each   {a:7.2f} s")
    print(f"(a') naive with the donors' values at hand        {one_each:7.2f} s")
    print(
        f"(b) engine                                        {b:7.2f} s   {one_each / b:.2f} x (a')"
    )
    print(
        f"    ceiling from the time behind each entry       {least:7.2f} s   {jobs * whole / least:.2f} x (a')"
    )
    print(f"    share of the ceiling                          {least / b:7.1%}")
    print(f"    largest difference to naive                   {worst:.1e}")
    print(
        f"    one pass {whole * 1e3:.1f} ms a photo; beyond the ceiling {b - least:.2f} s: copying recorded "
        "rows to jobs, module calls, smaller batches"
    )
    slow, quick = decomposition(model, pixels, given.photos)
    print(
        f"decomposition into encoders: 22 forwards {slow:.2f} s, engine {quick:.2f} s, {slow / quick:.1f} x"
    )


if __name__ == "__main__":
    main()
