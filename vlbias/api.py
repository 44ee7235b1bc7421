"""Everyday calls in Python: examples in memory, potential outcomes and effects as frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from vlbias.analysis.mean_effects import mean_effects
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example, Picture
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.errors import BadData, BadModel, BadOption, BadStudy
from vlbias.outcomes import OUTCOMES

__all__ = ["effects", "load_dataset", "paired_examples", "potential_outcomes"]


def load_dataset(
    name: str, path: Path | str | None = None, *, limit: int | None = None, **options: Any
) -> list[Example]:
    """Examples of a prepared data set or a reader, in the worlds null, mask-gender, replace-gender, both.

    Args:
        name: "coco-gender" or "pascal-gender" for tables that `datasets/*/prepare.py` wrote, or a
            reader of `vlbias list datasets`; or paired images: "pairs", "social-counterfactuals",
            "genderbias-vl", whose worlds are null (first group) and both (second).
        path: Where it is; for prepared tables `datasets/coco` or `datasets/pascal_sentence` in the working
            directory, unless the environment variable VLBIAS_DATA names another place.
        limit: Only so many photos, chosen by the seed.
        **options: Of `vlbias.data.counterfactual_examples.make_examples`: prompt, splits, groups, seed; of
            paired images those of their reader.

    Raises:
        UnknownName: if there is no such data set.
        BadData: if its files are missing or wrong.
    """
    from vlbias.data import PAIRS, open_dataset

    if name in PAIRS:
        if path is None:
            raise BadData(f"data set {name!r} needs a path: the folder that its reader reads")
        return PAIRS.load(name)(Path(path), limit=limit, **options)
    from vlbias.data.counterfactual_examples import WORLDS, make_examples

    dataset = open_dataset(name, None if path is None else Path(path))
    names = ("null", "mask-gender", "replace-gender", "both")
    options.setdefault("prompt", "caption")
    return make_examples(dataset, {world: WORLDS[world] for world in names}, limit=limit, **options)


def paired_examples(
    images: Sequence[Image.Image | Path],
    other_images: Sequence[Image.Image | Path],
    texts: Sequence[str | tuple[str, ...]],
    other_texts: Sequence[str | tuple[str, ...]] | None = None,
    *,
    groups: Sequence[Any] | None = None,
    present: Sequence[Collection[str]] | None = None,
    splits: Sequence[str] | None = None,
) -> list[Example]:
    """Examples from images and texts in memory: worlds "null" and "both".

    Args:
        images: Image of the null world, PIL or path.
        other_images: The same photo in the other world.
        texts: Caption, or a tuple of class prompts.
        other_texts: In the other world; `texts` if not given.
        groups: Group of each example, a word or a number.
        present: Classes that are truly there in each example; `vlbias.bias` needs them.
        splits: Split of each example, such as "dev" for thresholds and "test" for what is reported.

    Raises:
        BadData: if the lengths differ, or `present` has a word in place of a collection of words.
    """
    others = texts if other_texts is None else other_texts
    labels = ["all"] * len(images) if groups is None else list(groups)
    parts = ["all"] * len(images) if splits is None else list(splits)
    truths = [{}] * len(images) if present is None else [_truth(one) for one in present]
    sizes = {
        "images": len(images),
        "other_images": len(other_images),
        "texts": len(texts),
        "other_texts": len(others),
        "groups": len(labels),
        "present": len(truths),
        "splits": len(parts),
    }
    if len(set(sizes.values())) != 1:
        raise BadData(f"lengths differ: {sizes}; give one of each per example")
    return [
        Example(
            f"pair/{i}",
            f"pair/{i}",
            {
                "null": {"image": Picture(a), "text": t},
                "both": {"image": Picture(b), "text": u},
            },
            targets=truth,
            attributes={"group": group} if splits is None else {"group": group, "split": part},
        )
        for i, (a, b, t, u, group, truth, part) in enumerate(
            zip(images, other_images, texts, others, labels, truths, parts, strict=True)
        )
    ]


def _truth(classes: Collection[str]) -> dict[str, frozenset[str]]:
    if isinstance(classes, str):
        raise BadData(
            f"present: got the word {classes!r}; give a collection of classes, such as a set"
        )
    return {"present": frozenset(classes)}


def potential_outcomes(
    model: StagedModel,
    examples: Sequence[Example],
    mediators: Sequence[str | Mediator] = (),
    outcomes: Sequence[str] = ("match",),
    *,
    contrasts: Sequence[str] = ("null->both",),
    classes: Sequence[str] = (),
    batch_size: int = 16,
) -> pd.DataFrame:
    """Y(a, M(b)) of every example, contrast, mediator and arm, as a long frame in memory.

    For studies that take minutes, `run` stores the same numbers as it goes.

    Args:
        model: From `load_model`, or an adapter around a model in memory.
        examples: From `load_dataset` or `paired_examples`.
        mediators: Sites, with wildcards.
        outcomes: "match" for captions, "presence" for class prompts.
        contrasts: Pairs of worlds.
        classes: Names of the class prompts, for "presence".
        batch_size: Examples at a time.

    Returns:
        Columns sample_id, cluster, contrast, mediator, arm, outcome, target, value, status, the examples'
        attributes, and, where examples say so, whether the target is truly present.

    Raises:
        UnknownName: for a mediator or outcome that does not exist.
        BadModel: if a score is NaN or infinite.
    """
    pairs = [Contrast.parse(text) for text in contrasts]
    named = resolve(model, mediators)
    engine = Engine(model, pairs, named, altered=altered_channels(examples, pairs))
    engine.share(examples, cell=batch_size)
    measured = [OUTCOMES.load(name)(tuple(classes)) for name in outcomes]
    frames = []
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        for arm in engine.run(batch):
            chosen = [batch[row] for row in arm.examples]
            for outcome in measured:
                measure = outcome(arm.readout, chosen)
                bad = np.repeat(arm.misaligned.numpy(), len(measure.targets))
                value = np.where(bad, np.nan, measure.value.ravel().astype(np.float64))
                if not np.isfinite(value[~bad]).all():
                    first = int(np.flatnonzero(~bad & ~np.isfinite(value))[0])
                    raise BadModel(
                        f"{arm.contrast.name}, mediator {arm.mediator!r}, arm {arm.arm}: {outcome.name} of "
                        f"{chosen[first // len(measure.targets)].id!r} is {value[first]}; look for broken "
                        "weights or an input that holds NaN"
                    )
                frame = pd.DataFrame(
                    {
                        "sample_id": np.repeat([e.id for e in chosen], len(measure.targets)),
                        "target": np.tile(measure.targets, len(chosen)),
                        "value": value,
                        "status": np.where(bad, "misaligned", "ok"),
                    }
                )
                if all("present" in e.targets for e in chosen):
                    truth = [t in e.targets["present"] for e in chosen for t in measure.targets]
                    frame["present"] = truth
                names = {"mediator": arm.mediator, "arm": arm.arm, "outcome": outcome.name}
                frames.append(frame.assign(contrast=arm.contrast.name, **names))
    if not frames:
        raise BadData(f"no example has both worlds of {', '.join(contrasts) or 'any contrast'}")
    about = pd.DataFrame(
        [{"sample_id": e.id, "cluster": e.cluster, **e.attributes} for e in examples]
    )
    return pd.concat(frames, ignore_index=True).merge(about, on="sample_id")


def effects(
    arms: pd.DataFrame, by: str | None = None, *, n_boot: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Mean TE, NDE, NIE, TIE and INT of potential outcomes, with intervals over clusters.

    Args:
        arms: From `potential_outcomes`.
        by: An attribute, such as "group" (also under the name "gender"); one row per value of it and
            one for the difference of two.
        n_boot: Resampling draws.
        seed: Of the draws.

    Returns:
        Columns contrast, mediator, outcome, target, effect, group, estimate, lo, hi, n, n_clusters, cut.

    Raises:
        BadStudy: if there is no such attribute.
        BadOption: if there is no draw, or the seed is negative.
        MissingArms: if an arm is missing.
        BadTable: if a sample has no value of it.
    """
    for name, given, least in (("n_boot", n_boot, 1), ("seed", seed, 0)):
        if given < least:
            raise BadOption(name, given, f"{least} or more")
    column = "group" if by == "gender" and "gender" not in arms else by
    if column is not None and column not in arms:
        raise BadStudy("by", by, f"an attribute of the examples: {sorted(set(arms) - {'value'})}")
    return mean_effects(arms, by=column, draws=n_boot, rng=np.random.default_rng(seed))
