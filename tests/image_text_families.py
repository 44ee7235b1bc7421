"""Every family of generative image-text models, tiny, and what the conformance checks say of it.

python tests/image_text_families.py            the table of docs/generative-models.md
python tests/image_text_families.py llava      of some families, with the details
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from tiny_image_text import FAMILIES, Made, made_loud, sides
from tiny_image_text_odd import ODD
from tiny_image_text_real import REAL
from tiny_image_text_stubs import STUBBED

from vlbias.causal.conformance import Finding, conformance
from vlbias.models.image_text.adapter import ImageText

EVERY: dict[str, Callable[[], Made]] = dict(sorted((FAMILIES | REAL | STUBBED | ODD).items()))
SEEDS = {"kosmos2": 3, "llava_onevision": 1}
"""Seeds of weights with which image and text are heard, where those of seed 0 are too quiet."""


def family_model(kind: str) -> Any:
    """The staged model of a family."""
    net, processor = EVERY[kind]()
    seed = SEEDS.get(kind, 0)
    return ImageText(made_loud(net, seed), processor, name=kind, revision=f"random:{seed}")


def checked(kind: str) -> tuple[Any, list[Finding]]:
    """A family's model, and what the checks say of it."""
    model = family_model(kind)
    return model, conformance(model, *sides(2))


def row(model: Any, findings: list[Finding]) -> str:
    """A row of the table."""
    kinds = " → ".join(stage.name for stage in model.towers[0].stages)
    ports = sorted({port.name for port in model.ports if port.stage == "lm"})
    passed = sum(finding.passed for finding in findings)
    kept = model.prefix
    return f"| `{model.name}` | {kinds} | {', '.join(ports) or 'none'} | {passed}/{len(findings)} | {kept} |"


def main(kinds: list[str]) -> None:
    """Print the table, and of named families why a check failed."""
    warnings.filterwarnings("ignore")
    print(
        "| tiny model | stages | ports of the language model | checks | prefix of image tokens kept |"
    )
    print("|---|---|---|---|---|")
    for kind in kinds or EVERY:
        model, findings = checked(kind)
        print(row(model, findings), flush=True)
        for finding in findings if kinds else ():
            print("   ", "ok  " if finding.passed else "FAIL", finding.name, "|", finding.detail)


if __name__ == "__main__":
    main(sys.argv[1:])
