"""Adapters by name; a name is a registered model, a hub name, or a local folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbias.errors import BadModel, UnknownName
from vlbias.models.fusion.families import FAMILIES as _WITH_HEAD
from vlbias.models.fusion.families import MODEL_TYPES
from vlbias.models.glip.published import PUBLISHED as _GLIPS
from vlbias.models.image_text.families import FAMILIES as _GENERATIVE
from vlbias.models.image_text.families import REFUSED
from vlbias.models.model_types import adapter_of_folder, adapter_of_hub
from vlbias.models.shipped import nets, planted
from vlbias.quiet import loading_quietly
from vlbias.registry import Entry, Registry

if TYPE_CHECKING:
    from vlbias.causal.staged_model import StagedModel

__all__ = ["MODELS", "load_model", "outline_model"]

_GLIP = "vlbias.models.glip.loading"
_IMAGE_TEXT = "vlbias.models.image_text.loading"
_FUSION = "vlbias.models.fusion.loading"
_LANGUAGE = "vlbias.models.language.loading"


def _published(module: str, families: Iterable[Any]) -> dict[str, Entry]:
    """A published checkpoint of every family."""
    return {
        family.example.rpartition("/")[2].lower(): Entry(
            f"{module}:load",
            f"{family.about} ({family.size / 1000:.1f} billion weights, 4 bytes each in float32)",
            (("checkpoint", family.example),),
        )
        for family in families
    }


MODELS: Registry[Callable[..., StagedModel]] = Registry(
    "model",
    {
        "toy": Entry("vlbias.models.toy:load", "three linear stages with closed-form effects"),
        "toy-wide": Entry(
            "vlbias.models.toy:load",
            "the toy with encoders so wide that they lose nothing",
            (("channels", 32), ("width", 32)),
        ),
        "clip-vit-b32": Entry(
            "vlbias.models.dual:load",
            "CLIP ViT-B/32 (OpenAI)",
            (("checkpoint", "openai/clip-vit-base-patch32"),),
        ),
        "clip-vit-l14": Entry(
            "vlbias.models.dual:load",
            "CLIP ViT-L/14 (OpenAI)",
            (("checkpoint", "openai/clip-vit-large-patch14"),),
        ),
        "siglip-b16": Entry(
            "vlbias.models.dual:load",
            "SigLIP B/16, 224 px (Google)",
            (("checkpoint", "google/siglip-base-patch16-224"),),
        ),
        "siglip2-b16": Entry(
            "vlbias.models.dual:load",
            "SigLIP 2 B/16, 224 px (Google)",
            (("checkpoint", "google/siglip2-base-patch16-224"),),
        ),
        "groundingdino-tiny": Entry(
            "vlbias.models.grounding:load",
            "Grounding DINO, Swin-T (IDEA Research)",
            (("checkpoint", "IDEA-Research/grounding-dino-tiny"),),
        ),
        "groundingdino-base": Entry(
            "vlbias.models.grounding:load",
            "Grounding DINO, Swin-B (IDEA Research)",
            (("checkpoint", "IDEA-Research/grounding-dino-base"),),
        ),
        "mm-groundingdino-tiny": Entry(
            "vlbias.models.grounding:load",
            "MM Grounding DINO, Swin-T (OpenMMLab)",
            (("checkpoint", "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det"),),
        ),
        "llmdet-tiny": Entry(
            "vlbias.models.grounding:load",
            "LLMDet, an MM Grounding DINO with Swin-T (iSEE)",
            (("checkpoint", "iSEE-Laboratory/llmdet_tiny"),),
        ),
        **{
            name: Entry(f"{_GLIP}:load", published.about, (("checkpoint", name),))
            for name, published in _GLIPS.items()
        },
        "omdet-turbo-tiny": Entry(
            "vlbias.models.omdet:load",
            "OmDet-Turbo, Swin-T (Om Research Lab)",
            (("checkpoint", "omlab/omdet-turbo-swin-tiny-hf"),),
        ),
        "owlv2-b16": Entry(
            "vlbias.models.owl:load",
            "OWLv2 B/16, ensemble (Google)",
            (("checkpoint", "google/owlv2-base-patch16-ensemble"),),
        ),
        "align-base": Entry(
            "vlbias.models.dual:load",
            "ALIGN (Kakao Brain)",
            (("checkpoint", "kakaobrain/align-base"),),
        ),
        "altclip": Entry(
            "vlbias.models.dual:load",
            "AltCLIP, texts in several languages (BAAI)",
            (("checkpoint", "BAAI/AltCLIP"),),
        ),
        "chinese-clip-b16": Entry(
            "vlbias.models.dual:load",
            "Chinese CLIP ViT-B/16, Chinese texts (OFA)",
            (("checkpoint", "OFA-Sys/chinese-clip-vit-base-patch16"),),
        ),
        "openclip-vit-b32": Entry(
            "vlbias.models.openclip:load",
            "open_clip ViT-B/32, LAION-2B",
            (("checkpoint", "ViT-B-32/laion2b_s34b_b79k"),),
        ),
        **planted("dual", "vlbias.models.dual:load", "small dual encoder of rendered scenes"),
        **planted("detector", "vlbias.models.grounding:load", "small detector of rendered scenes"),
        **nets("symbolic", "symbolic", f"{_LANGUAGE}:load"),
        **nets("fact", "knowledge", f"{_LANGUAGE}:load"),
        **_published(_FUSION, _WITH_HEAD.values()),
        **{
            f"{family.example.rpartition('/')[2].lower()}-similarity": Entry(
                f"{_FUSION}:load_similarity",
                f"{family.about.partition(';')[0]} by its contrastive head",
                (("checkpoint", family.example),),
            )
            for family in _WITH_HEAD.values()
            if family.compares
        },
        **_published(_IMAGE_TEXT, _GENERATIVE.values()),
    },
)

FAMILIES = {
    **dict.fromkeys(("align", "altclip", "chinese_clip", "clip"), "vlbias.models.dual"),
    **dict.fromkeys(MODEL_TYPES, _FUSION),
    "glip": _GLIP,
    "grounding-dino": "vlbias.models.grounding",
    "mm-grounding-dino": "vlbias.models.grounding",
    "omdet-turbo": "vlbias.models.omdet",
    "owlv2": "vlbias.models.owl",
    "owlvit": "vlbias.models.owl",
    "siglip": "vlbias.models.dual",
    "siglip2": "vlbias.models.dual",
    "vision-text-dual-encoder": "vlbias.models.dual",
    **dict.fromkeys((*_GENERATIVE, *REFUSED), _IMAGE_TEXT),
    **dict.fromkeys(("bert", "distilbert", "gpt2", "gpt_neox", "opt", "roberta"), _LANGUAGE),
    **dict.fromkeys(("fact_net", "gemma", "gemma2", "gemma3_text", "llama", "mistral"), _LANGUAGE),
    **dict.fromkeys(("olmo", "olmo2", "olmo3", "qwen2", "qwen3", "rule_net"), _LANGUAGE),
}
"""Hugging Face model type to the adapter that takes it; a new adapter adds its line here."""


def load_model(
    name: str, *, device: str = "cpu", dtype: str = "float32", random: int | None = None
) -> StagedModel:
    """The model of a registered name, a hub name ("org/model"), a folder or a file, ready to run.

    Args:
        name: See `vlbias list models` for the registered ones. Files are GGUF, and .pth of GLIP.
        device: Where it runs.
        dtype: "float32" or "bfloat16".
        random: Seed of random weights in place of the trained ones, a baseline for language models.

    Raises:
        UnknownName: if the name is none of these, with suggestions.
        BadStudy: if there is no such device.
        BadModel: if the model cannot be loaded, or takes no random weights; says why.
        MissingExtra: if its library is not installed.
    """
    if dtype not in ("float32", "bfloat16"):
        raise BadModel(
            f"dtype {dtype!r}: expected float32 or bfloat16, which is as small as float16 and does not overflow"
        )
    from vlbias.models.devices import refuse_device  # torch is not needed to name models

    refuse_device(device)
    with loading_quietly():
        return _loaded(name, device=device, dtype=dtype, weights=True, random=random)


def outline_model(name: str, *, tokenizer: bool = False) -> StagedModel:
    """The stages and ports of a model without its weights; cannot run, and takes a second.

    Args:
        name: As of `load_model`.
        tokenizer: With the tokenizer; for language models only.

    Raises:
        UnknownName: if the name is unknown, with suggestions.
        BadModel: if its configuration cannot be read.
    """
    return _loaded(name, device="cpu", dtype="float32", weights=False, tokenizer=tokenizer)


def _loaded(
    name: str,
    *,
    device: str,
    dtype: str,
    weights: bool,
    random: int | None = None,
    tokenizer: bool = False,
) -> StagedModel:
    options: dict[str, Any] = {"tokenizer": True} if tokenizer else {}
    if name in MODELS:
        _refuse_random(name, random)
        options |= dict(MODELS.entry(name).options)
        return MODELS.load(name)(name=name, device=device, dtype=dtype, weights=weights, **options)
    folder = Path(name)
    if folder.suffix == ".gguf" and folder.is_file():
        module, checkpoint, short = _LANGUAGE, str(folder), folder.stem
    elif folder.suffix == ".pth" and folder.is_file():
        module, checkpoint, short = _GLIP, str(folder), folder.stem
    elif folder.is_dir():
        module, checkpoint, short = (
            adapter_of_folder(folder, FAMILIES),
            str(folder),
            folder.resolve().name,
        )
    elif name.count("/") == 1 and not name.startswith((".", "/")):
        module, checkpoint, short = adapter_of_hub(name, FAMILIES), name, name.rpartition("/")[2]
    else:
        raise UnknownName(
            "model (registered name, hub name 'org/model', existing folder, GGUF or .pth file)",
            name,
            MODELS,
        )
    load: Callable[..., StagedModel] = import_module(module).load
    if module != _LANGUAGE:
        _refuse_random(name, random)
    elif random is not None:
        options["random"] = random
    try:
        return load(checkpoint, name=short, device=device, dtype=dtype, weights=weights, **options)
    except _unusable() as error:
        raise BadModel(
            f"{name}: its settings do not describe a model that can be built ({type(error).__name__}: "
            f"{error}); fetch the model again, or compare config.json with the original"
        ) from error


def _unusable() -> tuple[type[Exception], ...]:
    """What libraries raise on settings that no model has; `VlbiasError` is none of these."""
    from huggingface_hub.errors import StrictDataclassError

    of_python = (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    )
    return (*of_python, StrictDataclassError)


def _refuse_random(name: str, random: int | None) -> None:
    if random is not None:
        raise BadModel(f"{name}: random weights are a baseline for language models only")
