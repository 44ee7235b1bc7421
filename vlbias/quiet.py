"""Loading a model without bars and remarks of other libraries."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading_quietly"]

# said of the class's own defaults, before a checkpoint's values are read
_OF_DEFAULTS = re.compile(r"Model config: (bos|eos)_token_id must .* 31999\), got 4940[67]\.")


@contextmanager
def loading_quietly() -> Iterator[None]:
    """A context in which transformers draws no bars of its own and says nothing of SigLIP's defaults.

    Downloads keep their bars, and all other warnings are heard. Afterwards everything is as it was.
    """
    from huggingface_hub import utils as hub
    from transformers.utils import logging as theirs

    def is_news(record: logging.LogRecord) -> bool:
        return not _OF_DEFAULTS.match(record.getMessage())

    logger = logging.getLogger("transformers.configuration_utils")
    had_bars = theirs.is_progress_bar_enabled()
    logger.addFilter(is_news)
    if had_bars:
        theirs.disable_progress_bar()
        hub.enable_progress_bars()  # which the line above took away too
    try:
        yield
    finally:
        logger.removeFilter(is_news)
        if had_bars:
            theirs.enable_progress_bar()
