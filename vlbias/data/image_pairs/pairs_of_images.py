"""From images of one scene and several groups to examples in two worlds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vlbias.causal.example import Example, Picture
from vlbias.errors import BadData

__all__ = ["SceneImage", "paired_worlds"]


@dataclass(frozen=True)
class SceneImage:
    """One image of a scene.

    Args:
        scene: What all images of one scene share; the cluster.
        group: What differs between them.
        source: The image, in memory or a file.
        text: The caption without its group, or the class prompts.
        classes: Classes that are present.
    """

    scene: str
    group: str
    source: Image.Image | Path
    text: str | tuple[str, ...]
    classes: Sequence[str] = ()


def paired_worlds(
    images: Iterable[SceneImage],
    *,
    name: str,
    terms: str,
    groups: tuple[str, str],
    limit: int | None = None,
) -> list[Example]:
    """An example for every scene that has an image of both groups: worlds "null" (first) and "both" (second).

    The text is the same in both worlds, so that all an effect can come from is the image. Scenes with several
    images of a group give one example for each pair in order; all share the cluster.

    Args:
        images: Of all scenes.
        name: Of the data set, in front of ids.
        terms: What the set allows and forbids; every example has it as an attribute.
        groups: Values of the group in the null world and in the other.
        limit: Only so many scenes, in their order.

    Raises:
        BadData: if no scene has both groups; names the groups that are there.
    """
    scenes: dict[str, dict[str, list[SceneImage]]] = {}
    for image in images:
        scenes.setdefault(image.scene, {}).setdefault(image.group, []).append(image)
    both = [scene for scene, found in scenes.items() if set(groups) <= set(found)]
    if not both:
        there = sorted({group for found in scenes.values() for group in found})
        raise BadData(
            f"{name}: no scene has images of {' and '.join(groups)}; groups there: {there}"
        )
    examples = []
    for scene in both[:limit]:
        pairs = zip(*(scenes[scene][group] for group in groups), strict=False)
        for number, (first, second) in enumerate(pairs):
            worlds = {
                "null": {"image": Picture(first.source), "text": first.text},
                "both": {"image": Picture(second.source), "text": first.text},
            }
            examples.append(
                Example(
                    f"{name}/{scene}/{number}", f"{name}/{scene}", worlds,
                    targets={"present": frozenset(first.classes)},
                    attributes={"group": f"{groups[0]} → {groups[1]}", "scene": scene, "terms": terms},
                )
            )  # fmt: skip
    return examples
