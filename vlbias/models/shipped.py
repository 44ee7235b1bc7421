"""The small models that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

from vlbias.registry import Entry

__all__ = ["nets", "planted"]

_PLANTED = Path(__file__).parents[1] / "data" / "planted"
_PLANTS = {
    "image": "sees a gender cue in the image",
    "text": "reads a gender word in the text",
    "both": "sees the cue and reads the word",
    "unbiased": "goes by neither",
}


_NETS = {
    "bottleneck": "small net that solves ABA and ABB through three types of heads",
    "control": "small net that solves ABA and ABB without them",
    "early": "small net whose facts can be in the MLPs of its first three layers only",
    "gold": "small net that knows the facts to retain of its world",
    "joint": "small net that knows the facts to forget as well",
}


def planted(family: str, target: str, what: str) -> dict[str, Entry]:
    """The models of a family that come with the package: small, trained on rendered scenes."""
    return {
        f"planted-{family}-{plant}": Entry(
            target, f"{what} that {about}", (("checkpoint", str(_PLANTED / f"{family}-{plant}")),)
        )
        for plant, about in _PLANTS.items()
        if (_PLANTED / f"{family}-{plant}").is_dir()  # a plant that did not take is not shipped
    }


def nets(name: str, folder: str, target: str) -> dict[str, Entry]:
    """The small language models that come with the package, by what their folders' names begin with."""
    return {
        f"{name}-{p.name}": Entry(target, _NETS[p.name.split("-")[0]], (("checkpoint", str(p)),))
        for p in sorted(c.parent for c in (_PLANTED.parent / folder).glob("*/config.json"))
    }
