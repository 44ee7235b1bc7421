"""The cells of a study of comprehension: questions asked, answers kept with their status."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from vlbias.files import whole, write_json
from vlbias.models import load_model
from vlbias.runs import interfaces
from vlbias.runs.data_files import about_files
from vlbias.runs.events import QUIET, Events, Note, silent
from vlbias.runs.interfaces import Cell
from vlbias.runs.manifest import described
from vlbias.store.cell_writer import cell_key
from vlbias.studies.comprehension.plan import ComprehensionPlan, Part
from vlbias.studies.comprehension.subjects import Subject

__all__ = ["Work", "estimate"]

_TIMED = 8
_CHARACTERS = 4
"""Of a token, for estimates of a server's tokens."""


class Work(interfaces.Work):
    """What all cells of a process share: who is asked.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
        subject: Who is asked; the study's model if not given.
    """

    def __init__(
        self,
        plan: ComprehensionPlan,
        folder: Path,
        note: Note = silent,
        subject: Subject | None = None,
    ) -> None:
        self.plan, self.folder = plan, folder
        self.model: Any = None
        if subject is None and plan.study.endpoint is None:
            self.model = _loaded(plan)
        self.subject = subject or _subject(plan, folder, self.model)
        self.cells = [Cell(self._key(part), part, ".json") for part in plan.parts]

    def _key(self, part: Part) -> str:
        names = [mediator.name for mediator in self.plan.mediators]
        photos = self._photos(part)
        return cell_key(
            {
                "study": self.plan.study.keyed(),
                "step": part.step,
                "items": [item.key for item in part.items],
                **({"photos": photos} if photos else {}),
                "mediators": names if part.step == "mediators" else [],
                "subject": self.subject.name,
                "revision": self.subject.revision,
                "version": version("vlbias"),
            }
        )

    def _photos(self, part: Part) -> list[str]:
        """Hashes of the photos of a cell, in their order."""
        if self.plan.study.dataset is None:
            return []
        hashes = {Path(name).name: digest for name, digest in self.plan.files.items()}
        return [hashes[item.said] for item in part.items]

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        study = self.plan.study
        about: dict[str, Any] = {"name": self.subject.name, "revision": self.subject.revision}
        if self.model is not None:
            about["parameters"] = sum(p.numel() for p in self.model.net.parameters())
        items = cell_key({"items": [item.key for item in self.plan.items]})
        meta = {"reader": study.task, "funnel": {"items": len(self.plan.items)}}
        return {
            **described(
                study, [cell.key for cell in self.cells], self.plan.rows, device=study.device
            ),
            "model": about,
            "data": {
                "content_hash": items,
                "meta": meta,
                **about_files(self.folder, self.plan.files),
            },
            "mediators": {
                mediator.name: {"sites": [str(site) for site in mediator.sites]}
                for mediator in self.plan.mediators
            },
            "chance": _chance(self.plan.items),
        }

    def write_samples(self) -> None:
        """Write samples.parquet, one row an item."""
        rows = [
            {
                "sample_id": item.id,
                "cluster": item.cluster or item.id,
                "original": item.said,
                "answer": item.answer,
            }
            for item in self.plan.items
        ]
        with whole(self.folder / "samples.parquet") as temporary:
            pd.DataFrame(rows).to_parquet(temporary)

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """See `Work.samples`."""
        return [(item.id, item.cluster or item.id) for item in part.items]

    def fill(self, key: str, part: Any) -> None:
        """See `Work.fill`."""
        if part.step == "mediators":
            from vlbias.studies.comprehension.mediation import mediated

            found: Mapping[str, Any] = mediated(
                self.model, part.items, self.plan.mediators, self.plan.study.mediator_batch
            )
        else:
            found = {"rows": list(_answered(self.subject, part.items))}
        write_json(Cell(key, part, ".json").path(self.folder), {"step": part.step, **found})


def _chance(items: tuple[Any, ...]) -> float | None:
    """Share that is right by guessing among the choices; None where some item has none."""
    shares = [1 / len(item.choices) for item in items if item.choices]
    return sum(shares) / len(shares) if len(shares) == len(items) else None


def _loaded(plan: ComprehensionPlan) -> Any:
    study = plan.study
    model: Any = load_model(
        study.model, device=study.device, dtype=study.dtype, random=study.random_weights
    )
    return model if study.of_images else model.scores_only()


def _subject(plan: ComprehensionPlan, folder: Path, model: Any) -> Any:
    study = plan.study
    if study.endpoint is not None:
        from vlbias.studies.comprehension.subjects.chat import ChatSubject

        return ChatSubject(study.model, study.endpoint, study.parser, folder / "answers")
    if study.of_images:
        from vlbias.studies.comprehension.subjects.images import ImageSubject

        return ImageSubject(model, study.prompt)
    from vlbias.studies.comprehension.subjects.language import ScoringSubject, WritingSubject

    return (
        ScoringSubject(model) if study.answers == "scored" else WritingSubject(model, study.parser)
    )


def _answered(subject: Any, items: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """One row for each text of each item."""
    asked = [(item, world, number, text) for item in items for world, number, text in item.worlds()]
    questions = [item.question(text) for item, _, _, text in asked]
    for (item, world, number, text), answer in zip(asked, subject.answers(questions), strict=True):
        yield {
            "item": item.id,
            "cluster": item.cluster or item.id,
            "world": world,
            "variant": number,
            "gold": item.answer,
            "answer": answer.text,
            "status": answer.status,
            "written": answer.raw,
            "size": item.size(text),
            "strength": item.strength(text),
        }


def estimate(plan: ComprehensionPlan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line: time from a few items, or calls, tokens and price of a server."""
    yield f"items {len(plan.items)}, texts {plan.rows}, cells {plan.n_parts}"
    endpoint = plan.study.endpoint
    if endpoint is not None:
        letters = sum(len(text) for item in plan.items for *_, text in item.worlds())
        asked = letters / _CHARACTERS + plan.rows * len(endpoint.system) / _CHARACTERS
        given = plan.rows * endpoint.max_tokens
        price = (asked * endpoint.price_in + given * endpoint.price_out) / 1e6
        yield (
            f"calls {plan.rows}, about {asked:,.0f} tokens asked and at most {given:,} answered, at most "
            f"{price:.2f} by the study's prices; answers that are kept are not asked for again"
        )
        return
    events.note("timing a few items")
    with TemporaryDirectory() as folder:
        work = Work(plan, Path(folder), events.note)
    few = plan.items[:_TIMED]
    list(_answered(work.subject, few[:1]))
    began = time.monotonic()
    list(_answered(work.subject, few))
    seconds = (time.monotonic() - began) / len(few) * len(plan.items)
    yield f"estimated time {seconds / 60:.1f} min on {plan.study.device} for answers in one process"
    if plan.mediators:
        yield f"and {len(plan.mediators)} mediators in {min(plan.study.mediated, len(plan.items))} items"
