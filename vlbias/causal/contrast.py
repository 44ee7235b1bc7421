"""Two worlds that are compared; known without torch, since studies and pages name contrasts."""

from __future__ import annotations

from dataclasses import dataclass

from vlbias.errors import BadStudy

__all__ = ["Contrast"]


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two worlds that are compared: `base` is the direct input's 0, `cf` its 1."""

    base: str
    cf: str

    @property
    def name(self) -> str:
        """For example "null->mask-gender"."""
        return f"{self.base}->{self.cf}"

    @classmethod
    def parse(cls, text: str) -> Contrast:
        """The contrast written "base->cf".

        Raises:
            BadStudy: if the text has another form.
        """
        base, arrow, cf = text.partition("->")
        if not arrow or not base.strip() or not cf.strip():
            raise BadStudy("contrasts", text, "two worlds written 'base->other'")
        return cls(base.strip(), cf.strip())
