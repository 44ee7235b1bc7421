"""A page of one or more runs; draws any kind of study and knows none.

The package can be called: `vlbias.report(runs)` is `vlbias.studies.reporting.report`, whether or not
something has imported this package before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A module of the same name as the public function: a call of it is a call of the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """See `vlbias.studies.reporting.report`."""
        return import_module("vlbias.studies.reporting").report(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
