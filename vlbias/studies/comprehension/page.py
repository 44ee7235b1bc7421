"""What a page says of comprehension: the contrast without selection first, the published one beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Glance, Guidance, Part, Section, Verdict
from vlbias.report.claims import Sentence
from vlbias.report.tables import with_limits
from vlbias.store.run_folder import Run
from vlbias.studies.comprehension import figures
from vlbias.studies.comprehension.claims import CLAIMS
from vlbias.studies.comprehension.meanings import MEANINGS
from vlbias.studies.comprehension.numbers import Tables

__all__ = ["compare", "section"]

_CLAIMS = {claim.name: claim for claim in CLAIMS}
block = partial(blocks.block, meanings=MEANINGS)
_IMAGE_TASKS = ("scene-objects", "scene-image", "photo-objects", "photo-image")
"""Beginnings of tasks whose edits are of images."""

GUIDANCE = Guidance(
    limits=(
        "A deep edit changes meaning and form; the meaning of a text cannot be changed alone. The contrast "
        "is of the two arms, and says as much of comprehension as their edits are alike in everything but "
        "meaning.",
        "A changed answer need not be a right one: the contrast says that meaning is followed, not that it "
        "is followed well.",
        "Where choices are scored, a subject must choose: it cannot say that a masked item has no answer.",
    ),
    wording=(
        (
            "answers change more often when the meaning is edited, by .30",
            "the model understands the items",
            "What is measured is how often answers change.",
        ),
    ),
    glossary=(
        ("deep", "An edit of the meaning, and of the form with it."),
        ("surface", "An edit of the form alone, of the same size."),
        ("unconditioned contrast", "Changed answers after deep edits less after surface edits, all items."),
        ("TE", "Of items answered correctly, share of deep edits after which the answer is another."),
        ("AICE", "The same of surface edits."),
        ("ADCE", "TE less AICE."),
        ("PN, PS", "Probability that the meaning is necessary, and sufficient, for a correct answer, if its "
         "effect is monotone."),
    ),
)  # fmt: skip


def section(run: Run, tables: Tables, *, with_images: bool = False) -> Section:
    """Headline, readings and blocks of one run for the page's template.

    Args:
        run: The run.
        tables: Its tables.
        with_images: Not used: the items are texts.
    """
    first, *others = _sentences(run, tables)
    parts = [Part("Deep and surface edits", list(_effect_blocks(tables)))]
    if len(tables.mediators):
        parts.append(Part("Where in the model", [_mediator_block(tables)]))
    parts.append(Part("Answers", list(_answer_blocks(tables))))
    glance = [_glance(first, tables)]
    return Section(first, others, parts, GUIDANCE, glance=glance, task="text-generation")


def _glance(first: Sentence, tables: Tables) -> Glance:
    """The contrast without selection; edits of unequal size leave it open."""
    verdicts: dict[str, Verdict] = {
        "comprehension-follows-meaning": "shown",
        "comprehension-not-shown": "not shown",
    }
    row = tables.effects.set_index("quantity").loc["unconditioned"]
    return Glance(
        "What was found?", first, with_limits(row), verdicts.get(first.claim, "see below")
    )


def compare(runs: Sequence[tuple[Any, Any]], *, draws: int = 2000, seed: int = 0) -> list[Block]:
    """Subjects side by side: accuracy and comprehension are two things."""
    if len(runs) < 2:
        return []
    names = [f"{run.manifest['model']['name']}, {run.manifest['study']['task']}" for run, _ in runs]
    rows = []
    for name, (_, tables) in zip(names, runs, strict=True):
        found = tables.effects.set_index("quantity")
        row: dict[str, Any] = {"subject": name}
        for quantity in ("accuracy", "unconditioned", "ADCE", "AICE"):
            row[quantity] = _with_limits(found.loc[quantity])
        rows.append({**row, "sizes matched": bool(tables.sizes["matched"].iloc[0])})
    return [
        block(
            "Accuracy and comprehension",
            "Subjects of equal accuracy can differ in whether their answers follow the meaning. Limits are "
            "over clusters of items. Where no answer is right, as in tasks on cues, there is no accuracy.",
            table=pd.DataFrame(rows),
            figure=figures.accuracy_and_comprehension(names, [t.effects for _, t in runs]),
            alt="Accuracy against the contrast, one mark a subject; the numbers stand in the table.",
        )
    ]


def _with_limits(row: pd.Series) -> str:
    if pd.isna(row["estimate"]):
        return "not defined"
    return f"{row['estimate']:.3f} [{row['lo']:.3f}, {row['hi']:.3f}]"


def _sentences(run: Run, tables: Tables) -> Iterator[Sentence]:
    subject = run.manifest["model"]["name"]
    rows = tables.effects.set_index("quantity")
    first = _headline(run, subject, rows.loc["unconditioned"], tables.sizes)
    yield first
    if first.claim != "comprehension-strengths-differ":
        yield from _strengths(tables.sizes)
    if run.manifest["study"]["random_weights"] is not None:
        yield _CLAIMS["comprehension-random-weights"].say(subject=subject)
    accuracy = rows.loc["accuracy"]
    if tables.answers["gold"].any():  # cues of scenes have no right answer
        yield _CLAIMS["comprehension-accuracy"].say(
            subject=subject, accuracy=accuracy["estimate"], lo=accuracy["lo"], hi=accuracy["hi"],
            items=int(accuracy["items"]), chance=_chance(run),
        )  # fmt: skip
    adce, aice, pn, ps = (rows.loc[name] for name in ("ADCE", "AICE", "PN", "PS"))
    if adce["items"]:
        yield _CLAIMS["comprehension-published"].say(
            items=int(adce["items"]), adce=adce["estimate"], adce_lo=adce["lo"],
            adce_hi=adce["hi"], aice=aice["estimate"], aice_lo=aice["lo"], aice_hi=aice["hi"],
        )  # fmt: skip
    if adce["items"] and adce["lo"] > 0:
        yield _CLAIMS["comprehension-necessity"].say(
            pn=pn["estimate"], pn_lo=pn["lo"], pn_hi=pn["hi"], ps=ps["estimate"], ps_lo=ps["lo"],
            ps_hi=ps["hi"],
        )  # fmt: skip
    yield from _no_answers(tables)
    yield from _mediators(tables)


def _headline(run: Run, subject: str, row: pd.Series, sizes: pd.DataFrame) -> Sentence:
    limits = row[["estimate", "lo", "hi"]].to_dict()
    said = {"subject": subject, **limits, "items": int(row["items"])}
    area = sizes.iloc[0]
    if not area["matched"]:
        said |= {"deep": area["deep"], "surface": area["surface"], "unit": _unit(run)}
        return _CLAIMS["comprehension-sizes-differ"].say(**said)
    if row["lo"] <= 0:
        return _CLAIMS["comprehension-not-shown"].say(**said)
    # deep edits that change an image more are no evidence that the meaning counts
    stronger = (
        f"The contrast, {with_limits(row)} over {said['items']} items, may be due to that alone."
    )
    unequal = next(_strengths(sizes, stronger), None)
    return unequal or _CLAIMS["comprehension-follows-meaning"].say(**said)


def _unit(run: Run) -> str:
    """What sizes of edits count."""
    return "pixels" if run.manifest["study"]["task"].startswith(_IMAGE_TASKS) else "words"


def _strengths(sizes: pd.DataFrame, stronger: str = "") -> Iterator[Sentence]:
    """Of images whose edits are of equal area: whether they change pixels as much.

    Args:
        sizes: One row a measure.
        stronger: What follows where deep edits are the stronger ones; then nothing is said where they are not.
    """
    rows = sizes.set_index("measure")
    if "strength" not in rows.index or rows.loc["strength", "matched"]:
        return
    deep, surface = rows.loc["strength", ["deep", "surface"]]
    if deep > surface:
        consequence = stronger or "A contrast above 0 would be no evidence for the meaning."
    elif stronger:
        return
    else:
        consequence = "A contrast above 0 is in spite of that."
    yield _CLAIMS["comprehension-strengths-differ"].say(
        deep=deep, surface=surface, consequence=consequence
    )


def _chance(run: Run) -> str:
    chance = run.manifest.get("chance")
    return f", where guessing gives {chance:.1%}" if chance else ""


def _no_answers(tables: Tables) -> Iterator[Sentence]:
    missing = tables.statuses[tables.statuses["status"] != "ok"]
    if len(missing):
        counts = missing.groupby("status")["answers"].sum()
        yield _CLAIMS["comprehension-no-answer"].say(
            count=int(counts.sum()), total=int(tables.statuses["answers"].sum()),
            reasons=", ".join(f"{name} {count}" for name, count in counts.items()),
        )  # fmt: skip


def _mediators(tables: Tables) -> Iterator[Sentence]:
    rows = tables.mediators
    if rows.empty:
        return
    if not rows["items"].iloc[0]:
        yield _CLAIMS["comprehension-mediators-not-measured"].say()
        return
    found = rows[rows["significant"]]
    said = {"total": len(rows), "items": int(rows["items"].iloc[0])}
    if found.empty:
        yield _CLAIMS["comprehension-no-mediator"].say(**said)
        return
    top = found.iloc[0]
    yield _CLAIMS["comprehension-mediators"].say(
        count=len(found), mediator=top["mediator"], difference=top["difference"], **said
    )


def _effect_blocks(tables: Tables) -> Iterator[Block]:
    said = "; ".join(
        f"{row['quantity']} {row['estimate']:.3f} [{row['lo']:.3f}, {row['hi']:.3f}]"
        for _, row in tables.effects.iterrows()
    )
    yield block(
        "Contrasts",
        "The unconditioned contrast is over all items. ADCE, AICE, TE, PN and PS are of items answered "
        "correctly, which biases ADCE upwards wherever some items are answered from form. Limits are "
        "over clusters.",
        table=tables.effects,
        figure=figures.contrasts(tables.effects),
        alt=f"Points with limits: {said}.",
    )
    yield block(
        "Edit sizes",
        "Words, or pixels, that edits change, mean over items; difference with Student's limits. The strength "
        "of edits of images is the sum of what pixels differ by, in pixels that turn from black to white. "
        "Unequal arms make a subject that goes by form alone look as if it followed meaning.",
        table=tables.sizes,
    )
    yield block(
        "Every variant",
        "Share of answers that changed, over all items.",
        table=tables.variants,
    )


def _mediator_block(tables: Tables) -> Block:
    return block(
        "Mediators of both arms",
        "Natural indirect effect on the log-odds of the right answer, towards the item's total change, after "
        "the first deep edit and the first surface edit; their difference is tested over all mediators at "
        "once. Items whose texts have other numbers of tokens are left out.",
        table=tables.mediators.head(20),
    )


def _answer_blocks(tables: Tables) -> Iterator[Block]:
    yield block(
        "Statuses",
        "Answers by world. Texts whose answer could not be read, or that got none, are no changed answers.",
        table=tables.statuses,
    )
    columns = ["item", "world", "variant", "gold", "answer", "status", "size"]
    yield block(
        "First answers",
        "What was asked and said of the first items; all stand in answers.csv.",
        table=tables.answers[columns].head(25),
        folded=True,
    )
