"""Safety limits for decoding. They bound one decode unit (a tile, a strip, a whole-image file), not an image."""

from __future__ import annotations

from imgrs.errors import LimitError

MAX_UNIT_BYTES = 1 << 30
"""Bytes that one tile, strip or whole-image file may decode to, unless ``imgrs.max-decode-bytes`` says otherwise."""


def check_unit(name: str, what: str, size: int) -> None:
    """Raise ``LimitError`` where decoding ``what`` of the file ``name`` would take more than the limit."""
    import dask.config

    limit = int(dask.config.get("imgrs.max-decode-bytes", MAX_UNIT_BYTES))
    if size > limit:
        raise LimitError(
            f"{name}: {what} decodes to {size:,} bytes, more than the limit of {limit:,}; "
            f'raise it with dask.config.set({{"imgrs.max-decode-bytes": {size}}}) if you trust the file'
        )
