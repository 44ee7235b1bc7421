"""What a page says of planted models: which method names the right encoder, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Guidance, Part, Section
from vlbias.report.claims import Sentence
from vlbias.store.run_folder import Run
from vlbias.studies.planted.claims import claim
from vlbias.studies.planted.figures import wrong_shares
from vlbias.studies.planted.numbers import Tables
from vlbias.studies.planted.plants import TRUTH

__all__ = ["section"]

_MEANINGS = {
    "method": "how the part of the model that bias comes from is looked for",
    "plant": "where the bias of the model was planted; unbiased: nowhere",
    "seed": "which set of scenes",
    "seeds": "sets of scenes; a count",
    "encoder": "the part of the model",
    "printed": "the number whose cause is asked for; a sum of rates over objects, or of scores",
    "change": "of the printed number, through the encoder; same unit",
    "share": "of what both encoders change in size; 0 to 1",
    "named": "whether the method names the encoder",
    "right": "whether exactly the planted encoders are named; in the first table how many sets",
    "wrong_share": "share that is put down to the encoder without bias, mean over sets; 0 to 1",
    "lo": "lower 95 % limit of that share",
    "hi": "upper 95 % limit of that share",
}

block = partial(blocks.block, meanings=_MEANINGS)

_GUIDANCE = Guidance(
    limits=(
        "Planted models have one cue, planted as cleanly as training allows, and their scenes are not photos. "
        "A method that fails here will fail on photos; one that passes here has passed here.",
        "No method names an encoder through which less than 5 % of its number falls: tests find effects of any "
        "size, and no plant is perfect.",
        "Limits of shares are Student's over the sets of scenes; they are not resampled.",
    ),
    wording=(
        (
            "effects named the planted encoder in 5 of 5 sets of scenes",
            "effects always finds the encoder; effects is correct",
            "What is counted is a few sets of rendered scenes of a few small models.",
        ),
    ),
    glossary=(
        ("plant", "Through which encoder a model's bias comes: image, text, both, or none (unbiased)."),
        ("effects", "Change of B, cross-fit, through each encoder, averaged over both orders; tested against 0 "
         "and against the placebo, and B against its noise floor."),
        ("percent change", "Change of B, plug-in, where one encoder gets the masked input; no test."),
        ("gradient", "First-order change of the gap of mean scores along the change of an encoder's output; "
         "no test."),
        ("right", "Sets of scenes in which exactly the planted encoders are named; none, without bias."),
        ("printed", "The number whose cause is asked for, mean over sets of scenes."),
        ("wrong share", "What of the changes through both encoders is put down to the one without bias."),
    ),
)  # fmt: skip


def section(run: Run, tables: Tables, *, with_images: bool = False) -> Section:
    """Headline, readings and blocks of one run for the page's template.

    Args:
        run: The run.
        tables: Its tables.
        with_images: Not used: the study has no photos.
    """
    first, *others = (_counted(str(name), rows) for name, rows in _methods(tables.summary))
    return Section(
        first,
        others,
        [Part("What the methods say", list(_blocks(run, tables)))],
        _GUIDANCE,
    )


def _methods(summary: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield from summary.groupby("method", sort=False)


def _counted(method: str, rows: pd.DataFrame) -> Sentence:
    """How often a method is right, where there is a bias and where there is none."""
    biased = rows["plant"].map(lambda plant: bool(TRUTH[plant]))
    (right, sets), (quiet, empty) = (
        (int(part["right"].sum()), int(part["seeds"].sum()))
        for part in (rows[biased], rows[~biased])
    )
    return claim("encoders-named").say(
        method=f"{method[0].upper()}{method[1:]}", right=right, sets=sets, quiet=quiet, empty=empty
    )


def _blocks(run: Run, tables: Tables) -> Iterator[Block]:
    study = run.manifest["study"]
    yield block(
        "How often each method is right",
        f"Models of family {study['family']}, sets of {study['photos']} scenes in which no object goes with "
        "anybody: all bias is the model's. Right counts sets in which exactly the planted encoders are named.",
        table=tables.summary,
    )
    yield block(
        "What is put down to the wrong encoder",
        "Of what the changes through both encoders are in size, the share of the one without bias, where bias "
        "comes through one alone. Mean over sets of scenes, with Student's 95 % limits.",
        figure=wrong_shares(tables.summary),
        alt=_shares_in_words(tables.summary),
    )
    yield block(
        "Every model, set of scenes, method and encoder",
        "The change is of the printed number, through the encoder; the share is of both encoders' changes.",
        table=tables.methods,
        folded=True,
    )


def _shares_in_words(summary: pd.DataFrame) -> str:
    rows = summary.dropna(subset=["wrong_share"])
    said = (
        f"{row['method']}, bias in the {row['plant']}: {row['wrong_share']:.1%} "
        f"[{row['lo']:.1%}, {row['hi']:.1%}]"
        for _, row in rows.iterrows()
    )
    return f"Points with limits, one a method and model. {'; '.join(said)}."
