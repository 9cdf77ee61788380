"""ICO: the largest of a file's icons, which is a PNG or a BMP inside.

Pillow decodes the icon when it opens a file, before its size is known; so the table of icons is read here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.format import Choices, Encoder, Reader
from imgrs.io.limits import check_unit
from imgrs.io.pillow import PillowFormat, PillowReader
from imgrs.io.png.chunks import SIGNATURE
from imgrs.io.png.read import PngReader
from imgrs.io.resource import BytesResource, Resource
from imgrs.io.whole import WholeReader, decoding
from imgrs.types import Pixels, Spec


@dataclass(frozen=True)
class IcoFormat(PillowFormat):
    name: ClassVar[str] = "ICO"
    extensions: ClassVar[tuple[str, ...]] = (".ico",)
    kinds = (("RGB", "uint8"), ("RGBA", "uint8"))
    options: ClassVar[Choices] = {}
    longest = 256

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        return super().checked_encoder(spec, {**options, "sizes": [spec.size]})

    def matches(self, head: bytes) -> bool:
        return head[:4] == b"\0\0\1\0"

    def open(self, resource: Resource) -> Reader:
        return IcoReader(resource)


class IcoReader(WholeReader):
    """The icon of a file that Pillow would choose. Pickles as its resource."""

    def __init__(self, resource: Resource) -> None:
        with decoding(resource.name, "ICO"):
            size, stored, missing = _largest(resource)
        self._png = PngReader(stored) if stored.data[:8] == SIGNATURE else None
        if self._png is None:
            (length, width, height) = struct.unpack_from("<Iii", stored.data)
            if length < 40 or (width, height // 2) != size:
                raise CorruptImageError(f"{resource.name}: the ICO header is damaged")
        elif self._png.spec.size != size:
            raise CorruptImageError(
                f"{resource.name}: an icon of {size} pixels holds an image of {self._png.spec.size}"
            )
        super().__init__(resource, "ICO", self._png.spec if self._png else Spec(*size, 4, True), {})
        self.missing = missing

    def __reduce__(self) -> tuple[Any, ...]:
        return IcoReader, (self.resource,)

    def decoded(self, shrink: int) -> Pixels:
        if self._png is not None:
            return self._png.read(self.spec.region)
        return PillowReader(self.resource, "ICO").read(self.spec.region)


def _largest(resource: Resource) -> tuple[tuple[int, int], BytesResource, str | None]:
    """Size and bytes of the largest icon, as Pillow chooses: with the fewest colors; and what to say if bytes are missing."""
    (count,) = struct.unpack("<4xH", resource.read(0, 6))
    table = resource.read(6, 16 * count)
    if not count or len(table) < 16 * count:
        raise TruncatedImageError(f"{resource.name} ends within its table of icons")
    found = []
    for i in range(count):
        width, height, colors, _, _, bits, length, start = struct.unpack_from("<BBBBHHII", table, 16 * i)
        size, depth = (width or 256, height or 256), bits or ((colors - 1).bit_length() if colors else 0) or 256
        found.append((-size[0] * size[1], depth, i, size, start, length))
    _, _, _, size, start, length = min(found)
    check_unit(resource.name, "an icon", length)
    data = resource.read(start, length)
    missing = f"{resource.name} ends within its icon" if len(data) < max(length, 16) else None
    if missing is not None and len(data) < 33:  # not even its header is there
        raise TruncatedImageError(missing)
    return size, BytesResource(data, resource.name), missing
