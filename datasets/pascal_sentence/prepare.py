"""Write examples.parquet, examples.json and licence notes for PASCAL-Sentence.

Run it as: python datasets/pascal_sentence/prepare.py VOC_FOLDER --out prepared/pascal --verify
"""

from __future__ import annotations

import sys
from pathlib import Path

from vlbias.data.pascal import read_pascal
from vlbias.data.prepare import options, prepare

if __name__ == "__main__":
    parser = options(__doc__.splitlines()[0], "with JPEGImages/ and Annotations/")
    parser.add_argument("--sentences", type=Path, help="text files; folder/sentences by default")
    given = parser.parse_args()
    sys.exit(
        prepare(given, lambda rule: read_pascal(given.folder, rule, sentences=given.sentences))
    )
