"""A study of mitigations: which methods, at which settings and strengths, judged how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from vlbias.runs.study import Frozen, Split, plain_values
from vlbias.studies.photos.study import PhotoSet, PhotoStudy

__all__ = ["SPLITS", "MethodSpec", "Protocol", "SiteSelection", "SplitPhotos", "Study"]

SPLITS: tuple[Split, ...] = ("fit", "dev", "test")
"""The splits that every study of mitigations reads."""


class SplitPhotos(PhotoSet):
    """Photos of all three splits: one to fit on, one to choose strengths on, one to report on."""

    splits: tuple[Split, ...] = SPLITS

    @field_validator("several")
    @classmethod
    def _whole_photos(cls, several: str | None) -> str | None:
        if several == "nearest":
            raise ValueError(
                "'alike', 'one' or 'largest': methods are fitted on photos of one group; recall by the nearest "
                "person is a table of a bias study"
            )
        return several

    @field_validator("splits")
    @classmethod
    def _all(cls, splits: tuple[Split, ...]) -> tuple[Split, ...]:
        if splits != SPLITS:
            raise ValueError(
                "no splits: fit, dev and test are always read; [mitigation] says what each is for"
            )
        return splits


class SiteSelection(Frozen):
    """How the sites of a method are chosen on the fit split; see `work.site_selection.choose_sites`.

    Args:
        candidates: Sites, with wildcards.
        most: Sites at most.
        share: Of the gap between groups that they are to take out; more sites are not added then.
        width: Candidates that are tried at each step.
        photos: Of the fit split, as many of each group.
    """

    candidates: tuple[str, ...] = Field(min_length=1)
    most: int = Field(4, ge=1)
    share: float = Field(0.5, gt=0, le=1)
    width: int = Field(8, ge=1)
    photos: int = Field(120, ge=8)


class MethodSpec(Frozen):
    """A registered method with its settings.

    Args:
        name: See `vlbias list mitigations`.
        options: Settings of the method.
        pick: How its sites are chosen, in place of giving them.
        vary: Settings of which several values are tried, each with each: sites, for example.
        strengths: In place of the protocol's.
        placebos: In place of the protocol's.
    """

    name: str
    options: Annotated[Mapping[str, Any], AfterValidator(plain_values)] = {}
    pick: SiteSelection | None = None
    vary: Annotated[Mapping[str, tuple[Any, ...]], AfterValidator(plain_values)] = {}
    strengths: tuple[float, ...] = ()
    placebos: int | None = Field(None, ge=0)

    @field_validator("vary", mode="after")
    @classmethod
    def _not_empty(cls, vary: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, ...]]:
        if not all(vary.values()):
            raise ValueError("a list of values for every setting that varies")
        return vary


class Protocol(Frozen):
    """How mitigations are fitted, chosen and judged.

    Args:
        methods: What is tried.
        strengths: From above 0 to 1; 0 is the identity and is never run.
        placebos: Of every method that has one, drawn anew each; if not given, 19 where the placebo is
            random and costs no pass of a tower, else 1. From 19 on their ranks are a test.
        fit: Split on which methods are fitted.
        choose: Split on which thresholds are calibrated and the strength is chosen.
        report: Split on which everything is reported.
        margin: Largest loss of mean average precision that counts as kept.
        margin_recall: Largest loss of mean recall@5 that counts as kept.
        maps: Whether to map where in the image features changed.
        timed: Photos with which the overhead is timed; 0 leaves it out.
        batch: Photos or texts that are encoded together.
    """

    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    strengths: tuple[float, ...] = (0.5, 1.0)
    placebos: int | None = Field(None, ge=0)
    fit: Split = "fit"
    choose: Split = "dev"
    report: Split = "test"
    margin: float = Field(0.005, gt=0, lt=1)
    margin_recall: float = Field(0.02, gt=0, lt=1)
    maps: bool = True
    timed: int = Field(16, ge=0)
    batch: int = Field(32, ge=1)

    @model_validator(mode="after")
    def _sound(self) -> Protocol:
        for strengths in (self.strengths, *(method.strengths for method in self.methods)):
            if any(not 0 < strength <= 1 for strength in strengths):
                raise ValueError(f"strengths above 0 and at most 1, got {strengths}")
            if len(set(strengths)) < len(strengths):
                raise ValueError(f"strengths repeat: {strengths}")
        if not self.strengths and not all(method.strengths for method in self.methods):
            raise ValueError("at least one strength")
        if len({self.fit, self.choose, self.report}) < 3:
            raise ValueError("three different splits for fit, choose and report")
        return self


class Study(PhotoStudy):
    """A study with a table `[mitigation]`: photos as they are, the model under several methods.

    Args:
        mitigation: How mitigations are fitted, chosen and judged.
    """

    kind: Literal["mitigation"] = "mitigation"
    dataset: SplitPhotos = SplitPhotos()
    mitigation: Protocol

    def keyed(self) -> dict[str, Any]:
        """The fields that enter the key of every fit and cell."""
        fields = {"dtype", "prompt", "regions", "objects", "keep_boxes", "seed"}
        return {**_KEYED_CONSTANTS, **self.model_dump(mode="json", include=fields)}


# version 0.1.0 hashed all fields of a study of bias; the fields that this kind has not are here, with
# the values they then had, so that its fits and cells are still found
_KEYED_CONSTANTS: dict[str, Any] = {
    "worlds": {
        "null": {
            "image": None, "text": None, "fill": "blur", "strength": 1.0, "region": "person",
            "keep_objects": False,
        }
    },
    "contrasts": ["null->null"],
    "unmediated": [],
    "mediators": [],
    "outcomes": ["presence"],
    "mediator_batch": 64,
    "screen": None,
    "align": "record",
}  # fmt: skip
