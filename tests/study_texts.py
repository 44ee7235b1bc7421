"""Study files of every kind with some of their content exchanged for anything that TOML can say."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from taught_models import taught_facts, write_facts
from tiny_language import write_language

__all__ = ["STUDIES", "study_texts", "toml_of", "write_data"]

_PHOTOS = {"name": "own", "path": "p.csv", "groups": ["f", "m"]}
STUDIES: Mapping[str, dict[str, Any]] = {
    "bias": {
        "name": "s", "model": "toy", "contrasts": ["null->both", "null->mask-gender"], "seed": 1,
        "mediators": ["image_encoder", "text_encoder/neuron[*]"], "min_group": 1, "prompt": "template",
        "regions": {"own": "own.json"}, "device": "cpu", "objects": ["cup"], "keep_boxes": 0,
        "dataset": {**_PHOTOS, "splits": ["dev", "test"], "limit": 8,
                    "labels": {"name": "strict", "min_captions": 1, "min_person_area": 2.0}},
        "worlds": {"null": {}, "both": {"image": "mask-gender", "text": "replace-gender"},
                   "mask-gender": {"image": "mask-gender", "region": "own", "strength": 0.5}},
        "operating_point": {"rule": "given", "value": 0.1, "thresholds": {"cup": 0.5, "dog": 0}},
    },
    "mitigation": {
        "name": "s", "model": "toy", "min_group": 1, "dataset": {**_PHOTOS, "limit": 12},
        "operating_point": {"min_negatives": 1, "min_events": 0},
        "mitigation": {
            "strengths": [0.5, 1.0], "placebos": 1, "margin": 0.01, "fit": "fit", "report": "test",
            "methods": [
                {"name": "leace", "options": {"sites": ["image_encoder/neuron"]}},
                {"name": "sfid", "options": {"trees": 4}, "vary": {"features": [2, 4]}, "strengths": [1.0],
                 "pick": {"candidates": ["image_encoder/neuron"], "most": 1}},
            ],
        },
    },
    "language": {
        "kind": "language", "name": "s", "model": "gpt2", "contrasts": ["null->set-gender"], "screen": 0.5,
        "mediators": ["lm/head.*[*]"], "align": "record", "random_weights": 0, "outcomes": ["log-odds"],
        "dataset": {"name": "professions", "groups": ["masculine"], "limit": 3,
                    "options": {}},
    },
    "tracing": {
        "kind": "tracing", "name": "s", "model": "gpt2",
        "facts": {"path": "facts.jsonl", "groups": ["new", "old"]},
        "compare": ["new", "old"], "corruption": "noised", "noise": 3.0, "draws": 2, "window": 1,
        "parts": ["resid", "mlp"], "roles": ["last"], "shard_size": 2, "mediator_batch": 8,
    },
    "editing": {
        "kind": "editing", "name": "s", "model": "gpt2", "facts": {"path": "facts.jsonl", "limit": 3},
        "edits": 2, "probes": 2, "protocols": ["sequence", "roll-back"], "checkpoints": [1], "prefixes": 1,
        "texts": "texts.txt", "utility": "utility.csv",
        "methods": [
            {"label": "a", "options": {"sites": ["lm/mlp.0"], "keys": "mixed", "ridge": 0.1}},
            {"label": "b", "name": "memit", "options": {"sites": ["lm/mlp.*"]}, "search": {"reach": 2.0}},
        ],
    },
    "unlearning": {
        "kind": "unlearning", "name": "s", "model": "gpt2", "facts": {"path": "facts.jsonl"}, "forget": "new",
        "retain": "old", "level": 0.1, "seeds": [0], "relearn": 2, "utility": "utility.csv",
        "methods": [{"label": "a", "sites": ["lm/mlp.0"], "loss": "joint", "options": {"steps": 2}}],
    },
    "planted": {"kind": "planted", "name": "s", "family": "dual", "seeds": 2, "photos": 200, "draws": 1},
}  # fmt: skip
"""Kind to a study that is whole, or nearly."""

_WORDS = st.sampled_from(
    ["", " ", "0", "nan", "toy", "null", "null->null", "a->b->c", "->", "own", "..", "../p.csv", "p.csv",
     "/dev/zero", "/dev/null", ".", "x" * 5000, "a\0b", "\x1b[2J", "[", "{object}", "custom:{",
     "custom:{object}", "custom:{person} {caption} {categories}", "image_encoder", "image_encoder/*[*]",
     "lm/head.*[999]", "[*]",
     "image_encoder/neuron[" + "9" * 400 + "]", "all", "tpu9", "cuda:77", "meta", "fit", "dev", "é漢😀", "face",
     "opencv", "count", "given", "scenes", "coco", "pascal", "winogender", "texts", "names", "bias", "language",
     "planted", "mitigation", "leace", "tracing", "editing", "unlearning", "memit", "lm/mlp.99", "facts.jsonl",
     "dear", "presence", "match", "float16", "bfloat16", "own.json"]
)  # fmt: skip
_SCALARS = st.one_of(
    _WORDS,
    st.text(max_size=6),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**63), 10**30, 10**400]),
    st.floats(),
    st.dates().map(lambda day: date(max(day.year, 1000), day.month, day.day)),
    st.just(datetime(2020, 1, 1)),
)
_KEYS = st.one_of(
    _WORDS, st.sampled_from(["name", "kind", "groups", "path", "sites", "mitigation", "strength"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


def _paths(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(content, dict):
        inner = list(content.items())
    else:
        inner = list(enumerate(content)) if isinstance(content, list) else []
    for key, value in inner:
        found += _paths(value, (*path, key))
    return found


@st.composite
def study_texts(draw: st.DrawFn) -> str:
    """A study file with one to three of its values exchanged, taken out or added, or letters of it."""
    kind = draw(st.sampled_from(list(STUDIES)))
    content = copy.deepcopy(STUDIES[kind])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(content)))
        inner: Any = content
        for key in path[:-1]:
            inner = inner[key]
        what = draw(st.sampled_from(["exchange", "exchange", "take out", "add"]))
        if what == "exchange":
            inner[path[-1]] = draw(_VALUES)
        elif what == "take out":
            del inner[path[-1]]
        elif isinstance(inner, dict):
            inner[draw(_KEYS)] = draw(_VALUES)
        else:
            inner.append(draw(_VALUES))
        if not content:
            break
    text = toml_of(content)
    if draw(st.integers(0, 4)) == 0:  # and sometimes no TOML any more
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 3)) :]
    return text


def toml_of(content: Mapping[str, Any]) -> str:
    """A TOML text; tables stand in one line."""
    return "".join(f"{_word(key)} = {_value(value)}\n" for key, value in content.items())


def _word(text: str) -> str:
    # escapes of JSON are those of TOML, but for pairs of surrogates
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_word(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        return text if any(sign in text for sign in ".en") else f"{text}.0"
    if isinstance(value, date):
        return value.isoformat()
    return _word(value) if isinstance(value, str) else str(value)


def write_data(folder: Path) -> None:
    """Photos, a table, regions, facts, texts and a language model, as the studies name them."""
    write_language("gpt2", folder / "gpt2")
    write_facts(folder / "facts.jsonl", taught_facts())
    (folder / "texts.txt").write_text("The nurse said that\nthe clerk ran home\n")
    (folder / "utility.csv").write_text("prompt,answer\nthe man was,tired\n")
    rng = np.random.default_rng(0)
    lines, boxes = ["image,group,labels,split,captions,boxes"], {}
    person = '"[[""person"", 2, 2, 20, 30]]"'
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / f"{i}.png")
        captions = json.dumps(["A man with a cup.", "A woman and a dog."]).replace('"', '""')
        split, label = ("fit", "dev", "test")[i % 3], ("cup", "dog", "kite")[i // 4]
        lines.append(f'{i}.png,{"fm"[i % 2]},{label},{split},"{captions}",{person}')
        boxes[f"{i}.png"] = [[2, 2, 20, 30]]
    (folder / "p.csv").write_text("\n".join(lines) + "\n")
    (folder / "own.json").write_text(json.dumps(boxes))
