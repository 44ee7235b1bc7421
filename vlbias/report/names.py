"""Worlds, contrasts, quantities and parts of models in words: the one table that all kinds of study read."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = [
    "CONTRASTED", "WORLDS", "contrast_in_words", "contrast_label", "input_in_words", "method_in_words",
    "part_in_words", "quantity_in_words", "world_in_words", "world_label",
]  # fmt: skip


class _World(NamedTuple):
    """A world: as the subject of a sentence, as what was done, and in few words for a figure."""

    doing: str
    done: str
    short: str


WORLDS = {
    "null": _World("Nothing", "photo and text are as they are", "as it is"),
    "mask-gender": _World(
        "Masking the persons in the image",
        "the persons in the photo are blurred",
        "persons blurred",
    ),
    "replace-gender": _World(
        "Replacing gendered words in the text",
        "words like man and woman become person",
        "neutral words",
    ),
    "swap-gender": _World(
        "Swapping gendered words in the text", "man and woman change places", "words swapped"
    ),
    "both": _World(
        "Masking the persons and replacing gendered words",
        "the persons are blurred and words like man and woman become person",
        "persons blurred, neutral words",
    ),
    "placebo-image": _World(
        "The image placebo", "as many pixels away from persons are blurred", "other pixels blurred"
    ),
    "placebo-text": _World(
        "The text placebo", "as many words that tell no gender are replaced", "other words replaced"
    ),
    "placebo-both": _World(
        "Both placebos", "pixels away from persons and words of no gender change", "both placebos"
    ),
    "background-blur": _World(
        "Blurring all but the persons", "all but the persons is blurred", "background blurred"
    ),
    "object-mask": _World(
        "Masking one random object", "one random object is hidden", "an object hidden"
    ),
}
"""Name of a world to words; worlds of a study's own keep their names."""

CONTRASTED = {
    "null->swap-gender": "when the text names the other gender",
    "null->set-gender": "when the text is about a man or a woman in place of the profession",
    "null->person": "when the text is about a person of no gender",
    "null->neutral": "when the name is one of no gender",
    "null->they": "when the pronoun is the singular they",
    "null->man": "when the text is about a man",
    "null->woman": "when the text is about a woman",
}
"""Contrasts of texts, whose worlds are whole sentences."""

_QUANTITIES = {
    "B": "B, how much the errors differ between groups",
    "B_plugin": "B, how much the errors differ between groups",
    "B_crossfit": "B without what noise adds",
    "B_lin": "the differences that the model had",
    "score_gap_lin": "the differences of the scores that the model had",
}
_METHODS = {
    "feature-blur": "what the image encoder sees of persons smoothed",
    "pixel-blur": "the persons in the photo blurred",
    "text-neutral": "gendered words replaced by neutral ones",
    "mean-ablation": "chosen parts of the model held at their mean",
    "folded-ablation": "chosen parts of the model held at their mean",
    "leace": "what tells gender erased from features",
    "inlp": "directions that tell gender projected out",
    "sfid": "the features that tell gender given a neutral value",
    "clip-clip": "the dimensions that tell gender dropped",
    "steering": "features moved along the direction between the groups",
    "sae": "sparse features that tell gender turned off",
    "prompt-projection": "gender projected out of the text",
}
_PARTS = {
    "image_encoder": "image encoder",
    "text_encoder": "text encoder",
    "fusion_encoder": "fusion of image and text",
    "decoder": "decoder",
    "lm": "language model",
    "match": "match head",
}
_PORTS = {
    "attn": "attention of block {layer}",
    "mlp": "MLP of block {layer}",
    "resid": "output of block {layer}",
    "head": "attention of block {layer}",
    "neuron": "MLP of block {layer}",
    "embed": "word embedding",
    "image_to_query": "what the queries take over from the image in block {layer}",
    "image_to_text": "what the text takes over from the image in block {layer}",
    "query_mlp": "MLP of the queries in block {layer}",
    "text_attn": "attention of the text in block {layer}",
    "text_bridge": "what the text encoder hands to block {layer}",
    "text_mlp": "MLP of the text in block {layer}",
    "text_stream": "text behind block {layer}",
    "text_to_image": "what the image takes over from the text in block {layer}",
    "vision_attn": "attention of the image in block {layer}",
    "vision_bridge": "what the image encoder hands to block {layer}",
    "vision_mlp": "MLP of the image in block {layer}",
    "vision_stream": "image behind block {layer}",
}
_UNITS = {
    "head": "head {unit}",
    "weights": "attention weights of head {unit}",
    "neuron": "neuron {unit}",
}
_SITE = re.compile(
    r"(?P<stage>[a-z_0-9]+)(?:/(?P<port>[a-z_0-9]+)(?:\.(?P<layer>\d+))?(?:\[(?P<unit>\d+)\])?)?"
    r"(?:@(?P<position>[a-z0-9_,-]+))?"
)


def world_in_words(name: str) -> str:
    """What is done in a world, as half a sentence: "the persons in the photo are blurred"."""
    return WORLDS[name].done if name in WORLDS else f"the world is {name!r}"


def contrast_in_words(contrast: str) -> str:
    """When something changes: "when the persons in the photo are blurred"."""
    if contrast in CONTRASTED:
        return CONTRASTED[contrast]
    base, _, other = contrast.partition("->")
    when = f"when {world_in_words(other)}"
    return when if base == "null" else f"{when}, from {base!r}"


def world_label(name: str) -> str:
    """A world for the side of a figure: in few words, and under its name in the tables."""
    return f"{WORLDS[name].short} ({name})" if name in WORLDS else name


def contrast_label(contrast: str) -> str:
    """A contrast for the side of a figure."""
    base, _, other = contrast.partition("->")
    return world_label(other) if base == "null" else contrast


def quantity_in_words(functional: str) -> str:
    """What a functional is, for those who do not know its name."""
    return _QUANTITIES.get(functional, functional)


def method_in_words(setting: str) -> str:
    """A mitigation, with the name of its setting; the name alone if the method is one's own."""
    method = re.split(r"[ (@]", setting, maxsplit=1)[0]
    return f"{_METHODS[method]} ({setting})" if method in _METHODS else setting


def input_in_words(channel: str) -> str:
    """What a model reads through a channel."""
    return "photo" if channel == "image" else channel


def part_in_words(mediator: str) -> str:
    """The part of a model that a mediator is: "image encoder, block 3, head 5"; as it is named if unknown."""
    sites = [_SITE.fullmatch(site) for site in mediator.split("+")]
    return " and ".join(mediator if site is None else _part(site.groupdict()) for site in sites)


def _part(site: dict[str, str | None]) -> str:
    stage = str(site["stage"])
    words = [_PARTS.get(stage, stage.replace("_", " "))]
    port, layer, unit = site["port"], site["layer"], site["unit"]
    if port and unit is not None:
        words += [f"block {layer}"] if layer is not None else []
        words.append(_UNITS.get(port, f"{port} {{unit}}").format(unit=unit))
    elif port:
        words.append(_PORTS.get(port, f"{port} of block {{layer}}").format(layer=layer))
    if site["position"]:
        words.append(f"at {site['position']}")
    return ", ".join(words)
