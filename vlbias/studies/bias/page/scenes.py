"""Rendered scenes of a study of bias: the largest false alarms, with boxes and masks."""

from __future__ import annotations

from vlbias.data.world import World
from vlbias.errors import BadTable
from vlbias.report.blocks import Block
from vlbias.store.run_folder import Run
from vlbias.studies.photos.example_photos import dataset_of, false_positives
from vlbias.studies.photos.example_scenes import (
    Shown,
    gallery,
    scene_example,
    scene_image,
    with_boxes,
)
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["scenes_of"]

_SCENES = 4


def scenes_of(run: Run) -> Block:
    """Scenes with the largest false alarms of a run, with boxes and in their worlds.

    Args:
        run: On rendered scenes.

    Returns:
        The block; one that says why, where the scenes are not there any more.
    """
    try:
        dataset = dataset_of(run)
    except BadTable as error:
        return Block("Example scenes", f"Not shown: {error}")
    found = list(false_positives(PresenceScores(run), set(dataset.frame["id"]), _SCENES))
    worlds = {
        name: World(**world)
        for name, world in run.manifest["study"]["worlds"].items()
        if name in ("null", "mask-gender", "placebo-image")
    }
    shown: list[Shown] = []
    for sample, said in found:
        example = scene_example(dataset, sample, worlds, run.manifest["study"]["seed"])
        shown.append(
            (with_boxes(scene_image(example, "null"), dataset, sample), f"{sample}: {said}")
        )
        shown += [
            (scene_image(example, name), name)
            for name in worlds
            if name in example.worlds and name != "null"
        ]
    text = (
        "For each of the objects with the largest gaps, the scene without it on which the model was most "
        "sure of it: with boxes (orange: person, blue: objects, those behind crates too), with the person "
        "masked, and with the placebo's mask. Chosen by score, not as typical."
    )
    return Block("False positives on scenes", text, gallery=gallery(shown))
