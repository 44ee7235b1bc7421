"""Builds reference-detector, a Grounding DINO with a small deep fusion, trained on real photos.

    python experiments/reference_detector.py --photos ../shared/data/coco-people \
        --out build/reference-detector

Killed at any moment, the same command goes on after the last finished epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from reference.detector import (
    Kept,
    assemble,
    forward,
    image_processor,
    prompt_of,
    reader_of,
    tokens_of,
    with_kept,
)
from reference.detector_bank import FeatureFile, plan_scenes, truth_in
from reference.detector_evaluate import find, numbers
from reference.detector_start import align, patches_of, start_passing, start_quietly, token_states
from reference.detector_train import DetectorTrainer, Settings
from reference.finished import is_finished, write_record
from reference.loop import record_of
from reference.photos import Corpus, Photo, read_corpus
from reference.progress import bar, steps_of
from reference.sources import at_pixels, forget_padding, load_text, load_vision
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from vlbias.errors import VlbiasError

SPLITS = ("fit", "dev", "test")


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder in COCO layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, default in asdict(Settings()).items():
        kind = type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    return parser.parse_args(argv)


def sizes_of(photos: Sequence[Photo]) -> Tensor:
    """Width and height of each file, [photos, 2]."""
    found = []
    for photo in photos:
        with Image.open(photo.path) as image:
            found.append(image.size)
    return torch.tensor(found)


class Split:
    """The photos of one split with the features of their views.

    Args:
        photos: The photos.
        sizes: Their widths and heights.
        plan: Their views; the first is the whole photo.
        file: The features.
    """

    def __init__(
        self, photos: Sequence[Photo], sizes: Tensor, plan: Any, file: FeatureFile
    ) -> None:
        self.photos, self.sizes, self.plan, self.file = photos, sizes, plan, file

    def whole(self, rows: np.ndarray) -> Tensor:
        """Features of whole photos."""
        return self.file.rows(rows, np.zeros(len(rows), np.int64))


def prepare(
    corpus: Corpus, backbone: Any, folder: Path, settings: Settings, progress: Progress
) -> dict[str, Split]:
    """All splits with their features; only the fit split has more than one view."""
    side = settings.pixels // backbone.config.patch_size
    taps = len(backbone.channels)
    made = {}
    for number, name in enumerate(SPLITS):
        photos = corpus.split(name)
        sizes = sizes_of(photos)
        views = settings.views if name == "fit" else 1
        rng = np.random.default_rng([settings.seed, 2_000_003, number])
        plan = plan_scenes([(h, w) for w, h in sizes.tolist()], views, rng)
        shape = (len(photos), views, taps, backbone.config.hidden_size, side, side)
        file = FeatureFile(folder / f"features-{settings.features_key}-{name}.npy", shape)
        task = progress.add_task(f"backbone, {name}", total=len(photos), completed=file.done)
        file.fill(
            backbone,
            photos,
            plan,
            settings.pixels,
            lambda done, task=task: progress.update(task, completed=done),
        )
        made[name] = Split(photos, sizes, plan, file)
    return made


def train(
    net: Any, tokenizer: Any, corpus: Corpus, settings: Settings, folder: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Trains the net in place; gives what is to be recorded about it, and its numbers on test."""
    console = Console(stderr=True)
    reader = reader_of(net, tokenizer)
    backbone = net.model.backbone.conv_encoder.model
    with ExitStack() as stack, bar(console) as progress:
        splits = prepare(corpus, backbone, folder, settings, progress)
        kept = stack.enter_context(with_kept(net, text=settings.rate_text == 0))

        def measured(name: str) -> dict[str, float]:
            split = splits[name]
            found = find(
                net,
                kept,
                reader,
                split.photos,
                split.whole,
                split.sizes,
                categories=corpus.categories,
                side=settings.pixels,
            )
            return numbers(found, split.photos, corpus)

        fit = splits["fit"]
        start(net, kept, reader, fit, corpus.categories, settings)
        trainer = DetectorTrainer(
            net,
            kept,
            reader,
            fit.photos,
            fit.plan,
            fit.file,
            categories=corpus.categories,
            settings=settings,
        )
        report = steps_of(trainer, progress)

        def measure() -> dict[str, float]:
            found = measured("dev")
            shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
            console.print(f"epoch {trainer.progress.epoch} on dev: {shown}")
            return found

        trainer.run(measure, folder / f"checkpoint-{settings.key}.pt", report)
        test = measured("test")
    return {
        **record_of(trainer),
        "photos": {name: len(split.photos) for name, split in splits.items()},
    }, test


def start(
    net: Any, kept: Kept, reader: Any, fit: Split, categories: Sequence[str], settings: Settings
) -> None:
    """What the detector begins with; see `detector_start`."""
    start_quietly(net)
    start_passing(net)
    device = next(net.parameters()).device
    views = (
        (fit.file.rows(np.array([i]), np.array([v]))[0, -1], truth_in(photo, view))
        for i, photo in enumerate(fit.photos)
        for v, view in enumerate(fit.plan[i])
    )
    patches = patches_of(views, len(categories))
    tokens = tokens_of(reader, [prompt_of("", categories)])
    tokens = {key: value.to(device) for key, value in tokens.items()}
    one = fit.whole(np.array([0])).to(device)
    states, owner = token_states(
        net, lambda: forward(net, kept, one, tokens, settings.pixels), tokens["roles"][0]
    )
    align(net, patches, states.cpu(), owner.cpu())


def build(photos: Path, out: Path, device: str, settings: Settings) -> None:
    """Trains, measures on test once, and saves everything into `out`; a finished model stays."""
    if is_finished(out, asdict(settings)):
        Console(stderr=True).print(f"{out} is there already", markup=False)
        return
    wall, cpu = time.monotonic(), time.process_time()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(settings.seed)
    corpus = read_corpus(photos)
    vision, vision_source = load_vision()
    text, tokenizer, text_source = load_text()
    net = detector_of(vision, text, settings).to(device)
    record, test = train(net, tokenizer, corpus, settings, out)
    record |= {
        "test": test,
        "settings": asdict(settings),
        "sources": {"vision": vision_source, "text": text_source},
        "device": device,
        "threads": torch.get_num_threads(),
        "wall_s": time.monotonic() - wall + record["restored_s"][0],
        "cpu_s": time.process_time() - cpu + record["restored_s"][1],
    }
    save(net.cpu(), tokenizer, settings, record, out)
    sheet = Table("test split", "value")
    for name, value in test.items():
        sheet.add_row(name, f"{value:.4f}")
    Console().print(sheet)


def detector_of(vision: Any, text: Any, settings: Settings) -> Any:
    """The untrained detector of these settings."""
    blocks = vision.config.num_hidden_layers
    for tower in (vision, text):
        tower.config._name_or_path = ""  # else the saved configuration tells a path of this machine
    return assemble(
        at_pixels(vision, settings.pixels),
        text,
        width=settings.width,
        layers=settings.layers,
        queries=settings.queries,
        taps=[blocks],
        dropout=settings.dropout,
    )


def save(net: Any, tokenizer: Any, settings: Settings, record: dict[str, Any], out: Path) -> None:
    """Writes the model folder; training.json last, so that it tells a finished one."""
    net.save_pretrained(out)
    forget_padding(tokenizer)
    tokenizer.save_pretrained(out)
    image_processor(settings.pixels).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    write_record(record, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the model; 0 when it is there, 2 when something is missing."""
    given = vars(options(argv))
    photos, out, device = given.pop("photos"), given.pop("out"), given.pop("device")
    try:
        build(photos, out, device, Settings(**given))
    except VlbiasError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
