"""How the process treats memory that it has freed."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_memory"]


def keep_memory() -> None:
    """Tell glibc to keep freed memory: giving 40 MB activations back each time costs a quarter."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
