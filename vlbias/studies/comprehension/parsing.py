"""From what a subject writes to its answer, by a stated rule; what no rule reads is no answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlbias.errors import BadStudy

__all__ = ["parsed", "refuse_parser"]

_RULES = ("choice", "number", "first-word")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def refuse_parser(rule: str) -> None:
    """Nothing, if there is such a rule.

    Raises:
        BadStudy: otherwise, or if it is a regular expression without a group.
    """
    if rule in _RULES:
        return
    if not rule.startswith("regex:"):
        raise BadStudy("parser", rule, f"one of {', '.join(_RULES)}, or regex:EXPRESSION")
    try:
        groups = re.compile(rule.removeprefix("regex:")).groups
    except re.error as error:
        raise BadStudy("parser", rule, f"a regular expression ({error})") from error
    if groups != 1:
        raise BadStudy("parser", rule, "an expression with one group, which is the answer")


def parsed(text: str, rule: str, choices: Sequence[str]) -> str | None:
    """The answer in a text; None if the rule finds none.

    Args:
        text: What a subject wrote.
        rule: "choice": the one choice that stands in it as a word, whatever its case; "number": the last
            number, without commas; "first-word": its first word; "regex:EXPRESSION": the expression's group
            at its first place.
        choices: To choose from.
    """
    if rule == "choice":
        found = [
            choice
            for choice in choices
            if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE)
        ]
        return found[0] if len(found) == 1 else None
    if rule == "number":
        numbers = _NUMBER.findall(text)
        return numbers[-1].replace(",", "") if numbers else None
    if rule == "first-word":
        words = re.findall(r"\w+", text)
        return words[0] if words else None
    hit = re.search(rule.removeprefix("regex:"), text)
    return hit.group(1).strip() if hit and hit.group(1) else None
