"""Measures BIAS_VL and performance in every world of a study, without mediators, and prints both.

    python experiments/benchmark.py experiments/coco_people_detector.toml

Killed at any moment, the same command goes on where it was. `--dry-run` estimates the time.
"""

from __future__ import annotations

from script import finished, main_of, markdown, options, table

BIAS = [
    "world", "photos", "n_objects", "B_plugin", "floor", "p", "B_crossfit", "B_lo", "B_hi", "mean_fpr",
    "presence_mAP",
]  # fmt: skip


def main() -> None:
    """The study of the command line."""
    given = options(__doc__, "coco_people.toml").parse_args()
    page = finished(given, "-worlds", mediators=())
    if page is None:
        return
    strictness = table(page, "strictness")
    own = strictness[
        (strictness["effect"] == "attributable") & (strictness["functional"] == "B_crossfit")
    ]
    print(page.summary)
    print("\nBIAS_VL: sum over objects of the gap in false-positive rate\n")
    print(markdown(table(page, "conditions")[BIAS]))
    print("\nChange of the cross-fit B beyond a threshold of the same false-positive rate\n")
    print(markdown(own[["contrast", "estimate", "lo", "hi", "decision"]]))
    boxes = table(page, "boxes")
    if len(boxes):
        print("\nFound boxes, all classes but person\n")
        print(markdown(boxes))


if __name__ == "__main__":
    main_of(main)
