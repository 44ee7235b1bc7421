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
    stated = table(page, "statements")
    print(page.summary)
    print("\nBIAS_VL: sum over objects of the gap in false-positive rate\n")
    print(markdown(table(page, "conditions")[BIAS]))
    print("\nStatements on worlds; words after correction for all of them\n")
    print(markdown(stated[["contrast", "statement", "estimate", "lo", "hi", "most", "said"]]))
    boxes = table(page, "boxes")
    if len(boxes):
        print("\nFound boxes, all classes but person\n")
        print(markdown(boxes))


if __name__ == "__main__":
    main_of(main)
