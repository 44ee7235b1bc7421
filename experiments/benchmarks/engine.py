"""Time of a head and block sweep: one mediator per full forward against the engine, and the ceiling.

    python experiments/benchmarks/engine.py --shape reference
    python experiments/benchmarks/engine.py --shape clip-b32

Random weights of real shapes: good for time and exactness, and for nothing else. Text features are
cached in both. The ceiling is what remains when nothing is executed that a replacement cannot reach:
the blocks behind it, and in its own block what follows it, at the measured time of each part, the
last block's tail on the one token that is read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median
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

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example
from vlbias.causal.hooks import register_write_hook
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.models.dual import HfDual
from vlbias.runs.allocator import keep_memory


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
    """Every mediator and direction by one hook in one full forward of all photos.

    The donors' values are kept from one pass a side; recording them for each mediator anew, as many
    scripts do, costs twice as much.
    """
    sides = [{"pixel_values": pixels[:photos]}, {"pixel_values": pixels[photos:]}]
    points = {m.name: plan.target(m.sites[0]) for m in plan.mediators}
    kept: list[dict[tuple[str, str], Tensor]] = [{}, {}]
    for side, batch in enumerate(sides):
        with ExitStack() as stack:
            for point in {target.point for target in points.values()}:
                module, slot = model.net.get_submodule(point[0]), point[1]
                stack.enter_context(hooked(module, slot, partial(kept[side].setdefault, point)))
            model.encode("image_encoder", batch)
    found = {}
    for name, target in points.items():
        module, slot = model.net.get_submodule(target.point[0]), target.point[1]
        parts = []
        for side, batch in enumerate(sides):
            write = partial(target.write, donor=kept[1 - side][target.point])
            with hooked(module, slot, write):
                parts.append(model.encode("image_encoder", batch))
        found[name] = torch.cat(parts)
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
    began = time.perf_counter()
    model.encode("image_encoder", {"pixel_values": pixels})
    whole = time.perf_counter() - began
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
        for stage in plan.tower.stages:
            for module in stage.tail:
                stack.callback(
                    register_write_hook(model.net, (module, "in"), lambda tensor: tensor[:, :1])
                )
        model.encode("image_encoder", {"pixel_values": pixels})
        ended = time.perf_counter()
    rows = len(pixels)
    return whole / rows, {name: (ended - at) / rows for name, at in marks.items()}


def decomposition(
    model: HfDual, pixels: Tensor, photos: int, rounds: int
) -> list[tuple[float, float]]:
    """Seconds of the whole decomposition into encoders: 22 full forwards, and the engine's 4 cells.

    One pair a round, in turn. The engine has traced the model before, as it does once a process.
    """
    ids = torch.randint(5, 1000, (2, photos, 12))

    def both(image: int, text: int) -> Tensor:
        image_rows = pixels[image * photos : (image + 1) * photos]
        one = model.encode("image_encoder", {"pixel_values": image_rows})
        return one @ model.encode("text_encoder", {"input_ids": ids[text]}).T

    memory = _InMemory(model, pixels, ids)
    examples = [
        Example(str(i), str(i), {"null": {"image": i, "text": str(i)},
                                 "both": {"image": photos + i, "text": str(photos + i)}})
        for i in range(photos)
    ]  # fmt: skip
    pair = Contrast("null", "both")
    mediators = [Mediator.of(["image_encoder"]), Mediator.of(["text_encoder"]),
                 Mediator.of(["image_encoder", "text_encoder"])]  # fmt: skip
    engine = Engine(memory, [pair], mediators, altered={pair: frozenset({"image", "text"})})
    list(engine.run(examples[:1]))
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        with torch.inference_mode():
            for number in range(22):
                both(number % 2, number // 2 % 2)
        middle = time.perf_counter()
        list(engine.run(examples))
        found.append((middle - began, time.perf_counter() - middle))
    return found


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
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mediator-batch", type=int, default=24)
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
    jobs = len(mediators) * len(pairs)
    rounds = []
    for number in range(given.rounds):
        # all in one round: the speed of a shared machine drifts from minute to minute
        timed = [part_times(model, plan, many) for _ in range(2)]
        began = time.perf_counter()
        slow = naive(model, plan, pixels, given.photos)
        middle = time.perf_counter()
        fast = plan.run({"pixel_values": pixels}, pairs)
        ended = time.perf_counter()
        timed += [part_times(model, plan, many) for _ in range(2)]
        whole = median(seconds for seconds, _ in timed)
        behind = median(sum(marks.values()) for _, marks in timed)
        least = 2 * given.photos * whole + len(pairs) * behind
        rounds.append((middle - began, ended - middle, least, whole))
        print(
            f"  round {number + 1}: naive {middle - began:.2f} s, engine {ended - middle:.2f} s, "
            f"ceiling {least:.2f} s",
            flush=True,
        )
    worst = max(float((slow[m.name] - fast.patched[m.name]).abs().max()) for m in mediators)
    a, b, least, whole = (median(column) for column in zip(*rounds, strict=True))
    gain = median(one / two for one, two, _, _ in rounds)
    share = median(bound / two for _, two, bound, _ in rounds)
    bound = median(jobs * pass_ / bound for _, _, bound, pass_ in rounds)
    print(f"(a) naive, a full forward a job, donors at hand   {a:7.2f} s")
    print(f"(b) engine                                        {b:7.2f} s   {gain:.2f} x (a)")
    print(f"    ceiling from the time behind each entry       {least:7.2f} s   {bound:.2f} x (a)")
    print(f"    share of the ceiling                          {share:7.1%}")
    print(f"    largest difference to naive                   {worst:.1e}")
    print(
        f"    one pass {whole * 1e3:.1f} ms a photo; {b - least:+.2f} s against the ceiling, which has no "
        "recording of donors, no copying of recorded rows to jobs, and all modules called"
    )
    pairs_of_times = decomposition(model, pixels, given.photos, max(given.rounds, 5))
    slow, quick = (median(column) for column in zip(*pairs_of_times, strict=True))
    times = median(one / two for one, two in pairs_of_times)
    print(
        f"decomposition into encoders: 22 forwards {slow:.2f} s, engine {quick:.2f} s, {times:.1f} x"
    )


if __name__ == "__main__":
    main()
