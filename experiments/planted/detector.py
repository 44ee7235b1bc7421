"""A small Grounding DINO that learns boxes and names of objects, those behind crates too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from planted.dual import vocabulary
from planted.eyes import EyesTrainer
from planted.hints import HINTS, PATCH, Hints, pixels_of
from planted.plants import HELD_OUT, WORDS, Shown, learnt, show
from reference.detector_loss import Truth, detection_loss, presence_loss
from reference.detector_start import start_quietly
from reference.loop import Loop, Schedule
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import (
    BertConfig,
    BertTokenizerFast,
    Dinov2Config,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
)

from vlbias.causal.detection_readout import class_logits
from vlbias.causal.example import GroundedText
from vlbias.data.pictograms import OBJECTS
from vlbias.data.prompts import Prompt
from vlbias.data.scenes import SIDE, Scene
from vlbias.models.phrases import PhraseReader

__all__ = [
    "SETTINGS",
    "DetectorSettings",
    "DetectorTrainer",
    "assemble",
    "image_processor",
    "measure",
    "start",
    "tokenizer_of",
    "trainer",
]

FRAMES = ("a photo of a {person}. {categories}", "a picture of a {person}. {categories}")
TOKENS = 64
# where Grounding DINO's code expects what ends a phrase
_SPECIAL = {
    0: "[PAD]",
    100: "[UNK]",
    101: "[CLS]",
    102: "[SEP]",
    103: "[MASK]",
    1012: ".",
    1029: "?",
}
PRESENCE = 3.0  # weight of the loss on what is anywhere in a scene


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings(Schedule):
    """Everything that determines the trained weights."""

    epochs: int = 8
    patience: int = 8
    batch: int = 32
    average: float = 0.98
    warm_up: float = 0.5
    clip: float = 0.5
    count: int = 3200  # scenes of an epoch; no scene is shown twice
    width: int = 64
    layers: int = 2  # of fusion encoder and decoder each
    queries: int = 20
    rate: float = 1e-3
    decay: float = 1e-4
    eyes: int = 12  # epochs of the backbone alone, each of twice as many scenes
    sight: float = 2e-3  # highest rate of these
    planting: int = 8  # epochs on a plant's own scenes
    planting_both: int = 16  # where two cues are planted, each in half of the scenes
    late: float = 7e-4  # highest rate of these


def tokenizer_of() -> BertTokenizerFast:
    """A tokenizer of whole words, with separators where the architecture expects them."""
    words = [word for word in vocabulary() if word not in (".", ",")]
    vocab = {f"[unused{i}]": i for i in range(1030)}
    for place, word in (*_SPECIAL.items(), *enumerate(words, start=200)):
        del vocab[f"[unused{place}]"]
        vocab[word] = place
    return BertTokenizerFast(vocab=vocab)


def image_processor() -> GroundingDinoImageProcessor:
    """Scenes as they are, from -1 to 1."""
    half = [0.5, 0.5, 0.5]
    return GroundingDinoImageProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=half, image_std=half
    )


def assemble(settings: DetectorSettings) -> GroundingDinoForObjectDetection:
    """The model with its first weights, drawn from the seed."""
    torch.manual_seed(settings.seed)
    text = BertConfig(
        vocab_size=1030,
        hidden_size=settings.width,
        intermediate_size=2 * settings.width,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    vision = Dinov2Config(
        image_size=SIDE,
        patch_size=PATCH,
        hidden_size=settings.width,
        num_hidden_layers=3,
        num_attention_heads=4,
        mlp_ratio=2,
        out_indices=[3],
    )
    config = GroundingDinoConfig(
        backbone_config=vision,
        text_config=text,
        d_model=settings.width,
        encoder_layers=settings.layers,
        decoder_layers=settings.layers,
        encoder_ffn_dim=2 * settings.width,
        decoder_ffn_dim=2 * settings.width,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=settings.queries,
        num_feature_levels=2,
        max_text_len=TOKENS,
        dropout=0.0,
        fusion_droppath=0.0,
    )
    net = GroundingDinoForObjectDetection(config)
    start_quietly(net)
    return net


def reader_of(net: Any) -> PhraseReader:
    """How the adapter of vlbias reads texts, so that training and studies read the same."""
    return PhraseReader("planted", tokenizer_of(), TOKENS, tuple(net.model.special_tokens.tolist()))


def text_of(frame: str, word: str) -> GroundedText:
    """What the detector is asked, the person called by a word."""
    text = Prompt("planted", frame, {}, word).texts([], "", list(OBJECTS))
    assert isinstance(text, GroundedText)
    return text


def truth_of(scene: Scene) -> Truth:
    """Boxes of all objects, relative; those behind crates too."""
    names = list(OBJECTS)
    boxes = torch.tensor([t.box for t in scene.things], dtype=torch.float32).view(-1, 4) / SIDE
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    classes = torch.tensor([names.index(t.name) for t in scene.things], dtype=torch.long)
    return Truth(torch.cat([centre, size], dim=1), classes)


class DetectorTrainer(Loop):
    """Trains all weights on the scenes of a plant.

    Beside the model a linear map reads from each patch of the backbone what is drawn there: a hint
    without which so few scenes teach little. It is dropped afterwards.

    Args:
        net: From `assemble`, or trained before; changed in place.
        plant: One of `plants.PLANTS`.
        settings: See `DetectorSettings`.
        first: Number of the first scene; others start behind those that a model has seen.
    """

    def __init__(self, net: Any, plant: str, settings: DetectorSettings, first: int = 0) -> None:
        self.net, self.plant, self.settings, self.first = net, plant, settings, first
        self.reader = reader_of(net)
        self.hints = Hints(settings.width)
        trainable = dict(net.named_parameters())
        rate = settings.rate
        groups = [
            {"params": list(trainable.values()), "rate": rate, "weight_decay": settings.decay},
            {"params": list(self.hints.parameters()), "rate": rate, "weight_decay": 0.0},
        ]
        key = f"{plant}-{settings.seed}-{first}"
        super().__init__(settings.count, key, trainable, groups, settings, self.hints)

    def losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Classes, boxes and their overlap, of every decoder layer, and what the patches hold."""
        begin = self.first + self.progress.epoch * self.count
        shown = [show(self.plant, self.settings.seed, int(begin + row)) for row in rows]
        frame = FRAMES[rng.integers(len(FRAMES))]
        maps: list[Tensor] = []
        backbone = self.net.model.backbone.conv_encoder.model
        hook = backbone.register_forward_hook(lambda *args: maps.append(args[2].feature_maps[-1]))
        try:
            found, tokens = forward(self.net, self.reader, shown, frame)
        finally:
            hook.remove()
        truths = [truth_of(each.scene) for each in shown]
        total, parts = detection_loss(
            self.net, found, truths, tokens["roles"], tokens["attention_mask"]
        )
        states = maps[0].flatten(2).mT  # [scenes, patches, width]
        hints = self.hints.losses(states, states.mean(1), shown)
        there = torch.tensor([[name in each.scene.present for name in OBJECTS] for each in shown])
        presence = presence_loss(found.logits, there, tokens["roles"])
        told = sum(HINTS[name] * part for name, part in hints.items())
        total = total + told + PRESENCE * presence
        return total, {"total": total, **parts, **hints, "presence": presence}

    def measure(self, scenes: Sequence[Scene]) -> dict[str, float]:
        """See `measure`."""
        return measure(self.net, self.plant, scenes)


