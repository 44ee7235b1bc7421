"""Time of a detector's mediators: one full forward per arm and mediator against the engine.

    python experiments/benchmarks/detector.py --model build/reference-detector
    python experiments/benchmarks/detector.py --pixels 640
    python experiments/benchmarks/detector.py --decomposition --double --rounds 1

Without a folder the published Grounding DINO tiny with random weights: good for time and exactness,
and for nothing else. Its logits are far wider than trained ones, and the best 900 of its proposals change
places by rounding alone: numbers are compared in double precision, in which times mean nothing. Random
pixels and words in four worlds (two images, two texts). The ceiling is what remains when nothing is
executed that a replacement cannot reach: every distinct image, text and row once, and for every job what
lies behind its entry, at the measured time of each part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from detector_ceiling import least
from detector_inputs import WORLDS, Held, example, published
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from transformers import GroundingDinoForObjectDetection

from vlbias.causal import mediator_jobs
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.runs.allocator import keep_memory

CONTRASTS = [Contrast("null", world) for world in ("image", "text", "both")]
ENCODERS = ("image_encoder", "text_encoder", "fusion_encoder")
BRANCHES = (
    "image_encoder/attn.*", "image_encoder/mlp.*", "text_encoder/attn.*", "text_encoder/mlp.*",
    "fusion_encoder/text_stream.*", "fusion_encoder/vision_stream.*",
    "fusion_encoder/text_to_image.*", "fusion_encoder/image_to_text.*",
)  # fmt: skip


@contextmanager
def hooked(module: nn.Module, slot: str, edit: Any) -> Iterator[None]:
    """A plain hook that passes what is at a point through `edit`, as long as the context lasts."""
    if slot == "in":
        handle = module.register_forward_pre_hook(lambda _, args: (edit(args[0]), *args[1:]))
    else:
        handle = module.register_forward_hook(lambda _, __, out: edit(out), prepend=True)
    try:
        yield
    finally:
        handle.remove()


def copied(value: Any) -> Any:
    """Tensors of one's own: callers change what modules return."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, value)


@torch.inference_mode()
def naive(model: Held, plan: SweepPlan, contrasts: Sequence[Contrast]) -> dict[Any, Tensor]:
    """Presence in every arm of every mediator, one full forward of one row each.

    The donors' values are at hand: they are kept from one pass a world.
    """
    points = {m.name: plan.target(m.sites[0]).point for m in plan.mediators}
    kept: dict[str, dict[Any, Any]] = {world: {} for world in WORLDS}
    found: dict[Any, Tensor] = {}

    def run(world: str) -> Tensor:
        logits: Tensor = model.encode("model", model.collate("model", [WORLDS[world]]))["logits"]
        return logits.amax(1)[0]

    for world in WORLDS:
        with ExitStack() as stack:
            for point in set(points.values()):

                def keep(value: Any, world: str = world, point: Any = point) -> Any:
                    kept[world][point] = copied(value)
                    return value

                stack.enter_context(hooked(model.net.get_submodule(point[0]), point[1], keep))
            found[world] = run(world)
    for contrast in contrasts:
        sides = {"01": (contrast.base, contrast.cf), "10": (contrast.cf, contrast.base)}
        for name, point in points.items():
            for arm, (own, donor) in sides.items():
                value = kept[donor][point]
                module = model.net.get_submodule(point[0])
                with hooked(module, point[1], lambda _, value=value: copied(value)):
                    found[contrast, name, arm] = run(own)
    return found


def prepared(model: Held, mediators: Sequence[Mediator], batch: int) -> Engine:
    """The engine after its first photo, before which it learns how the model's modules are called."""
    altered = {c: frozenset({"image", "text"} if c.cf == "both" else {c.cf}) for c in CONTRASTS}
    made = Engine(model, CONTRASTS, mediators, altered=altered, mediator_batch=batch)
    made.plans["model"].run(model.collate("model", [WORLDS["null"]]), [])
    return made


