"""What a page says of a study of bias, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vlbias.report.blocks import Block, Part, Section, block
from vlbias.report.funnel import data_part
from vlbias.store.run_folder import Run
from vlbias.studies.bias.glance import at_a_glance
from vlbias.studies.bias.numbers import Tables
from vlbias.studies.bias.page.columns import group_columns, world_columns
from vlbias.studies.bias.page.mediators import mediator_blocks
from vlbias.studies.bias.page.scenes import scenes_of
from vlbias.studies.bias.page.worlds import base_world, change_blocks, disparity_blocks
from vlbias.studies.bias.sentences import (
    base_in_words,
    bias_in_words,
    context_in_words,
    interaction_in_words,
    objects_in_words,
    worlds_in_words,
)
from vlbias.studies.photos.decisions import departures
from vlbias.studies.photos.example_photos import example_photos
from vlbias.studies.photos.example_scenes import is_rendered
from vlbias.studies.photos.guidance import photo_guidance
from vlbias.studies.photos.model_card import photo_metrics, task_of
from vlbias.studies.photos.run_comparison import compare
from vlbias.studies.photos.scores import has_enough_captions

__all__ = ["compare", "funnel_steps", "section"]


def section(run: Run, tables: Tables, *, with_images: bool = False) -> Section:
    """Headline, readings and parts of one run for the page's template."""
    point = run.manifest["study"]["operating_point"]
    said = (
        _said(run, tables) if tables.bias["status"].iloc[0] == "ok" else _insufficient(run, tables)
    )
    parts = [*said.parts, *_pictures(run, with_images), data_part(run, further=funnel_steps(run))]
    return replace(
        said,
        parts=parts,
        glance=at_a_glance(run, tables),
        guidance=photo_guidance(run),
        task=task_of(run),
        metrics=photo_metrics(run, tables.conditions.iloc[0], point.get("split", "dev")),
    )


def _pictures(run: Run, with_images: bool) -> Iterator[Part]:
    if is_rendered(run):
        yield Part("Example scenes", [scenes_of(run)])
    elif with_images:
        yield Part("Example photos", [example_photos(run)])


def funnel_steps(run: Run) -> dict[str, int]:
    """The steps of the funnel behind the study's splits: what is reported, and what is measured."""
    point, samples = run.manifest["study"]["operating_point"], run.samples
    steps = {}
    reported = samples["split"].isin(point["report"] or samples["split"])
    if point["report"]:
        steps[f"reported: {', '.join(point['report'])}"] = int(reported.sum())
    least = point.get("min_captions", 1)
    if least > 1:
        kept = int((has_enough_captions(run) & reported).sum())
        steps[f"measured: at least {least} agreeing captions"] = kept
    return steps


def _said(run: Run, tables: Tables) -> Section:
    """What is said where objects have support."""
    groups = run.manifest["study"]["dataset"]["groups"]
    world, shown = base_world(tables), bool(tables.bias["p"].iloc[0] <= 0.05)
    readings = [
        *departures(run),
        *base_in_words(world),
        *([objects_in_words(tables.objects, groups)] if shown else []),
        *worlds_in_words(tables.statements, tables.levels, is_bias_shown=shown),
        *context_in_words(tables.context),
        *interaction_in_words(tables.modalities),
    ]
    parts = (
        Part("How large the bias is", list(disparity_blocks(tables, groups))),
        Part("What the interventions change", list(change_blocks(tables))),
        Part("Through which parts of the model effects pass", list(mediator_blocks(run, tables))),
        Part("How far to trust these numbers", list(_trust(tables))),
    )
    return Section(bias_in_words(tables.bias.iloc[0], groups, world), readings, parts)


def _insufficient(run: Run, tables: Tables) -> Section:
    """What can be said where no object has support: how much is missing, and no effect of anything."""
    point = run.manifest["study"]["operating_point"]
    objects = group_columns(tables.objects, run.manifest["study"]["dataset"]["groups"])
    text = (
        f"Each group needs {point['min_negatives']} photos without an object and {point['min_events']:g} "
        "false positives to expect in them. Take more photos, more splits, or fewer classes that are nearly "
        "always there; lower limits let noise in. Effects of interventions are in the tables beside the page, "
        "without support."
    )
    parts = (
        Part(
            "What is missing",
            [
                block("Objects and their support", text, table=objects, folded=True),
                block(
                    "Worlds",
                    "Without support, no B is given.",
                    table=world_columns(tables.conditions),
                ),
            ],
        ),
        Part(
            "How far to trust these numbers",
            [block("Exactness", "What must hold by construction.", table=tables.checks)],
        ),
    )
    world = base_world(tables)
    said = bias_in_words(tables.bias.iloc[0], world=world)
    return Section(said, base_in_words(world), parts)


def _trust(tables: Tables) -> Iterator[Block]:
    yield block(
        "Labels, and changes that should not matter",
        "Each label rule has photos and objects of its own: compare with floor and number of objects in "
        "view. Random exchanges of labels are means over repeats. A B that moves as much under an "
        "irrelevant change as under an intervention says little about gender.",
        table=tables.sensitivity,
    )
    yield block("Exactness", "What must hold by construction.", table=tables.checks)
