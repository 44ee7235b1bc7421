"""What every mitigation is: settings, fitted on one split, applied to a model with a strength.

A mitigated model is a model: what `applied` gives is a StagedModel, so that measuring, mediation and
reports need no word about mitigations.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadData, BadModel, BadStudy
from vlbias.files import read_object, write_json
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.sites import SitePoint

__all__ = ["Fitted", "Learned", "Mitigation", "Need", "refuse_overlap"]

Need = Literal["groups", "regions", "sites"]
"""What a mitigation needs beside the model.

"groups": examples to fit with `attributes["group"]`; "regions": pictures that carry the region it
names (`vlbias.data.regions.with_regions`), when fitted and when applied; "sites": a choice of sites,
as the effects of a run rank them.
"""


@dataclass(frozen=True)
class Learned:
    """What fitting found.

    Args:
        tensors: All numbers that applying needs.
        notes: What a report may say of the fit; JSON.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A short hash of all numbers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Mitigation(ABC):
    """Settings of a mitigation; subclasses are frozen dataclasses whose fields are all settings.

    `place` says where it acts; only "weights" changes parameters, and can be exported as an ordinary
    checkpoint. `needs` says what must be at hand. `default_placebos` is how many placebos a study draws:
    a random one that costs no pass of a tower is drawn 19 times, from which on its rank is a test.
    """

    name: ClassVar[str]
    place: ClassVar[Literal["input", "features", "weights"]]
    needs: ClassVar[frozenset[Need]] = frozenset()
    default_placebos: ClassVar[int] = 1

    @property
    def spec(self) -> dict[str, Any]:
        """All that determines its numbers beside the data: the name and the settings, as JSON."""
        settings = dataclasses.asdict(self)
        return {"name": self.name, **json.loads(json.dumps(settings))}

    def fit(
        self, model: StagedModel, examples: Sequence[Example] = (), *, rng: np.random.Generator
    ) -> Fitted:
        """The mitigation ready to be applied; the model is left as it was.

        Args:
            model: It is fitted to this one; a mitigated model is one too.
            examples: Of the fit split; read in their world "null".
            rng: For what is drawn.

        Raises:
            UnknownName: if the model has no such stage or port, with suggestions.
            BadStudy: if a site or setting does not fit the model.
            BadData: if the examples lack what `needs` names.
        """
        if "groups" in self.needs:
            _refuse_groups(self.name, examples)
        learned = self.learn(model, examples, rng)
        seen = tuple(sorted({example.cluster for example in examples}))
        return Fitted(self, learned, seen, model.revision)

    @abstractmethod
    def placebo(self) -> Mitigation | None:
        """The same operation where it can have no meaning; None where there is no such thing.

        A region of equal area elsewhere, random directions of equal rank, other words, or heads of
        the same layers drawn at random.
        """

    @abstractmethod
    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """The sites that it changes, in order of depth; none, if it acts on inputs.

        Raises:
            UnknownName: if the model has no such stage or port, with suggestions.
            BadStudy: if the mitigation cannot act there.
        """

    def unusable(self, examples: Sequence[Example]) -> dict[str, str]:
        """Ids of the examples that the mitigated model cannot read, and why; leave them out.

        A comparison with a placebo leaves out what either of the two cannot read.
        """
        return {}

    @abstractmethod
    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """What `fit` keeps; see there."""

    @abstractmethod
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> AbstractContextManager[StagedModel]:
        """The changed model for a strength above 0; on exit everything is as it was."""


