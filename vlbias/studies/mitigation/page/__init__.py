"""What a page says of a study of mitigations, part by part."""

from __future__ import annotations

from functools import partial

import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Part, Section
from vlbias.report.funnel import data_part
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.figures import maps, pareto_front, shares
from vlbias.studies.mitigation.glance import at_a_glance
from vlbias.studies.mitigation.numbers import Tables
from vlbias.studies.mitigation.page.meanings import MEANINGS
from vlbias.studies.mitigation.page.pictures import picture_blocks
from vlbias.studies.mitigation.page.scenes import changed_scenes
from vlbias.studies.mitigation.page.sentences import (
    headline,
    left_out,
    margins_in_words,
    readings,
)
from vlbias.studies.mitigation.page.tables import (
    ablation_table,
    condition_table,
    performance_table,
    summary_table,
)
from vlbias.studies.mitigation.results import Conditions
from vlbias.studies.photos.decisions import departures
from vlbias.studies.photos.example_scenes import is_rendered
from vlbias.studies.photos.guidance import photo_guidance
from vlbias.studies.photos.model_card import photo_metrics, task_of
from vlbias.studies.photos.run_comparison import compare

__all__ = ["compare", "section"]

block = partial(blocks.block, meanings=MEANINGS)


def section(run: Run, tables: Tables, *, with_images: bool = False) -> Section:
    """Headline, readings and parts of one run for the page's template.

    Args:
        run: The run.
        tables: Its numbers.
        with_images: Photos are never shown; rendered scenes always are.
    """
    protocol = run.manifest["study"]["mitigation"]
    reported = {f"reported: {protocol['report']}": _reported(run, protocol["report"])}
    parts = [
        Part(
            "What the mitigations leave of the bias",
            [*picture_blocks(run, tables), *_change_blocks(tables)],
        ),
        Part("What they cost", _cost_blocks(tables)),
        Part("Every condition", [_condition_block(tables), *_map_blocks(run)]),
        *([Part("Example scenes", [changed_scenes(run)])] if is_rendered(run) else []),
        data_part(run, left_out(run, tables), reported),
    ]
    return Section(
        headline(tables),
        [*departures(run), *readings(tables)],
        parts,
        glance=at_a_glance(run, tables),
        guidance=photo_guidance(run),
        task=task_of(run),
        metrics=photo_metrics(run, tables.conditions.iloc[0], protocol["choose"]),
    )


def _reported(run: Run, split: str) -> int:
    return int((run.samples["split"] == split).sum())


def _change_blocks(tables: Tables) -> list[Block]:
    """What is left of every mitigation, its price, and every setting and strength."""
    return [
        block(
            "What is left of every mitigation",
            "Each setting at the strength that was chosen on the choosing split. Three statements are kept "
            "apart: B itself; the gaps in the direction that they had (B_lin) beside the model as it is at "
            "thresholds that are as strict for every class; and the same beside the setting's placebo. Limits "
            "are 95 % of each alone, paired over photos; words are after correction for all of them (Holm).",
            table=summary_table(tables.verdicts),
            figure=shares(tables.verdicts),
        ),
        block(
            "Bias against performance",
            "A line is a setting over its strengths, hollow marks are its placebos, the star is the model "
            "as it is, on the same photos as each of them: a placebo cannot be run on every photo. Left the "
            "split on which strengths were chosen (rings: its Pareto front), right the split that is "
            "reported. Thresholds are calibrated for every condition on the left split.",
            figure=pareto_front(_panels(tables), tables.metric),
        ),
        block(
            "Every method, strength and site",
            "Shares are of B_lin without mitigation on the photos that a setting and its placebo could both "
            "be run on; none is given where its denominator may be 0. Only chosen strengths are a test; the "
            "others are shown so that nothing is hidden.",
            table=ablation_table(tables.verdicts),
        ),
    ]


def _cost_blocks(tables: Tables) -> list[Block]:
    """Performance, overhead and time to fit."""
    return [
        block(
            "Performance at the chosen strengths",
            margins_in_words(tables),
            table=performance_table(tables),
        ),
        block(
            "Overhead",
            "Preparing and encoding, median of five rounds, plain and mitigated in turn; on a CPU, "
            "time of all its cores. Memory is how much higher the peak of the process rises.",
            table=tables.overhead,
        ),
        block("Fits", "Time to fit, once for all strengths.", table=tables.fits),
    ]


def _condition_block(tables: Tables) -> Block:
    return block(
        "Bias of every condition",
        "B at each condition's own operating point, beside its noise floor.",
        table=condition_table(tables),
    )


def _map_blocks(run: Run) -> list[Block]:
    stored = Conditions(run)
    found, frame = stored.maps(), stored.frame
    drawn = {}
    for own in frame[(frame["role"] == "mitigated") & frame["name"].isin(found)].to_dict("records"):
        names = [own["name"], *stored.placebos(own).values()]
        drawn[own["name"]] = [found[name] for name in names if name in found]
    figure = maps(drawn)
    if figure is None:
        return []
    return [
        block(
            "Where features changed",
            "Tokens of the image encoder's last block on their grid, means over the reported photos: norm "
            "before, norm after, and norm of the change over the norm before, of each setting at its strongest "
            "and of its placebo, on the photos that it could be run on. No photo is shown. Methods that "
            "change no token there are left out.",
            figure=figure,
        )
    ]


def _panels(tables: Tables) -> dict[str, pd.DataFrame]:
    """Changes of bias and performance of every condition, on either split."""
    metric = tables.metric
    kept = tables.retention[tables.retention["metric"] == metric].set_index("name")["change"]
    choice, report = tables.choice, tables.conditions
    return {
        "strengths chosen here": choice.assign(
            bias=choice["B_crossfit"] - choice["B_crossfit_null"],
            performance=choice[metric] - choice[f"{metric}_null"],
        ),
        "reported": report.assign(
            bias=report["B_change"], performance=report["name"].map(kept).fillna(0.0)
        ),
    }
