"""Effects of language models side by side: every study for every model, with random weights as the floor.

    python experiments/language.py MODEL MODEL… --data ../shared/data/lm --out runs/language

MODEL is a hub name, a folder or a GGUF file. Killed at any moment, the same command goes on where it was;
one page compares all models: effects by size, heads, layers, sparsity, neurons.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from script import main_of

from vlbias.models import outline_model
from vlbias.progress import loading_quietly, watched
from vlbias.studies.language.study import Study
from vlbias.studies.lifecycle import make_plan, read_study, run_plan
from vlbias.studies.reporting import report

HERE = Path(__file__).parent
STUDIES = ("lm_professions", "lm_winobias", "lm_winogender")
OPTIONS = (
    ("--data", Path, None, "folder of the published files; the small own set without"),
    ("--out", Path, Path("runs/language"), "folder for runs and page"),
    ("--limit", int, None, "only so many texts a study, chosen by the seed"),
    ("--screen", float, None, "share of the units that is run, chosen by gradients"),
    ("--seeds", int, 1, "random-weight twins of every model"),
    ("--workers", int, 0, "processes; 0: one per core"),
    ("--draws", int, 2000, "resampling draws for intervals"),
)


def studies(args: argparse.Namespace) -> list[Study]:
    """Every study for every model, then for its random-weight twins with joint mediators only."""
    found = []
    for name in args.studies:
        for model in args.models:
            file = HERE / f"{name}.toml"
            study = read_study(file, model=model, limit=args.limit, screen=args.screen)
            path = None if args.data is None else args.data.resolve()
            changes = {"dataset": study.dataset.model_copy(update={"path": path})}
            name_of = f"{study.name}-{outline_model(study.model).name}"
            study = study.model_copy(update={**changes, "name": name_of})
            found.append(study)
            for seed in range(args.seeds):
                joint = tuple(name for name in study.mediators if name.startswith("all "))
                plain = {"random_weights": seed, "mediators": joint, "screen": None}
                found.append(study.model_copy(update={**plain, "name": f"{name_of}-random{seed}"}))
    return found


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="hub names, folders or GGUF files")
    parser.add_argument("--studies", nargs="+", default=STUDIES, help="TOML files beside this one")
    for option, kind, default, about in OPTIONS:
        parser.add_argument(option, type=kind, default=default, help=about)
    args = parser.parse_args()
    folders, asked = [], studies(args)
    for number, study in enumerate(asked, start=1):
        with loading_quietly(), watched(f"{study.name} ({number} of {len(asked)}): cell") as seen:
            events, _ = seen
            result = run_plan(make_plan(study), args.out, workers=args.workers, events=events)
        if result.failed:
            raise SystemExit(f"{len(result.failed)} cells failed in {result.folder}; run again")
        folders.append(result.folder)
    with watched() as (events, _):
        page = report(folders, args.out / "report", draws=args.draws, note=events.note)
    print(page.summary, f"page: {page.html}", sep="\n")


if __name__ == "__main__":
    main_of(main)