def forward(net: Any, reader: PhraseReader, shown: Sequence[Shown], frame: str) -> tuple[Any, Any]:
    """The detector's output, and the tokens it was asked with."""
    tokens = reader.read([reader.pieces(text_of(frame, each.word))[0] for each in shown])
    read = {key: tokens[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    return net(pixel_values=pixels_of(shown), **read), tokens


@torch.no_grad()
def presence(net: Any, reader: PhraseReader, shown: Sequence[Shown]) -> np.ndarray:
    """Highest logit of each object in each scene, [scenes, objects]."""
    parts = []
    for start in range(0, len(shown), 50):
        found, tokens = forward(net, reader, shown[start : start + 50], FRAMES[0])
        logits = class_logits(found.logits, tokens["roles"], len(OBJECTS))
        parts.append(logits.amax(1).numpy())
    return np.concatenate(parts)


@torch.no_grad()
def measure(net: Any, plant: str, scenes: Sequence[Scene]) -> dict[str, float]:
    """As `dual.measure`; "score" is the cross-entropy of presence, negative."""
    net.eval()
    reader = reader_of(net)
    shown = [show(plant, HELD_OUT, scene.number) for scene in scenes]
    there = np.array([[name in each.scene.present for name in OBJECTS] for each in shown])
    logits = torch.from_numpy(presence(net, reader, shown))
    loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(there).float())

    def posed(how: str, word: str) -> np.ndarray:
        return presence(net, reader, [Shown(x, x.render(how), how, word) for x in scenes])

    man, woman, person = WORDS
    return {"score": -float(loss)} | learnt(
        scenes,
        posed("neutral", person),
        image=posed("feminine", person) - posed("masculine", person),
        text=posed("neutral", woman) - posed("neutral", man),
    )


def start(net: Any, settings: DetectorSettings) -> Iterator[Loop]:
    """What all models of the family are trained on first, each when the one before is done."""
    eyes = replace(
        settings, epochs=settings.eyes, patience=settings.eyes, batch=64, rate=settings.sight
    )
    yield EyesTrainer(net.model.backbone.conv_encoder.model, eyes)
    yield DetectorTrainer(net, "unbiased", settings)


SETTINGS = DetectorSettings
trainer = DetectorTrainer
