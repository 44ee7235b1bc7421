"""Write examples.parquet, examples.json and licence notes for MSCOCO.

Run it as: python datasets/coco/prepare.py COCO_FOLDER --subset val2017 --out prepared/coco --verify
"""

from __future__ import annotations

import sys

from vlbias.data.coco import read_coco
from vlbias.data.prepare import options, prepare

if __name__ == "__main__":
    parser = options(__doc__.splitlines()[0], "annotations/ and photos, or a flat folder")
    parser.add_argument("--subset", help="for example val2017; not needed where there is one")
    given = parser.parse_args()
    sys.exit(prepare(given, lambda rule: read_coco(given.folder, rule, subset=given.subset)))
