"""Small finished runs of several kinds, and damage of any kind to any of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st
from tiny_language import write_language
from toy_studies import planted_plan, toy_study

from vlbias.report.export import frames
from vlbias.runs.interfaces import Plan
from vlbias.store.run_folder import Run
from vlbias.studies import kind_of
from vlbias.studies.lifecycle import make_plan, parse_study, run_plan

__all__ = [
    "RUNS",
    "Damage",
    "damages",
    "mitigations",
    "restored",
    "runs_files",
    "small_study",
    "tables_of",
]

Damage = tuple[str, float, int]
"""What is done, where in the file as a share of its length, and the value or length that it takes."""


def tables_of(folder: Path) -> dict[str, bytes]:
    """All tables of a report as CSV."""
    run = Run(folder)
    tables = kind_of(run.manifest["study"]).numbers(run, draws=2, seed=0)
    return {name: frame.to_csv(index=False).encode() for name, frame in frames(tables).items()}


def runs_files(folder: Path) -> list[Path]:
    """The files of a run that could move a number."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if path.name != ".working")


def small_study(photos: int = 240) -> Plan:
    """A study of the toy with one contrast."""
    return toy_study(photos=photos, contrasts=("null->both",))


def mitigations() -> Plan:
    """A study of one method and its placebo."""
    leace = {"name": "leace", "options": {"sites": ["image_encoder/neuron"]}}
    return planted_plan([leace], photos=600, strengths=[1.0], timed=4)


def _language(out: Path) -> Path:
    study = {
        "kind": "language", "name": "texts", "model": str(write_language("gpt2", out / "gpt2")),
        "contrasts": ["null->set-gender"], "mediators": ["lm/head.*[*]"], "screen": 0.5,
        "dataset": {"name": "professions", "limit": 8,
                    "options": {"templates": ["The {} said that"]}},
    }  # fmt: skip
    return run_plan(make_plan(parse_study(study)), out).folder


def _planted(out: Path) -> Path:
    study = {"kind": "planted", "name": "plants", "seeds": 2, "photos": 200, "draws": 20}
    return run_plan(make_plan(parse_study(study)), out).folder


RUNS: Mapping[str, Callable[[Path], Path]] = {
    "bias": lambda out: run_plan(small_study(60), out).folder,
    "mitigation": lambda out: run_plan(mitigations(), out).folder,
    "language": _language,
    "planted": _planted,
}
"""Kind of study to what makes a finished run of it in a folder."""

damages: st.SearchStrategy[Damage] = st.tuples(
    st.sampled_from(["byte", "byte", "byte", "byte", "cut", "zeros", "more", "gone", "other"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 255),
)
"""Mostly one byte that is changed; else cut off, zeroed, longer, gone, or another file's content."""


@contextmanager
def restored(paths: list[Path], which: int, damage: Damage) -> Iterator[Path]:
    """A context in which one of the files is damaged.

    Args:
        paths: All files of a run.
        which: One of them.
        damage: What happens to it.
    """
    path = paths[which % len(paths)]
    fine = path.read_bytes()
    what, share, value = damage
    at = int(share * len(fine))
    changed = bytearray(fine)
    if what == "byte" and fine:
        changed[at] ^= value
    elif what == "cut":
        changed = changed[:at]
    elif what == "zeros":
        changed[at : at + value] = b"\0" * len(changed[at : at + value])
    elif what == "more":
        changed += bytes([value])
    elif what == "other":
        changed = bytearray(paths[(which + value) % len(paths)].read_bytes())
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(changed)
    try:
        yield path
    finally:
        path.write_bytes(fine)