@dataclass(frozen=True)
class Fitted:
    """A mitigation that was fitted, as `Mitigation.fit` or `Fitted.load` give it.

    Args:
        mitigation: Its settings.
        learned: What fitting found.
        seen: Clusters of the examples it was fitted on, sorted.
        fitted_on: Revision of the model it was fitted to.
    """

    mitigation: Mitigation
    learned: Learned
    seen: tuple[str, ...] = ()
    fitted_on: str = ""

    @contextmanager
    def applied(self, model: StagedModel, strength: float = 1.0) -> Iterator[StagedModel]:
        """The mitigated model, as long as the context lasts.

        Its revision names what was changed; its `net` is the same object, changed for the time
        being, so that code that calls the network itself sees the mitigation too (but for those
        that act on inputs or on a tower's output), and so does `model` inside the context: compute
        before it what is to be compared. Contexts nest: apply one to what another gave.

        Args:
            model: Left bit by bit as it was on exit, also after an error.
            strength: 0 gives the very model back, 1 applies the mitigation in full.

        Raises:
            BadStudy: if the strength is not in [0, 1].
        """
        if not 0.0 <= strength <= 1.0:
            raise BadStudy(
                "strength", strength, "a number from 0 (the model as it is) to 1 (in full)"
            )
        if strength == 0.0:
            yield model
            return
        with self.mitigation.patched(model, self.learned, float(strength)) as changed:
            yield changed

    @property
    def key(self) -> str:
        """A short hash of the settings and of all numbers that were learned."""
        whole = json.dumps(self.mitigation.spec, sort_keys=True) + self.learned.key
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def save(self, folder: Path | str) -> None:
        """Write mitigation.json and, if anything was learned, mitigation.safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.learned.tensors.items()}
        if tensors:
            save_file(tensors, folder / "mitigation.safetensors")
        about = {
            "format": 1,
            **{"spec": self.mitigation.spec, "tensors": sorted(tensors), "key": self.key},
            **{"seen": self.seen, "fitted_on": self.fitted_on, "notes": self.learned.notes},
        }
        write_json(folder / "mitigation.json", about)

    @classmethod
    def load(cls, folder: Path | str) -> Fitted:
        """What `save` wrote.

        Raises:
            BadModel: if the folder is none of these, or its numbers are not those that were saved.
        """
        folder = Path(folder)
        expected = "expected what Fitted.save wrote: mitigation.json and mitigation.safetensors"
        if not (folder / "mitigation.json").is_file():
            raise BadModel(f"{folder} is no saved mitigation: {expected}")
        about = read_object(folder / "mitigation.json", BadModel, expected)
        try:
            named = folder / "mitigation.safetensors"
            learned = Learned(load_file(named) if about["tensors"] else {}, dict(about["notes"]))
            spec, seen = dict(about["spec"]), tuple(map(str, about["seen"]))
            mitigation = make_mitigation(spec.pop("name"), **spec)
            fitted = cls(mitigation, learned, seen, str(about["fitted_on"]))
        except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
            raise BadModel(f"{folder} holds no saved mitigation ({error}); {expected}") from error
        if fitted.key != about.get("key"):
            raise BadModel(f"{folder}: the numbers are not those that were saved; save it again")
        return fitted

    def export(
        self, model: StagedModel, folder: Path | str, source: str, strength: float = 1.0
    ) -> None:
        """Write a model folder that `vlbias.load_model` takes, the mitigation included.

        A change of weights is written as an ordinary checkpoint, which any library loads; anything
        else as a wrapped folder: the checkpoint, the mitigation beside it, and mitigated.json.

        Args:
            model: Unmitigated, as loaded from `source`.
            folder: Where to write; made if need be.
            source: The folder or hub name the model was loaded from.
            strength: Of the mitigation.

        Raises:
            BadModel: if the folder is not empty, or a change of weights has no source folder.
        """
        from vlbias.mitigations.export import export

        export(self, model, Path(folder), source, strength)


def refuse_overlap(fit: Fitted | Sequence[Example], test: Sequence[Example]) -> None:
    """Nothing, if no photo (or other cluster) of `test` was fitted on.

    Args:
        fit: The fitted mitigation, or the examples to fit it on.
        test: Examples it is to be tuned or tested on.

    Raises:
        BadData: if there are such; names the ids.
    """
    seen = set(fit.seen) if isinstance(fit, Fitted) else {example.cluster for example in fit}
    both = sorted({example.id for example in test if example.cluster in seen})
    if both:
        shown = ", ".join(both[:10]) + (" …" if len(both) > 10 else "")
        raise BadData(
            f"{len(both)} photos are among those fitted on and those tested on: {shown}; take splits that "
            "share no photo"
        )


def _refuse_groups(name: str, examples: Sequence[Example]) -> None:
    counts = Counter(example.attributes.get("group", "") for example in examples)
    if len(counts) < 2 or "" in counts or min(counts.values()) < 2:
        raise BadData(
            f"{name} is fitted to the difference between groups: expected examples of two groups or more, "
            f"at least two each, with attributes['group']; got {dict(counts) or 'no example'}"
        )
