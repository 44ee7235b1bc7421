"""Runs a study with its mediators and prints where the bias arises, beside the paper's percentages.

    python experiments/mediation.py experiments/coco_people_detector.toml

Killed at any moment, the same command goes on where it was. `--dry-run` estimates the time.
"""

from __future__ import annotations

import pandas as pd
from script import finished, main_of, markdown, options, table

COLUMNS = ["contrast", "mediator", "effect", "estimate", "lo", "hi", "p_adjusted", "cut"]
PUBLISHED = {
    "null->mask-gender": ("image features", 32.57, 12.63, "abstract"),
    "null->replace-gender": ("text features", 15.48, 5.64, "a digest alone, not the abstract"),
}
"""What Weng et al. (EMNLP 2024) print as shares of the bias: COCO, PASCAL-Sentence, where they say so."""
DIFFERS = """What differs: the paper's model is a GLIP trained by others on millions of images, its photos
are COCO's and PASCAL's with labels by a rule it does not give, its percentages those of the plug-in sum
without noise floor, placebo or limits. Here the model is the study's, the photos and labels are in the
run's manifest, and the share of the plug-in stands beside its floor, the cross-fit share, and what is left
beyond a moved threshold. Equal signs and orders would be worth something, equal percentages nothing."""


def main() -> None:
    """The study of the command line."""
    page = finished(options(__doc__, "coco_people.toml").parse_args())
    if page is None:
        return
    effects, conditions = table(page, "effects"), table(page, "conditions")
    effects["mediator"] = effects["mediator"].fillna("")
    lin = effects[effects["functional"] == "B_lin"]
    print(page.summary)
    print("\nTotal, direct and indirect effects through whole encoders, on B_lin\n")
    whole = lin[~lin["mediator"].str.contains("/") & lin["effect"].isin(["TE", "NDE", "NIE"])]
    print(markdown(whole[COLUMNS].assign(mediator=whole["mediator"].replace("", "total"))))
    print("\nImage, text, and both together\n")
    print(
        markdown(table(page, "modalities")[["effect", "functional", "estimate", "lo", "hi", "p"]])
    )
    print("\nIndirect effects through single parts that survive correction, on B_lin\n")
    parts = lin[lin["mediator"].str.contains("/") & (lin["effect"] == "NIE")]
    sure = parts[parts["p_adjusted"] < 0.05].sort_values("p_adjusted")
    print(markdown(sure[COLUMNS]) if len(sure) else f"none of {parts['mediator'].nunique()}")
    print("\nBeside the paper\n")
    print(markdown(beside_the_paper(effects, conditions, table(page, "strictness"))))
    print(f"\n{DIFFERS}")


def beside_the_paper(
    effects: pd.DataFrame, conditions: pd.DataFrame, strictness: pd.DataFrame
) -> pd.DataFrame:
    """The share of the bias that each intervention takes out, in percent: the paper's and this run's.

    Args:
        effects: Table of the page.
        conditions: Table of the page.
        strictness: Table of the page.
    """
    null = conditions.iloc[0]
    rows = []
    for contrast, (name, coco, pascal, source) in PUBLISHED.items():
        world = conditions[conditions["world"] == contrast.partition("->")[2]].iloc[0]
        share = {
            kind: -100 * _one(effects, contrast, "TE", kind) / null[kind]
            for kind in ("B_plugin", "B_crossfit")
        }
        beyond = _one(strictness, contrast, "world - class thresholds", "B_crossfit")
        rows.append(
            {
                "share of": name,
                "paper, COCO": coco,
                "paper, PASCAL": pascal,
                "told in": source,
                "here, plug-in": share["B_plugin"],
                "here, cross-fit": share["B_crossfit"],
                "here, cross-fit beyond class thresholds": -100 * beyond / null["B_crossfit"],
                "photos": int(world["photos"]),
                "floor, % of the plug-in": 100 * null["floor"] / null["B_plugin"],
            }
        )
    return pd.DataFrame(rows)


def _one(frame: pd.DataFrame, contrast: str, effect: str, functional: str) -> float:
    rows = frame[
        (frame["contrast"] == contrast)
        & (frame["effect"] == effect)
        & (frame["functional"] == functional)
    ]
    if "mediator" in rows:
        rows = rows[rows["mediator"].fillna("") == ""]
    return float(rows["estimate"].iloc[0])


if __name__ == "__main__":
    main_of(main)
