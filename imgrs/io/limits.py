"""Safety limits for files that are not to be trusted: a file that claims too much is refused before anything is allocated.

A limit bounds one decode unit (a tile, a strip, a file that is decoded whole), not an image, because images of many
gigapixels must open. What a header claims is compared with the limits and with the size of the file when a file is
opened, in the thread that opens it; what was let in then is read by any thread, process or worker.

===========================  =============  ==================================================================
key of ``dask.config``       default        what it bounds
===========================  =============  ==================================================================
``imgrs.max-decode-bytes``   1 GiB          bytes that one unit decodes to
``imgrs.max-decode-pixels``  2**29          pixels of one unit: decoders keep more than the samples that they give
``imgrs.max-decode-ratio``   by the codec   bytes claimed for each byte that is stored, where 16 MiB or more are claimed
``imgrs.max-decode-scans``   100            passes over the image that a progressive JPEG may ask for
``imgrs.max-metadata``       64 MiB         bytes of one piece of metadata: a profile, EXIF, XMP, a table of items
``imgrs.max-recipe-bytes``   4 MiB          text of a recipe
``imgrs.max-recipe-steps``   10,000         steps of a recipe, and images that it takes
===========================  =============  ==================================================================

The ratio is by default what the codec can reach at all (1 stored raw, 1,032 by deflate: see ``RATIOS``), and 4,000,000
where a flat image takes next to nothing (WebP, AVIF, JPEG 2000, JPEG XL). A number in the configuration replaces it for
every codec. Tiles that are missing, as GDAL leaves out empty ones, claim nothing: they are not decoded.

>>> import dask
>>> with dask.config.set({"imgrs.max-decode-bytes": 4 << 30}):
...     pass  # img = imgrs.open("a tile of 2 GiB.tif")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from imgrs.errors import ArgumentError, LimitError, TruncatedImageError

MAX_BYTES = 1 << 30
MAX_PIXELS = 1 << 29
MAX_RATIO = 4_000_000
"""For codecs without a bound. A flat image of 200 MB is 443 bytes as JPEG 2000, 1,054 as AVIF, 2,628 as WebP."""
MAX_SCANS = 100
"""Encoders make about ten; each costs a pass over all coefficients, however few bytes it has."""
MAX_METADATA = 64 << 20
FREE = 16 << 20
"""Bytes that any file may claim, however small it is: damage is told more clearly by the decoder."""

RATIOS: Mapping[str, int] = MappingProxyType(
    {
        "raw": 1,
        "packbits": 64,  # 128 bytes from 2
        "rle": 256,  # TGA: 128 pixels of up to 4 bytes from 1 byte and a pixel, or the number of a color
        "qoi": 248,  # 62 pixels of 4 bytes from 1
        "lz4": 256,  # a length grows by 255 with each byte
        "deflate": 1_032,  # 258 bytes from 2 bits
        "jpeg": 2_000,  # 1 bit for 64 samples, of which chroma counts up to eightfold
        "lzw": 2_731,  # strings of up to 4,096 bytes from 12 bits
        "lzma": 8_000,
        "zstd": 32_768,  # 128 KiB from 4 bytes
    }
)
"""The most bytes that a byte can stand for."""

_LIMITS = MappingProxyType(
    {
        "decode-bytes": MAX_BYTES,
        "decode-pixels": MAX_PIXELS,
        "decode-scans": MAX_SCANS,
        "metadata": MAX_METADATA,
        "recipe-bytes": 4 << 20,
        "recipe-steps": 10_000,
    }
)
_admitted: ContextVar[bool] = ContextVar("imgrs_admitted", default=False)


def check_unit(name: str, what: str, size: int, pixels: int = 0) -> None:
    """Raise ``LimitError`` where decoding ``what`` of the file ``name`` takes more than the limits.

    ``size`` is in bytes, and counts all that the decoder holds at a time.
    """
    _check("decode-bytes", name, f"{what} decodes to {size:,} bytes", size)
    _check("decode-pixels", name, f"{what} has {pixels:,} pixels", pixels)


def check_ratio(
    name: str, what: str, claimed: int, stored: int, codec: str = "", cut_off: Callable[[], bool] | None = None
) -> None:
    """Raise ``LimitError`` where ``what`` claims more bytes than ``stored`` ones can hold; ``codec`` is one of ``RATIOS``.

    ``claimed`` counts bytes as they come from the codec: one per pixel of a palette image. Where ``cut_off`` finds that
    the file lacks its end, the claim is no lie, and the error is a ``TruncatedImageError``.
    """
    if claimed <= FREE or _admitted.get():
        return
    limit = _configured("decode-ratio", RATIOS.get(codec, MAX_RATIO))
    if claimed > limit * stored:
        times = -(-claimed // max(stored, 1))
        if cut_off is not None and cut_off():
            raise TruncatedImageError(
                f"{name} ends before its image does: it has {stored:,} bytes, and its pixels {claimed:,}; for "
                f'on_error="fill" the limit of {limit:,} times as many is in the way: {_way_out("decode-ratio", times)}'
            )
        raise LimitError(
            f"{name}: {what} claims {claimed:,} bytes and stores {stored:,}: {times:,} times as many, more than the limit of "
            f"{limit:,}{f' for {codec}' if codec else ''}; {_way_out('decode-ratio', times)}"
        )


def check_scans(name: str, scans: int, most: int) -> None:
    """Raise ``LimitError`` where a progressive image asks for more than ``most`` passes.

    They are counted when it is decoded, so the limit is what ``limit_of("decode-scans")`` was when it was opened.
    """
    if scans > most:
        way_out = _way_out("decode-scans", 2 * scans)
        raise LimitError(f"{name}: the image has {scans:,} scans or more, the limit is {most:,}; {way_out}")


def check_metadata(name: str, what: str, size: int) -> None:
    """Raise ``LimitError`` where a piece of metadata is too long."""
    _check("metadata", name, f"{what} has {size:,} bytes", size)


def check_recipe(what: str, count: int) -> None:
    """Raise ``LimitError`` where a recipe has too many ``"bytes"`` or ``"steps"``."""
    _check(f"recipe-{what}", "recipe", f"the text has {count:,} {what}", count)


@contextmanager
def admitted() -> Iterator[None]:
    """Inside, nothing is refused: for a reader that was checked when it was opened, and arrives in another process."""
    token = _admitted.set(True)
    try:
        yield
    finally:
        _admitted.reset(token)


def limit_of(limit: str) -> int:
    """What holds now: ``"decode-bytes"``, ``"decode-scans"``, ..."""
    return _configured(limit, _LIMITS[limit])


def _check(limit: str, name: str, claim: str, value: int) -> None:
    most = limit_of(limit)
    if value > most and not _admitted.get():
        raise LimitError(f"{name}: {claim}, more than the limit of {most:,}; {_way_out(limit, value)}")


def _configured(limit: str, default: int) -> int:
    """A number from the configuration, or text such as ``"4GiB"``."""
    import dask.config
    import dask.utils

    found = dask.config.get(f"imgrs.max-{limit}", None)
    if found is None:
        return default
    try:
        return int(dask.utils.parse_bytes(found))
    except (TypeError, ValueError, AttributeError):
        raise ArgumentError(f'imgrs.max-{limit} must be a number or text such as "4GiB", got {found!r}') from None


def _way_out(limit: str, value: int) -> str:
    return f'raise it with dask.config.set({{"imgrs.max-{limit}": {value}}}) if you trust the file'
