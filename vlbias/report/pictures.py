"""A picture on a page: its bytes in the page, with words for those who do not see it."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

__all__ = ["pictured"]


def pictured(image: Image.Image, said: str, *, source: str = "") -> str:
    """An HTML figure: a photo with its source as JPEG; a drawing, which has none, as PNG without loss.

    Args:
        image: What is shown.
        said: What is seen, as words beside it and in its place.
        source: Where a photo is from, and its licence.
    """
    buffer = io.BytesIO()
    if source:
        image.save(buffer, format="JPEG", quality=72)
    else:
        image.save(buffer, format="PNG", optimize=True)
    kind = "jpeg" if source else "png"
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    shown = f'<img alt="{escape(said)}" {size} src="data:image/{kind};base64,{data}">'
    beside = f"{escape(said)}. <small>{escape(source)}</small>" if source else escape(said)
    return f'<figure class="photo">{shown}<figcaption>{beside}</figcaption></figure>'
