"""A study from file to run folder, for every kind: read, plan, run, resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlbias.errors import BadStudy, BadTable
from vlbias.models.devices import refuse_device
from vlbias.runs import runner
from vlbias.runs.cell_size import sized
from vlbias.runs.events import QUIET, Events, Note, silent
from vlbias.runs.interfaces import Plan
from vlbias.runs.remote import RemoteFolder, address_of, keeping
from vlbias.runs.runner import RunResult
from vlbias.runs.study import ModelStudy, StudyBase, fields_at, read_toml
from vlbias.store.run_folder import Run
from vlbias.studies import KINDS, kind_of

__all__ = [
    "estimate",
    "load_study",
    "make_plan",
    "open_files",
    "parse_study",
    "read_study",
    "run",
    "run_plan",
    "sized_plan",
    "study_of",
]


def parse_study(content: Mapping[str, Any]) -> StudyBase:
    """The study of a mapping, as TOML gives it.

    Raises:
        BadStudy: names the field, what was given and what is allowed, and which kinds have a key that
            this kind has not.
        UnknownName: if a name in it is unknown, with suggestions.
    """
    return kind_of(content).study.parse(content, _kinds_with)


def load_study(path: Path) -> StudyBase:
    """The study in a TOML file; its paths are taken relative to the file.

    Raises:
        BadStudy: if the file is missing, no TOML, or no study.
    """
    return parse_study(read_toml(path)).relative_to(path.parent)


def read_study(path: Path, **overrides: Any) -> StudyBase:
    """The study of a TOML file with some fields overridden, as the command line's options do.

    Args:
        path: The TOML file.
        **overrides: "limit", "screen", "model" (a folder or file as seen from here), "device"; None leaves
            the study's.

    Raises:
        BadStudy: if the file or an override is no study, or the kind of study has no such field.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    if "model" in given and _is_local(Path(given["model"])):
        given["model"] = str(Path(given["model"]).resolve())
    content = read_toml(path)
    if "model" in given and "model" in content:
        content = {**content, "model": given["model"]}  # the file's own may lie on another machine
    study = parse_study(content).relative_to(path.parent)
    for key in ("limit", "screen"):
        if key in given:
            value, change = given.pop(key), getattr(study, f"with_{key}", None)
            if change is None:
                kinds = [name for name, k in KINDS.items() if hasattr(k.study, f"with_{key}")]
                raise BadStudy(
                    key,
                    value,
                    f"no --{key} for a study of kind {study.kind!r}; kinds that have it: "
                    f"{', '.join(kinds)}",
                )
            study = change(value)
    for key, value in given.items():
        if key not in type(study).model_fields:
            raise BadStudy(key, value, f"no --{key} for a study of kind {study.kind!r}")
    return type(study).parse(study.model_copy(update=given).model_dump())


def study_of(folder: Path) -> StudyBase:
    """The study that a run folder was made from, a remote one too.

    Raises:
        BadTable: if it is no run folder, or was renamed.
    """
    if address_of(folder):
        with RemoteFolder.copied(folder, only=("manifest.json",)) as remote:
            return study_of(remote.local)
    content = Run(folder).manifest["study"]
    study = kind_of(content).study.restore(content)
    if folder.resolve().name != study.name:
        raise BadTable(
            f"{folder} holds the run {study.name!r}; give the folder its name back to resume it"
        )
    return study


def make_plan(study: StudyBase, note: Note = silent) -> Plan:
    """The plan of a study, once everything that can be checked without weights was checked.

    Raises:
        VlbiasError: names what cannot be.
    """
    if isinstance(study, ModelStudy):
        refuse_device(study.device)
    return KINDS[study.kind].plan(study, note)


def open_files(plan: Plan) -> None:
    """Open every file of a plan's data; until then, a plan of many photos has opened a sample.

    Raises:
        BadData: names the files that are missing, truncated or not what the table says.
    """
    dict(plan.files)  # a file whose hash is asked for is opened


def estimate(plan: Plan, events: Events = QUIET) -> Iterator[str]:
    """What a run of a plan would take, line by line."""
    yield from KINDS[plan.study.kind].estimate(plan, events)


def sized_plan(plan: Plan, out: Path, events: Events = QUIET) -> Plan:
    """The plan with the cells that `run_plan` will compute, for who must count them before.

    Raises:
        VlbiasError: see `vlbias.runs.cell_size.sized`.
    """
    return sized(plan, KINDS[plan.study.kind].work, out / plan.study.name, events)


def run_plan(plan: Plan, out: Path, **options: Any) -> RunResult:
    """Compute the cells of a plan that are not there yet.

    Args:
        plan: From `make_plan`.
        out: Where the run folder is made; it may be remote, as s3://bucket/runs.
        **options: `shard`, `workers`, `events`; see `vlbias.runs.runner.run_plan`.

    Raises:
        VlbiasError: see `vlbias.runs.runner.run_plan`.
    """
    work = KINDS[plan.study.kind].work
    if not address_of(out):
        return runner.run_plan(plan, work, out, **options)
    with RemoteFolder.copied(out / plan.study.name) as remote:
        _refuse_second(remote, options.get("shard", (0, 1)))
        options["events"] = keeping(remote, options.get("events", QUIET))
        try:
            result = runner.run_plan(plan, work, remote.local.parent, **options)
        finally:
            remote.push()
        return replace(result, folder=out / plan.study.name)


def _refuse_second(remote: RemoteFolder, shard: tuple[int, int]) -> None:
    """Nothing, if a part of a remote run is the first, or the first has begun the run.

    Raises:
        BadStudy: otherwise; parts that begin at once could choose cells of different sizes.
    """
    index, parts = shard
    if index and not (remote.local / "manifest.json").is_file():
        raise BadStudy(
            "shard",
            f"{index}/{parts}",
            f"0/{parts} first: once its first cell is in {remote.address}, the others can begin",
        )


def run(
    study: StudyBase | Path | str, out: Path | str = "runs", *, events: Events = QUIET
) -> RunResult:
    """Run a study, or go on with it, and give back where its run folder is.

    Raises:
        VlbiasError: whatever `make_plan` and `run_plan` refuse.
    """
    loaded = study if isinstance(study, StudyBase) else read_study(Path(study))
    return run_plan(make_plan(loaded, events.note), Path(out), events=events)


def _kinds_with(path: tuple[str, ...]) -> list[str]:
    """Kinds of study that have the last key of a path where the path leads."""
    *tables, key = path
    return [
        name
        for name, kind in KINDS.items()
        if _leads(kind.study, tables) and key in fields_at(kind.study, tables)
    ]


def _leads(study: type[StudyBase], tables: list[str]) -> bool:
    return not tables or tables[0] in study.model_fields


def _is_local(path: Path) -> bool:
    return path.is_dir() or path.suffix == ".gguf"
