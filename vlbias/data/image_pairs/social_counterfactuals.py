"""SocialCounterfactuals: generated images that differ in race, gender or build (Howard et al. 2024)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from vlbias.causal.example import Example
from vlbias.data.image_pairs.pairs_of_images import SceneImage, paired_worlds
from vlbias.errors import BadData

__all__ = ["TERMS", "read_social_counterfactuals"]

TERMS = (
    "allows research; images are generated, so that no person is shown; the licence beside the files "
    "decides"
)
_COLUMNS = ("image", "caption", "counterfactual_set", "a1", "a2")


def read_social_counterfactuals(
    path: Path,
    *,
    groups: tuple[str, str] = ("male", "female"),
    limit: int | None = None,
) -> list[Example]:
    """Counterfactual sets in two worlds: the same scene, first attribute and caption, another second attribute.

    Reads every `*.parquet` with the columns image, caption, counterfactual_set, a1 and a2. The caption of both
    worlds is that of the first without the second attribute's word.

    Args:
        path: Folder of the parquet files, or one of them.
        groups: Values of a2 in the null world and in the other.
        limit: Only so many counterfactual sets.

    Raises:
        BadData: if a file or column is missing, an image is unreadable, or no set has both groups.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise BadData(f"{path}: no parquet file")
    images = [one for file in files for one in _images(file, groups)]
    return paired_worlds(
        images, name="social-counterfactuals", terms=TERMS, groups=groups, limit=limit
    )


def _images(file: Path, groups: tuple[str, str]) -> Iterator[SceneImage]:
    try:
        lacking = set(_COLUMNS) - set(pq.read_schema(file).names)
        if lacking:
            raise BadData(f"{file}: no column {', '.join(sorted(lacking))}")
        rows = pq.read_table(file, columns=list(_COLUMNS), filters=[("a2", "in", list(groups))])
    except pa.ArrowInvalid as error:
        raise BadData(f"{file} cannot be read ({error}); fetch it again") from error
    for row in rows.to_pylist():
        content = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
        try:
            image = Image.open(io.BytesIO(content)).convert("RGB")
        except (UnidentifiedImageError, OSError, TypeError) as error:
            raise BadData(f"{file}, set {row['counterfactual_set']}: no image ({error})") from error
        words = [word for word in row["caption"].split() if word.lower() != row["a2"].lower()]
        scene = f"{row['counterfactual_set']}/{row['a1']}"
        yield SceneImage(scene, row["a2"], image, " ".join(words))
