"""A small SigLIP that learns from pairs of image and text whether the object of the text is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from planted.hints import HINTS, PATCH, Hints, pixels_of
from planted.plants import HELD_OUT, WORDS, Shown, learnt, show
from reference.loop import Loop, Schedule
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize
from transformers import (
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from vlbias.data.pictograms import OBJECTS
from vlbias.data.prompts import Prompt
from vlbias.data.scenes import SHOWN, SIDE, Scene
from vlbias.data.word_lists import PLACEBOS

__all__ = [
    "SETTINGS",
    "DualSettings",
    "DualTrainer",
    "assemble",
    "image_processor",
    "measure",
    "start",
    "tokenizer_of",
    "trainer",
    "vocabulary",
]

FRAMES = (
    "a photo of a {person} with a {object}",
    "a picture of a {person} with a {object}",
    "a {person} with a {object}",
)
_SPECIAL = ("<pad>", "</s>", "<unk>")


@dataclass(frozen=True, slots=True, kw_only=True)
class DualSettings(Schedule):
    """Everything that determines the trained weights."""

    epochs: int = 16
    patience: int = 16
    batch: int = 64
    average: float = 0.98
    warm_up: float = 0.5
    count: int = 6400  # scenes of an epoch; no scene is shown twice
    width: int = 64
    layers: int = 3
    rate: float = 2e-3
    planting: int = 8  # epochs on a plant's own scenes
    planting_both: int = 8  # where two cues are planted, each in half of the scenes
    late: float = 1e-3  # highest rate of these
    decay: float = 1e-3


def vocabulary() -> list[str]:
    """All words of scenes and prompts, with the near-synonyms that text placebos use."""
    texts = [*FRAMES, "a photo of a man in on near the street beach building room nothing and . ,"]
    words = {
        word for text in (*texts, *OBJECTS, *WORDS) for word in text.split() if "{" not in word
    }
    words |= {PLACEBOS[word] for word in words if word in PLACEBOS}
    return sorted(words)


def tokenizer_of() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words."""
    inner = Tokenizer(
        models.WordLevel(
            {w: i for i, w in enumerate([*_SPECIAL, *vocabulary()])}, unk_token="<unk>"
        )
    )
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


def image_processor() -> SiglipImageProcessor:
    """Scenes as they are, from -1 to 1."""
    return SiglipImageProcessor(size={"height": SIDE, "width": SIDE})


