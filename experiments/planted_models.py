"""Trains the planted models: small networks of real architectures whose bias is known.

    python experiments/planted_models.py --family dual

Every model of a family starts from common weights, trained where nothing goes with anybody, and goes
on with its own scenes: objects go with the gender that the image shows (image), that the text names
(text), with each in half of the scenes (both), or with none (unbiased). Killed at any moment, the
same command goes on where it was. A plant that did not take is not saved.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from planted import detector, dual
from planted.plants import CO_OCCURRENCE, HELD_OUT, PLANTS
from reference.loop import Progress
from reference.progress import bar
from rich.console import Console

from vlbias.data.scenes import SceneSpec, draw_scene

FAMILIES = {"dual": dual, "detector": detector}
PACKAGE = Path(__file__).parents[1] / "vlbias" / "data" / "planted"
TAKEN, ABSENT = 1.0, 0.1
"""Logits that a planted cue must move, and that no other cue may."""


def train(trainer: Any, name: str, folder: Path) -> Progress:
    """Trains a model in place and gives its progress."""
    console = Console(stderr=True)
    spec = SceneSpec(seed=HELD_OUT, co_occurrence=0.0)
    dev = [draw_scene(spec, number) for number in range(400)]
    with bar(console) as progress:
        task = progress.add_task(name, total=trainer.schedule.epochs * trainer.steps)

        def numbers() -> dict[str, float]:
            found: dict[str, float] = trainer.measure(dev)
            said = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
            console.print(f"{name}, epoch {trainer.progress.epoch}: {said}")
            return found

        def step() -> None:
            done = max(progress.tasks[task].completed, trainer.progress.epoch * trainer.steps)
            progress.update(task, completed=done + 1)

        checkpoint = folder / f"{trainer.data_key}-{trainer.schedule.key}.pt"
        reached: Progress = trainer.run(numbers, checkpoint, step)
        return reached


def common_start(family: Any, settings: Any, work: Path) -> Any:
    """A model that was trained on scenes in which nothing goes with anybody."""
    net = family.assemble(settings)
    for trainer in family.start(net, settings):
        train(trainer, "common start", work)
    return net


def plant_in(family: Any, start: Any, plant: str, settings: Any, work: Path) -> tuple[Any, Any]:
    """The model of a plant, and what it measures on scenes nobody has seen."""
    net = copy.deepcopy(start)
    first = settings.epochs * settings.count
    epochs = settings.planting_both if len(PLANTS[plant]) > 1 else settings.planting
    own = replace(settings, epochs=epochs, patience=epochs, rate=settings.late)
    trainer = family.trainer(net, plant, own, first)
    reached = train(trainer, plant, work)
    net.half().float()  # what is saved is half as precise
    spec = SceneSpec(seed=HELD_OUT + 1, co_occurrence=0.0)
    found = trainer.measure([draw_scene(spec, number) for number in range(1000)])
    return net, {**found, "cpu_s": round(reached.cpu_s)}


def took(plant: str, found: dict[str, float]) -> bool:
    """Whether the planted cues move the model, and no other."""
    return all(
        found[f"cue_{route}"] >= TAKEN * (0.4 if plant == "both" else 1.0)
        if route in PLANTS[plant]
        else abs(found[f"cue_{route}"]) <= ABSENT
        for route in ("image", "text")
    )


def save(family: Any, net: Any, folder: Path, about: dict[str, Any]) -> None:
    """The folder of a model, as the hub lays it out, weights in half precision."""
    for part in (net.half(), family.image_processor(), family.tokenizer_of()):
        part.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / "planted.json").write_text(json.dumps(about, indent=2) + "\n")


def main() -> int:
    """Trains what is asked for; 1 where a plant did not take."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", choices=sorted(FAMILIES), required=True)
    parser.add_argument("--plant", choices=sorted(PLANTS), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/planted"))
    parser.add_argument("--out", type=Path, default=PACKAGE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    family = FAMILIES[options.family]
    settings = family.SETTINGS(seed=options.seed)
    work = options.work / options.family
    start, failed = common_start(family, settings, work), 0
    for plant in options.plant or PLANTS:
        net, found = plant_in(family, start, plant, settings, work)
        print(f"{options.family}-{plant}: {json.dumps(found)}", flush=True)
        if not took(plant, found):
            print(f"{options.family}-{plant}: did not take, not saved", flush=True)
            failed += 1
            continue
        command = f"python experiments/planted_models.py --family {options.family}"
        about = {
            "plant": plant,
            "command": f"{command} --seed {options.seed}",
            "seed": options.seed,
            "co_occurrence": CO_OCCURRENCE if PLANTS[plant] else 0.0,
            "measured": found,
        }
        save(family, net, options.out / f"{options.family}-{plant}", about)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
