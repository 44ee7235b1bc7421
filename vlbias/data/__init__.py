"""Everything that ends in examples; `DATASETS` names the readers and imports none of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.registry import Entry, Registry

if TYPE_CHECKING:
    from vlbias.causal.example import Example
    from vlbias.data.gender_labels import GenderRule
    from vlbias.data.table import Dataset
    from vlbias.data.texts import Texts

__all__ = [
    "DATASETS",
    "PAIRS",
    "PREPARED",
    "TEXTS",
    "open_dataset",
    "read_photo_dataset",
    "read_text_dataset",
]

DATASETS: Registry[Callable[..., Dataset]] = Registry(
    "dataset",
    {
        "coco": Entry(
            "vlbias.data.coco:read_coco",
            "MSCOCO photos with captions and boxes; perceived gender from captions",
        ),
        "pascal-sentence": Entry(
            "vlbias.data.pascal:read_pascal",
            "PASCAL-Sentence photos with five sentences and VOC boxes",
        ),
        "own": Entry(
            "vlbias.data.own_photos:read_own",
            "your own photos and groups from a CSV or JSONL file",
        ),
        "scenes": Entry(
            "vlbias.data.scene_folder:read_scenes",
            "rendered scenes in which what tells gender, and what goes with it, was chosen",
        ),
        "coco-zhao": Entry(
            "vlbias.data.people.coco_zhao:read_coco_zhao",
            "COCO with annotators' perceived gender and skin tone (Zhao et al. 2021)",
        ),
        "facet": Entry(
            "vlbias.data.people.facet:read_facet",
            "FACET: persons with classes; gender presentation, skin tone and age by votes",
        ),
        "fairface": Entry(
            "vlbias.data.people.fairface:read_fairface",
            "FairFace: faces with perceived gender, race and age",
        ),
        "fhibe": Entry(
            "vlbias.data.people.fhibe:read_fhibe",
            "FHIBE: persons who told their pronouns, age and ancestry themselves",
        ),
        "miap": Entry(
            "vlbias.data.people.miap:read_miap",
            "MIAP: persons of Open Images with perceived gender and age",
        ),
        "phase": Entry(
            "vlbias.data.people.phase:read_phase",
            "PHASE: persons of web photos; gender, skin, age and ethnicity by votes",
        ),
        "visogender": Entry(
            "vlbias.data.people.visogender:read_visogender",
            "VisoGender: persons at work and their perceived gender",
        ),
    },
)

TEXTS: Registry[Callable[..., Texts]] = Registry(
    "data set of texts",
    {
        "professions": Entry(
            "vlbias.data.professions:read_professions",
            "professions in 17 templates or whole sentences, he, she or they (for language models)",
        ),
        "names": Entry(
            "vlbias.data.names:read_names",
            "first names in templates: he, she or the singular they (for language models)",
        ),
        "winobias": Entry(
            "vlbias.data.coreference:read_winobias",
            "WinoBias sentences in pairs, two continuations (for language models)",
        ),
        "winogender": Entry(
            "vlbias.data.coreference:read_winogender",
            "Winogender sentences in pairs, two continuations (for language models)",
        ),
        "texts": Entry(
            "vlbias.data.texts:read_texts",
            "your own prompts, worlds and candidates from a JSONL file (for language models)",
        ),
    },
)

PAIRS: Registry[Callable[..., list[Example]]] = Registry(
    "data set of paired images",
    {
        "genderbias-vl": Entry(
            "vlbias.data.image_pairs.genderbias_vl:read_genderbias_vl",
            "GenderBias-VL: generated images of occupations, one per gender",
        ),
        "pairs": Entry(
            "vlbias.data.image_pairs.pairs:read_pairs",
            "PAIRS: generated scenes with a person of two races and two genders",
        ),
        "social-counterfactuals": Entry(
            "vlbias.data.image_pairs.social_counterfactuals:read_social_counterfactuals",
            "SocialCounterfactuals: generated images that differ in race, gender or build",
        ),
    },
)
"""Readers of examples in two worlds, for `vlbias.load_dataset`; the pair is the cluster."""

PREPARED = {"coco-gender": "coco", "pascal-gender": "pascal_sentence"}
"""Tables that `datasets/*/prepare.py` writes: name to the folder below `datasets/` or VLBIAS_DATA."""


def read_text_dataset(name: str, path: Path | None, options: Mapping[str, Any]) -> Texts:
    """The prompts of a registered data set of texts.

    Args:
        name: One of `TEXTS`.
        path: Where its files are; some come with a small own-written set for None.
        options: Keyword arguments of its reader, such as "statistic" of winogender.

    Raises:
        UnknownName: if there is no such data set, or its reader has no such option.
        BadData: if its files are missing or wrong, or an option's value is.
    """
    from vlbias.data.text_files import files_read
    from vlbias.data.texts import texts_folder

    read = TEXTS.load(name)
    known = {
        option
        for option, about in signature(read).parameters.items()
        if about.kind is about.KEYWORD_ONLY
    }
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {name} (study field 'dataset.options')", option, known)
    with files_read() as found:
        texts = read(path, **options)
    root = texts_folder(path)
    files = {
        "dataset.path" if file == root else Path(os.path.relpath(file, root)).as_posix(): digest
        for file, digest in found.items()
    }
    return replace(texts, files=files)


def read_photo_dataset(
    name: str,
    path: Path,
    rule: GenderRule | None,
    *,
    images_anywhere: bool = False,
    group: str = "",
    several: str = "",
) -> Dataset:
    """What a reader of photos makes of a folder.

    Args:
        name: One of `DATASETS`.
        path: Folder or file.
        rule: How groups are read from captions, for readers that do.
        images_anywhere: Whether paths of photos may leave the folder.
        group: The annotated attribute that makes the groups, or several joined by "×"; the
            reader's own if empty.
        several: What is done with photos of several persons; the reader's own rule if empty.

    Raises:
        UnknownName: if there is no such data set.
        BadStudy: if its reader has no such choice.
        BadData: if its files are missing or wrong.
    """
    read = DATASETS.load(name)
    asked = {key: value for key, value in (("group", group), ("several", several)) if value}
    for key, value in asked.items():
        if key not in signature(read).parameters:
            raise BadStudy(
                f"dataset.{key}", value, f"no such key: reader {name!r} has no choice of it"
            )
    return read(path, rule, images_anywhere=images_anywhere, **asked)


def open_dataset(name: str, path: Path | None = None) -> Dataset:
    """A prepared table, or what a reader makes of a folder with its default rule.

    Args:
        name: One of `PREPARED`, or a reader of `DATASETS`.
        path: Folder or file; may be left out for prepared tables, which are then looked for in
            `datasets/` of the working directory, or in the folder that VLBIAS_DATA names.

    Raises:
        UnknownName: if there is no such data set, with suggestions.
        BadData: if its files are missing or wrong.
    """
    if name in PREPARED:
        from vlbias.data.table import load_dataset_table

        root = Path(os.environ.get("VLBIAS_DATA", "datasets"))
        return load_dataset_table(path or root / PREPARED[name])
    if name not in DATASETS:
        raise UnknownName("dataset", name, [*PREPARED, *DATASETS])
    if path is None:
        raise BadData(f"data set {name!r} needs a path: the folder or file that its reader reads")
    return DATASETS.load(name)(path)
