"""What an AVIF says of its image ahead of the pixels: size, depth, bands, how it lies, and metadata.

The layout is that of HEIF (ISO/IEC 23008-12) and the AV1 Image File Format: items, and properties that belong to them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from imgrs.io.boxes import Box, boxes
from imgrs.io.limits import check_metadata
from imgrs.io.resource import BytesResource, Resource

_TURNS = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7, (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip
"""EXIF's orientation by the quarter turns, counterclockwise, and then the axis of a mirror."""
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")


@dataclass(frozen=True)
class Header:
    """What a file says of its primary image."""

    width: int
    height: int
    bits: int
    gray: bool
    alpha: bool
    orientation: int
    metadata: Mapping[str, bytes]


@dataclass
class _Items:
    """The items of a file as its tables have them."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)
    references: list[tuple[bytes, int, list[int]]] = field(default_factory=list)
    places: dict[int, tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)

    def of(self, item: int) -> dict[bytes, bytes]:
        """The properties of an item, by type; numbers of none that there is are left out."""
        found = [self.properties[i - 1] for i in self.owned.get(item, []) if 0 < i <= len(self.properties)]
        return dict(reversed(found))


class _Numbers:
    """Whole numbers from bytes, the highest byte first. ``ValueError`` where there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise ValueError("a table ends early")
        self._at += count
        return int.from_bytes(found, "big")

    def rest(self) -> bytes:
        return self._data[self._at :]


def parse(resource: Resource) -> Header:
    """The header of a file of still images. Raises ``ValueError`` or our own errors where it makes no sense."""
    meta = next((box for box in boxes(resource) if box.kind == b"meta"), None)
    if meta is None:
        raise ValueError("there is no description of an image")
    items = _read(BytesResource(meta.content(resource), resource.name))
    own = items.of(items.primary)
    if b"ispe" not in own:
        raise ValueError("there is no size")
    _, width, height = struct.unpack(">III", own[b"ispe"])
    bits, gray = _depth(items, own)
    beside = [item for kind, item, of in items.references if kind == b"auxl" and items.primary in of]
    alpha = any(items.of(item).get(b"auxC", b"")[4:].partition(b"\0")[0] in _ALPHA for item in beside)
    turns = own[b"irot"][0] & 3 if own.get(b"irot") else 0
    mirror = own[b"imir"][0] & 1 if own.get(b"imir") else None
    return Header(width, height, bits, gray, alpha, _TURNS[turns, mirror], dict(_metadata(resource, meta, items, own)))


def _depth(items: _Items, own: Mapping[bytes, bytes]) -> tuple[int, bool]:
    """Bits of a sample, and whether there is no color: from the codec's own configuration."""
    said = own.get(b"av1C")
    if said is None:  # a grid says nothing of its cells, so the first of them does
        cells = [
            cell for kind, item, of in items.references if kind == b"dimg" and item == items.primary for cell in of
        ]
        said = next((found for cell in cells if (found := items.of(cell).get(b"av1C"))), None)
    if said is None or len(said) < 3:
        raise ValueError("there is no AV1 configuration")
    bits = 8 if not said[2] & 0x40 else 12 if said[2] & 0x20 else 10
    return bits, bool(said[2] & 0x10)


def _metadata(resource: Resource, meta: Box, items: _Items, own: Mapping[bytes, bytes]) -> Iterator[tuple[str, bytes]]:
    if own.get(b"colr", b"")[:4] in (b"prof", b"rICC"):
        yield "icc_profile", own[b"colr"][4:]
    described = [item for kind, item, of in items.references if kind == b"cdsc" and items.primary in of]
    for item in described:
        kind = items.kinds.get(item, b"")
        if kind == b"Exif":
            content = _content(resource, meta, items, item)
            (start,) = struct.unpack_from(">I", content)
            yield "exif", content[4 + start :]
        elif kind == b"mime application/rdf+xml":
            yield "xmp", _content(resource, meta, items, item)


def _content(resource: Resource, meta: Box, items: _Items, item: int) -> bytes:
    """The bytes of an item, which lie in the file, or in a box beside the tables."""
    method, extents = items.places[item]
    start = 0
    if method == 1:
        start = next(box.start for box in boxes(resource, meta.start + 4, meta.end) if box.kind == b"idat")
    elif method:
        raise ValueError(f"metadata is placed in a way ({method}) that is not known")
    check_metadata(resource.name, "metadata", sum(length for _, length in extents))
    found = b"".join(resource.read(start + offset, length) for offset, length in extents)
    if len(found) < sum(length for _, length in extents):
        raise ValueError("metadata is truncated")
    return found


def _read(meta: Resource) -> _Items:
    items = _Items()
    for box in boxes(meta, 4):
        numbers = _Numbers(box.content(meta))
        if box.kind == b"pitm":
            items.primary = numbers.take(2 if numbers.take(4) >> 24 == 0 else 4)
        elif box.kind == b"iinf":
            first = 6 if numbers.take(4) >> 24 == 0 else 8
            for entry in boxes(meta, box.start + first, box.end):
                _read_item(items, entry.content(meta))
        elif box.kind == b"iref":
            wide = 2 if numbers.take(4) >> 24 == 0 else 4
            for entry in boxes(meta, box.start + 4, box.end):
                said = _Numbers(entry.content(meta))
                source = said.take(wide)
                items.references.append((entry.kind, source, [said.take(wide) for _ in range(said.take(2))]))
        elif box.kind == b"iloc":
            items.places = _places(numbers)
        elif box.kind == b"iprp":
            for part in boxes(meta, box.start, box.end):
                if part.kind == b"ipco":
                    items.properties = [(one.kind, one.content(meta)) for one in boxes(meta, part.start, part.end)]
                elif part.kind == b"ipma":
                    _read_owners(items, _Numbers(part.content(meta)))
    return items


def _read_item(items: _Items, content: bytes) -> None:
    numbers = _Numbers(content)
    version = numbers.take(4) >> 24
    if version not in (2, 3):
        return
    item = numbers.take(2 if version == 2 else 4)
    numbers.take(2)
    kind, names = numbers.take(4).to_bytes(4, "big"), numbers.rest().split(b"\0")
    items.kinds[item] = kind + b" " + names[1] if kind == b"mime" and len(names) > 1 else kind


def _read_owners(items: _Items, numbers: _Numbers) -> None:
    version_and_flags = numbers.take(4)
    wide, long = 2 if version_and_flags >> 24 == 0 else 4, bool(version_and_flags & 1)
    for _ in range(numbers.take(4)):
        item = numbers.take(wide)
        said = [numbers.take(2 if long else 1) & (0x7FFF if long else 0x7F) for _ in range(numbers.take(1))]
        items.owned.setdefault(item, []).extend(said)


def _places(numbers: _Numbers) -> dict[int, tuple[int, list[tuple[int, int]]]]:
    """How each item is placed (0: in the file), and its extents: offset and length."""
    version = numbers.take(4) >> 24
    sizes = numbers.take(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    found = {}
    for _ in range(numbers.take(2 if version < 2 else 4)):
        item = numbers.take(2 if version < 2 else 4)
        method = numbers.take(2) & 15 if version else 0
        numbers.take(2)
        base, extents = numbers.take(base_size), []
        for _ in range(numbers.take(2)):
            numbers.take(index_size if version else 0)
            offset = base + numbers.take(offset_size)
            extents.append((offset, numbers.take(length_size)))
        found[item] = (method, extents)
    return found
