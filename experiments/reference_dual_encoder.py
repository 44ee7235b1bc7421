"""Builds reference-dual, a small dual encoder of photos and text with real, measurable bias.

    python experiments/reference_dual_encoder.py --photos ../shared/data/coco-people \
        --out build/reference-dual

Killed at any moment, the same command goes on after the last finished epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from reference.bank import Bank, fill_bank, plan_views
from reference.card import save_card, save_model, versions
from reference.dual import join, lower_blocks, start_projections, upper_blocks
from reference.evaluate import Row, dev_numbers, fit_scale, pooled_features, probe_rows, test_rows
from reference.finished import is_finished, write_record
from reference.loop import record_of
from reference.photos import Corpus, decode, read_corpus, to_pixels
from reference.progress import bar, steps_of
from reference.sources import at_pixels, load_text, load_vision
from reference.train import Settings, Trainer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from vlbias.errors import VlbiasError


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder in COCO layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    for name, default in asdict(Settings()).items():
        kind = type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    return parser.parse_args(argv)


def prepared(corpus: Corpus, split: str, pixels: int) -> torch.Tensor:
    """The whole photos of a split as the model sees them, [photos, 3, pixels, pixels]."""
    return torch.stack([to_pixels(decode(photo), pixels) for photo in corpus.split(split)])


def build_bank(model: Any, corpus: Corpus, settings: Settings, progress: Progress) -> Bank:
    """Views of the fit split after the frozen blocks."""
    photos = corpus.split("fit")
    images = [decode(photo) for photo in photos]
    # square root: rare categories are drawn more often than they occur, not equally often
    weights = 1 / np.sqrt(np.maximum(corpus.presence(photos).sum(0), 1))
    rng = np.random.default_rng([settings.seed, 1_000_003])
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    plan = plan_views(photos, sizes, settings.views, weights, rng)
    task = progress.add_task("frozen blocks", total=len(photos))
    blocks = len(model.vision_model.encoder.layer) - settings.vision_blocks
    return fill_bank(
        model,
        photos,
        images,
        plan,
        blocks=blocks,
        categories=len(corpus.categories),
        report=lambda: progress.advance(task),
    )


def train(
    model: Any, tokenizer: Any, corpus: Corpus, settings: Settings, folder: Path
) -> dict[str, Any]:
    """Trains the model in place and returns what is to be recorded about it."""
    console = Console(stderr=True)
    with bar(console) as progress:
        bank = build_bank(model, corpus, settings, progress)
        frozen = len(model.vision_model.encoder.layer) - settings.vision_blocks
        with torch.no_grad():
            whole = [upper_blocks(model, h.float(), frozen) for h in bank.hidden[:, 0].split(32)]
            captions = [photo.captions for photo in corpus.split("fit")]
            start_projections(model, tokenizer, torch.cat(whole), captions)
            dev = [
                lower_blocks(model, chunk, frozen)
                for chunk in prepared(corpus, "dev", settings.pixels).split(32)
            ]
        hidden = torch.cat(dev)
        start = dev_numbers(model, tokenizer, corpus, hidden, frozen)
        console.print(f"start on dev: {shown(start)}")
        trainer = Trainer(model, tokenizer, corpus, bank, settings)
        report = steps_of(trainer, progress)

        def measure() -> dict[str, float]:
            numbers = dev_numbers(model, tokenizer, corpus, hidden, frozen)
            console.print(f"epoch {trainer.progress.epoch} on dev: {shown(numbers)}")
            return numbers

        trainer.run(measure, folder / f"checkpoint-{settings.key}.pt", report)
    scale = fit_scale(model, tokenizer, corpus, hidden, frozen)
    with torch.no_grad():
        model.logit_scale.fill_(scale)
    return {
        "logit_scale": scale,
        "start_on_dev": start,
        **record_of(trainer),
    }


def shown(numbers: dict[str, float]) -> str:
    """Numbers on one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in numbers.items())


def print_rows(rows: Sequence[Row]) -> None:
    """The final table on stdout."""
    sheet = Table("test split", "value", "chance")
    for row in rows:
        sheet.add_row(row.name, f"{row.value:.3f}", f"{row.chance:.3f}")
    Console().print(sheet)


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


def command(photos: Path, out: Path, settings: Settings) -> str:
    """The command line that builds this model again, with paths as seen from the repository."""
    usual = asdict(Settings())
    changed = {name: value for name, value in asdict(settings).items() if value != usual[name]}
    words = ["python experiments/reference_dual_encoder.py"]
    words += [f"--photos ../shared/data/{photos.name}", f"--out build/{out.name}"]
    return " ".join(words + [f"--{n.replace('_', '-')} {v}" for n, v in changed.items()])


def build(photos: Path, out: Path, settings: Settings) -> None:
    """Trains, measures on test once, and saves everything into `out`; a finished model stays."""
    if is_finished(out, asdict(settings)):
        Console(stderr=True).print(f"{out} is there already", markup=False)
        return
    wall, cpu = time.monotonic(), time.process_time()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(settings.seed)
    corpus = read_corpus(photos)
    source, vision_source = load_vision()
    original = at_pixels(source, settings.pixels)
    text, tokenizer, text_source = load_text()
    model = join(at_pixels(source, settings.pixels), text)
    record = train(model, tokenizer, corpus, settings, out)
    Console(stderr=True).print("measuring on test, beside a linear probe (a minute or two)")
    pixels = {name: prepared(corpus, name, settings.pixels) for name in ("fit", "dev", "test")}
    rows = test_rows(
        model, tokenizer, corpus, corpus.split("test"), pixels["test"], seed=settings.seed
    )
    features = {name: pooled_features(original, batch) for name, batch in pixels.items()}
    probe, chosen = probe_rows(features, corpus, settings.seed)
    rows = [*rows, *probe]
    record |= {
        "settings": asdict(settings),
        "sources": {"vision": vision_source, "text": text_source},
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "photos": {name: len(batch) for name, batch in pixels.items()},
        "probe": chosen,
        "command": command(photos, out, settings),
        "wall_s": time.monotonic() - wall + record["restored_s"][0],
        "cpu_s": time.process_time() - cpu + record["restored_s"][1],
    }
    save_model(model, tokenizer, out)
    save_card(record, rows, out)
    write_record({**record, "test": [asdict(row) for row in rows]}, out)
    (out / f"checkpoint-{settings.key}.pt").unlink(missing_ok=True)
    print_rows(rows)


if __name__ == "__main__":
    sys.exit(main())
