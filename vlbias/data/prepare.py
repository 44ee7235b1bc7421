"""What the prepare scripts of `datasets/` share: their options, the table they write, its notes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from vlbias.data.gender_labels import RULES, Funnel, GenderRule
from vlbias.data.photo_files import verify_images
from vlbias.data.table import Dataset, licence_notes, save_dataset
from vlbias.errors import VlbiasError
from vlbias.files import write_texts

__all__ = ["options", "prepare"]


def options(about: str, folder: str) -> argparse.ArgumentParser:
    """The options of every prepare script.

    Args:
        about: What the script does.
        folder: What has to lie in the data's folder.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("folder", type=Path, help=folder)
    parser.add_argument("--rule", choices=RULES, default="strict", help="perceived-gender rule")
    parser.add_argument("--min-captions", type=int, help="captions that must agree")
    parser.add_argument("--adults-only", action="store_true", help="leave children unlabelled")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--verify", action="store_true", help="open every photo to its last byte")
    return parser


def prepare(given: argparse.Namespace, read: Callable[[GenderRule], Dataset]) -> int:
    """Read the data by the rule that was asked for, write its table, and print its funnel.

    Args:
        given: Values of `options`.
        read: Reads the data by a rule.

    Returns:
        The exit status: 0 done, 2 the data is not what it should be.
    """
    rule = dataclasses.replace(RULES[given.rule], adults_only=given.adults_only)
    try:
        if given.min_captions is not None:
            rule = dataclasses.replace(rule, min_captions=given.min_captions)
        dataset = read(rule)
        if given.verify:
            verify_images(dataset)
        save_dataset(dataset, given.out)
    except VlbiasError as error:
        print(error, file=sys.stderr)
        return 2
    write_texts({given.out / "LICENCES.md": licence_notes(dataset)})
    print(f"{len(dataset.frame):,} photos in {given.out}, content {dataset.content_hash[:12]}")
    print(Funnel(**dataset.meta["funnel"]))
    return 0
