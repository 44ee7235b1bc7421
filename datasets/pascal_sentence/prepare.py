"""Write examples.parquet, examples.json and licence notes for PASCAL-Sentence.

Run it as: python datasets/pascal_sentence/prepare.py VOC_FOLDER --out prepared/pascal --verify
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from vlbias.data.labels import RULES, Funnel
from vlbias.data.pascal import read_pascal
from vlbias.data.table import licence_notes, save_dataset, verify_images
from vlbias.errors import VlbiasError


def main() -> int:
    """The exit status: 0 done, 2 the data is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with JPEGImages/ and Annotations/")
    parser.add_argument("--sentences", type=Path, help="text files; folder/sentences by default")
    parser.add_argument("--rule", choices=RULES, default="strict", help="perceived-gender rule")
    parser.add_argument("--adults-only", action="store_true", help="leave children unlabelled")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--verify", action="store_true", help="open every photo to its last byte")
    given = parser.parse_args()
    rule = dataclasses.replace(RULES[given.rule], adults_only=given.adults_only)
    try:
        dataset = read_pascal(given.folder, rule, sentences=given.sentences)
        if given.verify:
            verify_images(dataset)
        save_dataset(dataset, given.out)
    except VlbiasError as error:
        print(error, file=sys.stderr)
        return 2
    (given.out / "LICENCES.md").write_text(licence_notes(dataset), encoding="utf-8")
    print(f"{len(dataset.frame):,} photos in {given.out}, content {dataset.content_hash[:12]}")
    print(Funnel(**dataset.meta["funnel"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
