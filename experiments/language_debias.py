"""The debiasing loop on text: heads found on professions, set to their mean, measured on WinoBias.

    python experiments/language_debias.py MODEL --data ../shared/data/lm --out runs/language-debias

Heads are ranked by their indirect effect (mean log ratio) on professions; the k best are set to their mean, and
so are as many heads of the same layers drawn at random. Whatever comes out is the result. Resumable.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from language_debias_parts import Trial, ranking, settings, table
from script import main_of

from vlbias.data.coreference import read_winobias
from vlbias.data.text_files import lines_of
from vlbias.data.texts import texts_folder
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.progress import loading_quietly, watched

OPTIONS = (
    ("--data", Path, None, "folder of the published files; the small own set without"),
    ("--text", Path, None, "held-out text, a paragraph a line; an own-written one without"),
    ("--out", Path, Path("runs/language-debias"), "where everything is kept"),
    ("--fit", int, 120, "profession prompts that heads are ranked on"),
    ("--dev", int, None, "only so many examples of WinoBias, chosen by the seed"),
    ("--random", int, 10, "random sets of heads for every size"),
    ("--seed", int, 0, "of the random sets"),
)


def main() -> None:
    """Rank, measure what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="hub name, folder or GGUF file of a causal language model")
    parser.add_argument("--k", type=int, nargs="+", default=[5, 10, 20], help="sizes of the sets")
    for option, kind, default, about in OPTIONS:
        parser.add_argument(option, type=kind, default=default, help=about)
    args = parser.parse_args()
    with loading_quietly(), watched("ranking: cell") as (events, _):
        ranked = ranking(args.model, args.data, args.fit, args.out, events)
    source = args.text or texts_folder(None) / "held_out.txt"
    texts, paragraphs = read_winobias(args.data), lines_of(source)
    dev = texts.chosen(["dev"], [], limit=args.dev, seed=args.seed)
    examples = (*dev, *texts.chosen(["test"], [], limit=None, seed=args.seed))
    with loading_quietly(), watched("setting") as (events, _):
        model = load_model(args.model)
        assert isinstance(model, LanguageModel)
        tried = settings(model, ranked, args.k, args.random, args.seed)
        found = Trial(model, examples, paragraphs, args.out).measure_all(tried, events)
    text = table(found, args.seed)
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main_of(main)
