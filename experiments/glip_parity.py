"""GLIP's arithmetic beside that of its public implementation, module by module, on random weights.

    git clone https://github.com/microsoft/GLIP peer
    python experiments/glip_parity.py --peer peer

The peer runs as it is, on a CPU. Its deformable convolution and its suppression of boxes exist for a GPU
only; both are written anew from the indices of their kernels (experiments/glip/kernels.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from glip.modules import differences
from glip.numbers import write_numbers
from glip.peer import Peer
from glip.sides import Both
from glip.whole import detected, inputs, settings, write_names
from script import main_of, markdown

MOST = {"single": 1e-3, "double": 1e-9}
"""Largest differences that are rounding; boxes are in pixels."""


def main() -> None:
    """Print the table.

    Raises:
        SystemExit: if a difference is more than rounding.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of microsoft/GLIP")
    parser.add_argument("--full", action="store_true", help="also names and sizes; takes 4 GB")
    parser.add_argument("--names", type=Path, help="only write the names of weights, into a folder")
    parser.add_argument(
        "--numbers", type=Path, help="only write what tests compare with, to a file"
    )
    given = parser.parse_args()
    peer, rows = Peer(given.peer), []
    if given.names or given.numbers:
        if given.names:
            write_names(peer, given.names)
        if given.numbers:
            write_numbers(peer, given.numbers)
        return
    with TemporaryDirectory() as folder:
        for name in ("glip-tiny", "glip-tiny-a"):
            both = Both.made(peer, name, Path(folder) / f"{name}.pth")
            rows += [(name, "single", *row) for row in (*inputs(peer, both), *detected(peer, both))]
            rows += [(name, "double", *row) for row in differences(both.double())]
    if given.full:
        rows += [("all", "single", *row) for row in settings(peer)]
    columns = ["model", "precision", "compared", "file of the peer", "difference"]
    table = pd.DataFrame(rows, columns=columns)
    print(markdown(table.assign(difference=[f"{value:.1e}" for value in table["difference"]])))
    worse = table[table["difference"] > table["precision"].map(MOST)]
    if len(worse):
        raise SystemExit(f"{len(worse)} differences are more than rounding")


if __name__ == "__main__":
    main_of(main)
