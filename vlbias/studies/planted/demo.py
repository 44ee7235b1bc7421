"""The whole job on a planted model: rendered scenes, a model whose bias is known, no network."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from vlbias.data.scene_folder import write_scenes
from vlbias.data.scenes import SceneSpec
from vlbias.errors import VlbiasError
from vlbias.models import outline_model
from vlbias.report.csv_files import read_table
from vlbias.report.page import Page
from vlbias.runs.events import QUIET, Events
from vlbias.runs.lock import locked
from vlbias.studies import lifecycle
from vlbias.studies.reporting import report

__all__ = ["MODEL", "Demo", "demo"]

MODEL = "planted-detector-image"
SEED = 77
_DRAWS = 400
_POINT = {"rule": "fpr", "value": 0.1}
_COMMON = {"model": MODEL, "prompt": "template+categories", "seed": SEED}
_CONTRASTS = (
    "null->mask-gender", "null->replace-gender", "null->both",
    "null->placebo-image", "null->placebo-text", "null->null",
)  # fmt: skip


@dataclass(frozen=True)
class Demo:
    """What the demo found.

    Args:
        table: One row per world: B with floor and p-value, false-positive rate, presence mAP.
        mitigations: One row per mitigation: what of its reduction is its own, and performance.
        reading: Both in plain words.
        page: The report of both runs.
        following: The commands for one's own photos and model.
    """

    table: pd.DataFrame
    mitigations: pd.DataFrame
    reading: str
    page: Page
    following: str


def demo(out: Path, events: Events = QUIET, *, photos: int = 800) -> Demo:
    """Measure, mediate, mitigate and report a planted model; a killed one goes on where it was.

    In the scenes no object goes with anybody: what the model does by gender, it brought along.

    Args:
        out: Scenes, two run folders and the page are written here.
        events: Who watches.
        photos: Scenes; a fifth sets thresholds and strengths, a fifth is reported, the rest fits.

    Raises:
        BadTable: if `out` cannot be written.
        BadStudy: if `out` holds another demo.
        FolderInUse: if another process works on the same demo.
    """
    scenes = out / f"demo-scenes-{photos}"
    with locked(scenes, note=events.note):
        return _found(_walked(out, scenes, events, photos))


def _walked(out: Path, scenes: Path, events: Events, photos: int) -> Page:
    """The page of both runs."""
    events.note("rendering scenes")
    if not (scenes / "scenes.json").is_file():
        _render(scenes, SceneSpec(photos=photos, seed=SEED, co_occurrence=0.0))
    folders = []
    for content in (_bias(scenes), _mitigations(scenes)):
        plan = lifecycle.make_plan(lifecycle.parse_study({**_COMMON, **content}), events.note)
        folders.append(lifecycle.run_plan(plan, out, workers=0, events=events).folder)
    return report(folders, out / "demo-report", draws=_DRAWS, note=events.note)


def _render(scenes: Path, spec: SceneSpec) -> None:
    """The scenes, from a process beside this one, which imports transformers meanwhile: both take seconds."""
    beside = get_context("fork").Process(target=_rendered, args=(scenes, spec), daemon=True)
    beside.start()
    outline_model(MODEL)
    beside.join()
    if not (scenes / "scenes.json").is_file():
        write_scenes(scenes, spec)  # what went wrong there is said here


def _rendered(scenes: Path, spec: SceneSpec) -> None:
    with suppress(OSError, VlbiasError):
        write_scenes(scenes, spec)


def _bias(scenes: Path) -> dict[str, Any]:
    """Bias in every world, through the encoders and the heads of the image encoder."""
    return {
        "kind": "bias",
        "name": "demo",
        "dataset": {"name": "scenes", "path": scenes.resolve(), "splits": ("dev", "test")},
        "operating_point": {**_POINT, "split": "dev", "report": ("test",)},
        "contrasts": _CONTRASTS,
        "mediators": ("image_encoder", "text_encoder", "fusion_encoder", "image_encoder/head.*[*]"),
        "shard_size": 100,
    }


def _mitigations(scenes: Path) -> dict[str, Any]:
    """At the right encoder, and at the wrong one, to see that it does nothing there."""
    methods = [{"name": "feature-blur"}, {"name": "text-neutral"}]
    return {
        "kind": "mitigation",
        "name": "demo-mitigations",
        "dataset": {"name": "scenes", "path": scenes.resolve()},
        "operating_point": _POINT,
        "mitigation": {"methods": methods, "strengths": (1.0,), "margin": 0.02, "timed": 0},
    }


def _found(page: Page) -> Demo:
    tables = {name: page.tables / name for name in ("demo", "demo-mitigations")}
    worlds, verdicts = (
        read_table(file)
        for file in (tables["demo"] / "conditions.csv", tables["demo-mitigations"] / "verdicts.csv")
    )
    verdicts = verdicts[verdicts["chosen"]]
    columns = [
        "world",
        "photos",
        "B_plugin",
        "floor",
        "p",
        "B_crossfit",
        "mean_fpr",
        "presence_mAP",
    ]
    kept = ["setting", "bias_adjusted", "over_threshold_adjusted", "attributable_adjusted"]
    kept += ["attributable_share", "performance_verdict"]
    names = {
        "B_plugin": "B, plug-in", "B_crossfit": "B, cross-fit", "mean_fpr": "FPR", "presence_mAP": "mAP",
        "bias_adjusted": "B", "over_threshold_adjusted": "as strict",
        "attributable_adjusted": "placebo", "attributable_share": "own",
        "performance_verdict": "performance",
    }  # fmt: skip
    worlds_shown, verdicts_shown = (
        frame.rename(columns=names) for frame in (worlds[columns], verdicts[kept])
    )
    return Demo(worlds_shown, verdicts_shown, _reading(worlds, verdicts), page, _following())


def _reading(worlds: pd.DataFrame, verdicts: pd.DataFrame) -> str:
    """Two sentences: where the bias comes in, and what took it out."""
    rows = worlds.set_index("world")
    null = rows.loc["null"]
    gap = f"{null['B_crossfit']:.2f}, summed over objects"
    said = f"False alarms differ between scenes of the two groups by {gap}"
    if not null["p"] < 0.05:
        return f"{said}: that cannot be told from noise."
    left = {
        name: max(rows.loc[world, "B_crossfit"] / null["B_crossfit"], 0.0)
        for name, world in (("image", "mask-gender"), ("text", "replace-gender"))
    }
    fates = (f"{row['setting']}: {_fate(row)}" for _, row in verdicts.iterrows())
    return (
        f"{said}, more than noise gives (p = {null['p']:.3f}). With persons blurred {left['image']:.0%} of "
        f'it is left, with "person" for man and woman {left["text"]:.0%}: it comes in by the '
        f"{min(left, key=left.__getitem__)} (planted: the {MODEL.rpartition('-')[2]}).\n"
        f"Taking it out, at the image encoder and at the text: {'; '.join(fates)}."
    )


def _fate(row: pd.Series) -> str:
    """What survives correction of a setting."""
    own = "smaller" if row["attributable_adjusted"] == "reduced" else "not shown to be smaller"
    b = {"not shown": "not shown to change"}.get(row["bias_adjusted"], row["bias_adjusted"])
    return f"B {b}, gaps {own} than under its placebo"


def _following() -> str:
    return (
        "your own photos (a COCO folder, or one with photos.csv) and model:\n"
        "  vlbias init PHOTO_FOLDER --model FOLDER_OR_HUB_NAME --out study.toml\n"
        "  vlbias check study.toml && vlbias run study.toml && vlbias report runs/study"
    )
