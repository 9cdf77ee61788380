"""What readers share whose files are decoded in one piece: the limit, the cut, and errors of foreign decoders as ours."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from imgrs.errors import CorruptImageError, ImgrsError, TruncatedImageError
from imgrs.io.format import Reader
from imgrs.io.limits import check_ratio, check_unit
from imgrs.io.resource import Resource
from imgrs.types import Pixels, Region, Spec

_CODECS = {"JPEG": "jpeg", "QOI": "qoi", "TGA": "rle"}
"""How pixels are compressed in formats that know one way, of which the reach is known."""
_SHORT = ("truncated", "not enough", "incomplete", "need_more_input", "end of file")
"""What decoders say of a file that ends early."""


class WholeReader(Reader):
    """An image that a library decodes at once."""

    reads_regions = False

    def __init__(self, resource: Resource, format: str, spec: Spec, info: Mapping[str, Any], page: int = 0) -> None:
        self.resource, self.format, self.spec, self.info, self.page = resource, format, spec, info, page
        self.unit = spec.size
        if not 0 < min(spec.size) <= max(spec.size) < 1 << 31:
            claim = f"{spec.width}x{spec.height} pixels"
            raise CorruptImageError(f"{resource.name}: the {format} header claims {claim}")
        self.check_limit()

    def check_limit(self) -> None:
        """Raise ``LimitError`` where decoding would take too much at a time."""
        name, spec = self.resource.name, self.spec
        check_ratio(name, "the image", spec.nbytes, self.resource.size, _CODECS.get(self.format, ""))
        check_unit(name, "the image", spec.nbytes, spec.width * spec.height)

    @abstractmethod
    def decoded(self, shrink: int) -> Pixels:
        """All pixels at a reduction; what is raised is taken as a sign that the data is bad."""

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        spec = self.shrunk(shrink)
        with decoding(self.resource.name, self.format):
            pixels = self.decoded(shrink).reshape(spec.height, spec.width, spec.bands)
        rows, columns = region.slices_in(spec.region)
        return np.ascontiguousarray(pixels[rows, columns].astype(spec.dtype, copy=False))

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        return self.resource.size


@contextmanager
def decoding(name: str, format: str) -> Iterator[None]:
    """Raise what a foreign decoder raises as ``CorruptImageError`` or ``TruncatedImageError``, with the file's name."""
    try:
        yield
    except (ImgrsError, ImportError):  # a library that is not installed says nothing of the file
        raise
    except Exception as error:  # each library has its own kinds: OSError, ValueError, RuntimeError, struct.error, ...
        text = str(error).lower()
        short = isinstance(error, EOFError) or any(sign in text for sign in _SHORT)
        kind = TruncatedImageError if short else CorruptImageError
        raise kind(f"{name}: the {format} data cannot be decoded: {error}") from error


def at_full_scale(samples: Pixels, most: int) -> Pixels:
    """Samples from 0 to ``most`` as uint8 (below 256) or uint16 from 0 to all of it, rounded half up."""
    full, dtype = (255, np.uint8) if most < 256 else (65_535, np.uint16)
    if most == full:
        return samples.astype(dtype, copy=False)
    table = (2 * full * np.arange(most + 1, dtype=np.int64) + most) // (2 * most)
    scaled: Pixels = table.astype(dtype)[np.minimum(samples, most)]
    return scaled
