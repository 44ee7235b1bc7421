"""Write examples.parquet, examples.json and licence notes for MSCOCO.

Run it as: python datasets/coco/prepare.py COCO_FOLDER --subset val2017 --out prepared/coco --verify
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from vlbias.data.coco import read_coco
from vlbias.data.labels import RULES, Funnel
from vlbias.data.table import licence_notes, save_dataset, verify_images
from vlbias.errors import VlbiasError


def main() -> int:
    """The exit status: 0 done, 2 the data is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="annotations/ and photos, or a flat folder")
    parser.add_argument("--subset", help="for example val2017; not needed where there is one")
    parser.add_argument("--rule", choices=RULES, default="strict", help="perceived-gender rule")
    parser.add_argument("--min-captions", type=int, help="captions that must agree")
    parser.add_argument("--adults-only", action="store_true", help="leave children unlabelled")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--verify", action="store_true", help="open every photo to its last byte")
    given = parser.parse_args()
    rule = dataclasses.replace(RULES[given.rule], adults_only=given.adults_only)
    try:
        if given.min_captions is not None:
            rule = dataclasses.replace(rule, min_captions=given.min_captions)
        dataset = read_coco(given.folder, rule, subset=given.subset)
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