def engine(made: Engine) -> tuple[dict[Any, Tensor], list[str]]:
    """The same arms by the engine, and the mediator of every job that it ran."""
    work: list[str] = []
    resumed = mediator_jobs.resume_mediators

    def counted(jobs: Any, tape: Any, plan: Any, spans: Any, *rows: Any) -> Any:
        work.extend(name for name, span in spans.items() for _ in span)
        return resumed(jobs, tape, plan, spans, *rows)

    found = {}
    with patch.object(mediator_jobs, "resume_mediators", counted):
        for arm in made.run([example()]):
            key = (arm.contrast, arm.mediator, arm.arm)
            found[key] = arm.readout["class_logits"][0]
    return found, work


def compared(model: Held, patterns: Sequence[str], given: argparse.Namespace, title: str) -> None:
    """Time and check the mediators of these patterns."""
    mediators = resolve(model, patterns)
    made = prepared(model, mediators, given.mediator_batch)
    plan = made.plans["model"]
    work: list[str] = []
    rounds = []
    for _ in range(given.rounds):
        began = time.perf_counter()
        slow = naive(model, plan, CONTRASTS)
        middle = time.perf_counter()
        fast, work = engine(made)
        ended = time.perf_counter()
        bound, shares = least(model, plan, work)
        rounds.append((middle - began, ended - middle, bound))
    a, b, bound = (median(column) for column in zip(*rounds, strict=True))
    worst = 0.0
    for key, value in fast.items():
        contrast, name, arm = key
        world = {"00": contrast.base, "11": contrast.cf}.get(arm)
        expected = slow[world] if world else slow[contrast, name, arm]
        worst = max(worst, float((value - expected).abs().max()))
    print(f"{title}: {len(mediators)} mediators, {len(slow)} forwards, {len(work)} jobs run")
    print(f"  naive   {a:8.2f} s")
    print(f"  engine  {b:8.2f} s   {a / b:.2f} x")
    print(f"  ceiling {bound:8.2f} s   {a / bound:.2f} x, reached {bound / b:.1%}")
    largest = max(float(value.abs().max()) for value in slow.values())
    print(f"  largest difference to one row a forward {worst:.1e}, of logits up to {largest:.0f}")
    print("  share of a pass: " + ", ".join(f"{n} {share:.1%}" for n, share in shares.items()))


def exact(model: Held) -> float:
    """Largest difference between whole encoders' outcomes and the worlds they are outcomes of."""
    found, _ = engine(prepared(model, [Mediator.of([name]) for name in ENCODERS], 8))
    both = CONTRASTS[2]
    world = {name: found[Contrast("null", name), "", "11"] for name in ("image", "text", "both")}
    expected = {("image_encoder", "01"): "image", ("image_encoder", "10"): "text",
                ("text_encoder", "01"): "text", ("text_encoder", "10"): "image",
                ("fusion_encoder", "01"): "both"}  # fmt: skip
    return max(
        float((found[both, name, arm] - world[cell]).abs().max())
        for (name, arm), cell in expected.items()
    )


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a Grounding DINO")
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mediator-batch", type=int, default=4)
    parser.add_argument("--decomposition", action="store_true", help="leave out the sweep")
    parser.add_argument("--double", action="store_true", help="numbers in double precision")
    given = parser.parse_args()
    keep_memory()
    torch.manual_seed(0)
    if given.model is None:
        net, name = published(), "published tiny shape, random weights"
    else:
        net, name = GroundingDinoForObjectDetection.from_pretrained(given.model), given.model.name
    model = Held(net.double() if given.double else net, given.pixels)
    print(f"{name}, {given.pixels} px, {model.net.dtype}, {torch.get_num_threads()} threads")
    compared(model, ENCODERS, given, "decomposition")
    print(f"  largest difference to the four worlds of the same batch {exact(model):.1e}")
    if not given.decomposition:
        compared(model, BRANCHES, given, "sweep")


if __name__ == "__main__":
    main()
