"""Bytes as people write and read them."""

from __future__ import annotations

from typing import Any

from imgrs.errors import ArgumentError


def bytes_of(what: str, value: Any) -> int:
    """A number of bytes from a number, or from text such as ``"512MiB"``. ``what`` begins the ``ArgumentError`` for others."""
    import dask.utils

    try:
        size = int(dask.utils.parse_bytes(value))
    except (TypeError, ValueError, AttributeError):
        size = 0
    if size < 1 or isinstance(value, bool):
        raise ArgumentError(f'{what} must be bytes or text such as "512MiB", got {value!r}')
    return size


def size_text(size: int) -> str:
    """Bytes as people read them: ``"1.5 MiB"``."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