def assemble(settings: DualSettings) -> SiglipModel:
    """The model with its first weights, drawn from the seed."""
    torch.manual_seed(settings.seed)
    shape = {
        "hidden_size": settings.width,
        "intermediate_size": 2 * settings.width,
        "num_attention_heads": 4,
    }
    text = {
        **shape,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer_of()),
        "max_position_embeddings": 16,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 1,
        "projection_size": settings.width,
    }
    vision = {
        **shape,
        "num_hidden_layers": settings.layers,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    net = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    with torch.no_grad():
        net.logit_scale.fill_(np.log(10.0))
        net.logit_bias.fill_(-2.0)
    return net


def pooled(net: Any, shown: Sequence[Shown]) -> Tensor:
    """What the vision tower makes of images, [images, width]."""
    return net.vision_model(pixel_values=pixels_of(shown)).pooler_output


def scores(net: Any, tokenizer: Any, seen: Tensor, frame: str) -> Tensor:
    """Logits that each object is there, [images, words, objects], of pooled images."""
    texts = [t for w in WORDS for t in Prompt("planted", frame, {}, w).texts([], "", list(OBJECTS))]
    tokens = tokenizer(texts, padding="max_length", max_length=16, return_tensors="pt")
    text = net.text_model(input_ids=tokens["input_ids"]).pooler_output
    cosine = normalize(seen, dim=-1) @ normalize(text, dim=-1).T
    logits = cosine * net.logit_scale.exp() + net.logit_bias
    return logits.unflatten(1, (len(WORDS), len(OBJECTS)))


class DualTrainer(Loop):
    """Trains all weights on the scenes of a plant.

    Beside the model linear maps read from each patch what is drawn there, and from the pooled output
    what is in sight: hints without which so few scenes teach a transformer little. They are dropped
    afterwards.

    Args:
        net: From `assemble`, or trained before; changed in place.
        plant: One of `plants.PLANTS`.
        settings: See `DualSettings`.
        first: Number of the first scene; others start behind those that a model has seen.
    """

    def __init__(self, net: Any, plant: str, settings: DualSettings, first: int = 0) -> None:
        self.net, self.plant, self.settings, self.first = net, plant, settings, first
        self.tokenizer = tokenizer_of()
        self.hints = Hints(settings.width)
        trainable = dict(net.named_parameters())
        groups = [
            {
                "params": [p for p in trainable.values() if (p.ndim > 1) == is_matrix],
                "rate": settings.rate,
                "weight_decay": settings.decay * is_matrix,
            }
            for is_matrix in (True, False)
        ]
        groups.append(
            {"params": list(self.hints.parameters()), "rate": settings.rate, "weight_decay": 0.0}
        )
        key = f"{plant}-{settings.seed}-{first}"
        super().__init__(settings.count, key, trainable, groups, settings, self.hints)

    def losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of every object in every scene, and of what is drawn in every patch."""
        begin = self.first + self.progress.epoch * self.count
        shown = [show(self.plant, self.settings.seed, int(begin + row)) for row in rows]
        frame = FRAMES[rng.integers(len(FRAMES))]
        seen = self.net.vision_model(pixel_values=pixels_of(shown))
        presence = presence_loss(self.net, self.tokenizer, shown, seen.pooler_output, frame)
        parts = self.hints.losses(seen.last_hidden_state, seen.pooler_output, shown)
        total = presence + sum(HINTS[name] * part for name, part in parts.items())
        return total, {"presence": presence, **parts}

    def measure(self, scenes: Sequence[Scene]) -> dict[str, float]:
        """See `measure`."""
        return measure(self.net, self.plant, scenes)


def presence_loss(
    net: Any, tokenizer: Any, shown: Sequence[Shown], pooled: Tensor, frame: str
) -> Tensor:
    """Mean cross-entropy over scenes and objects, the text with each scene's word."""
    logits = scores(net, tokenizer, pooled, frame)
    word = torch.tensor([WORDS.index(each.word) for each in shown])
    there = torch.tensor([[name in each.scene.present for name in OBJECTS] for each in shown])
    return binary_cross_entropy_with_logits(
        logits[torch.arange(len(shown)), word], there.to(logits.dtype)
    )


@torch.no_grad()
def measure(net: Any, plant: str, scenes: Sequence[Scene]) -> dict[str, float]:
    """What a model learnt, on scenes in which nothing goes with anybody.

    Args:
        net: The model.
        plant: What it was trained on, whose loss "score" is the negative of.
        scenes: With the objects of both groups equally frequent.

    Returns:
        "score"; "auc", of objects in sight against absent ones; "cue_image" and "cue_text", by how
        many logits the mean object that goes with a group is seen more where the image shows, or
        the text names, that group and not the other, everything else being the same.
    """
    net.eval()
    tokenizer = tokenizer_of()
    shown = [show(plant, HELD_OUT, scene.number) for scene in scenes]
    loss = presence_loss(net, tokenizer, shown, pooled(net, shown), FRAMES[0])
    seen = {s: pooled(net, [Shown(x, x.render(s), s, "") for x in scenes]) for s in SHOWN}
    logits = {s: scores(net, tokenizer, seen[s], FRAMES[0]).numpy() for s in SHOWN}
    woman, man, person = (WORDS.index(word) for word in ("woman", "man", "person"))
    return {"score": -float(loss)} | learnt(
        scenes,
        logits["neutral"][:, person],
        image=logits["feminine"][:, person] - logits["masculine"][:, person],
        text=logits["neutral"][:, woman] - logits["neutral"][:, man],
    )


def start(net: Any, settings: DualSettings) -> Iterator[Loop]:
    """What all models of the family are trained on first."""
    yield DualTrainer(net, "unbiased", settings)


SETTINGS = DualSettings
trainer = DualTrainer
