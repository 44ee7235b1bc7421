"""Mitigations by name; each is fitted on one split, applied with a strength, and has its placebo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from vlbias.errors import BadStudy
from vlbias.registry import Entry, Registry

if TYPE_CHECKING:
    from vlbias.mitigations.base import Mitigation

__all__ = ["MITIGATIONS", "make_mitigation"]

MITIGATIONS: Registry[type[Mitigation]] = Registry(
    "mitigation",
    {
        "feature-blur": Entry(
            "vlbias.mitigations.feature_blur:FeatureBlur",
            "smooth the tokens of a region in the image encoder",
        ),
        "pixel-blur": Entry(
            "vlbias.mitigations.inputs:PixelBlur", "blur, fill or inpaint a region of the photo"
        ),
        "text-neutral": Entry(
            "vlbias.mitigations.inputs:TextNeutral", "replace gender words of texts by neutral ones"
        ),
        "mean-ablation": Entry(
            "vlbias.mitigations.ablation:MeanAblation",
            "give heads or branches their gender-balanced mean",
        ),
        "folded-ablation": Entry(
            "vlbias.mitigations.ablation:FoldedAblation", "the same, folded into weights and biases"
        ),
        "leace": Entry(
            "vlbias.mitigations.erasure:Leace",
            "erase what a linear probe can read, with the least change",
        ),
        "inlp": Entry(
            "vlbias.mitigations.erasure:Inlp",
            "project out the directions of one linear probe after another",
        ),
        "sfid": Entry(
            "vlbias.mitigations.feature_selection:Sfid",
            "give the features a random forest reads a neutral value",
        ),
        "clip-clip": Entry(
            "vlbias.mitigations.feature_selection:ClipClip",
            "drop the dimensions most informative of gender",
        ),
        "steering": Entry(
            "vlbias.mitigations.steering:Steering",
            "move features along the direction between the groups' means",
        ),
        "sae": Entry(
            "vlbias.mitigations.sparse_features:SparseFeatures",
            "turn off the features of a sparse autoencoder that tell gender",
        ),
        "prompt-projection": Entry(
            "vlbias.mitigations.prompt_projection:PromptProjection",
            "project gender prompts out of text embeddings",
        ),
        "rank-one": Entry(
            "vlbias.mitigations.rank_one:RankOneMitigation",
            "the least change of an MLP's weights behind which groups do not differ",
        ),
        "located-unlearning": Entry(
            "vlbias.mitigations.located_unlearning:LocatedUnlearning",
            "train named blocks until groups are scored alike, all else frozen",
        ),
    },
)


def make_mitigation(name: str, **settings: Any) -> Mitigation:
    """The mitigation of a name with its settings; lists, as TOML has them, become tuples.

    Raises:
        UnknownName: if there is no such mitigation, with suggestions.
        BadStudy: if it has no such setting, or a value is not allowed.
    """
    kind = MITIGATIONS.load(name)
    known = {field.name for field in dataclasses.fields(kind)}
    for setting in settings:
        if setting not in known:
            raise BadStudy(
                f"mitigations.{name}.{setting}", settings[setting], f"one of {sorted(known)}"
            )
    try:
        return kind(**{key: _frozen(value) for key, value in settings.items()})
    except TypeError as error:
        raise BadStudy(
            f"mitigations.{name}", settings, f"values of other types ({error})"
        ) from error


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
