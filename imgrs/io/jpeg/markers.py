"""The markers of a JPEG file (ITU-T T.81, annex B): what its header says, and where its coded data begins anew.

No pixel is decoded here.
"""

from __future__ import annotations

import math
import struct
import threading
from array import array
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.resource import Resource

TABLES, RESTART, START, END, SCAN, INTERVAL = 0xC4, 0xD0, 0xD8, 0xD9, 0xDA, 0xDD
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; the number says how the image is coded."""
BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, ARITHMETIC, ARITHMETIC_PROGRESSIVE = 0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without content."""
_SAID = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
"""What is said about the image: comments and application data, but for those that name its colors (JFIF, Adobe)."""
MOST_SEGMENTS = 10_000
"""Segments that a header may have: room for half a gigabyte of profiles."""
MOST_TABLES = 1 << 20
"""Bytes of tables that a header may have; those of real files are some thousands."""
MOST_FILL = 1 << 16
"""Bytes without a meaning that may stand before a marker."""
CHUNK = 1 << 20
"""Bytes of coded data that are searched at a time."""


@dataclass(frozen=True)
class Header:
    """What stands before the coded data. Offsets are in the file."""

    kind: int
    """The marker of the frame header: ``BASELINE``, ``PROGRESSIVE``, ..."""
    precision: int
    width: int
    height: int
    sampling: tuple[tuple[int, int], ...]
    """For each component, its blocks across and down in a coded unit."""
    interval: int
    """Coded units from one restart to the next; 0 where there are none."""
    one_scan: bool
    """Whether all components are coded together, each completely: the file can then be decoded from the top down."""
    frame: int
    """Where the frame header begins."""
    scan: int
    """Where the scan header begins."""
    coded: int
    """Where coded data begins."""
    _tables: bytes
    _height_at: int

    @property
    def block(self) -> tuple[int, int]:
        """Width and height in pixels of a coded unit: one block of each component, or several where others have fewer."""
        if len(self.sampling) == 1:
            return 8, 8
        return 8 * max(h for h, _ in self.sampling), 8 * max(v for _, v in self.sampling)

    @property
    def across(self) -> int:
        """Coded units in a row of them."""
        return -(-self.width // self.block[0])

    @property
    def down(self) -> int:
        """Rows of coded units."""
        return -(-self.height // self.block[1])

    @property
    def subsampled_down(self) -> bool:
        """Whether a component has fewer rows than the image, so that its rows are made from neighbors when decoded."""
        return len({v for _, v in self.sampling}) > 1

    @property
    def walkable(self) -> bool:
        """Whether its coded data is one run of Huffman codes, which can be cut into rows."""
        return self.one_scan and not self.interval and self.kind in (BASELINE, EXTENDED) and self.precision == 8

    @property
    def coefficients(self) -> int:
        """Bytes of all coefficients, which a decoder holds at once where the scans come one after another."""
        blocks = sum(h * v for h, v in self.sampling) if len(self.sampling) > 1 else 1
        return 2 * 64 * blocks * self.across * self.down

    def of_height(self, height: int) -> bytes:
        """The header of an image of another height with the same tables, without what is only said about the image."""
        made = bytearray(self._tables)
        struct.pack_into(">H", made, self._height_at, height)
        return bytes(made)


def read_header(file: BinaryIO, name: str) -> Header:
    """Read up to the coded data. Raises ``CorruptImageError`` or ``TruncatedImageError`` naming the file ``name``."""
    if file.read(2) != bytes((0xFF, START)):
        raise CorruptImageError(f"{name} does not start as a JPEG")
    tables, height_at, interval = bytearray((0xFF, START)), 0, 0
    frame: tuple[int, int, bytes] | None = None
    for _ in range(MOST_SEGMENTS):
        code = _next_marker(file, name)
        at = file.tell() - 2
        if code in _ALONE:
            continue
        if code in (START, END):
            raise CorruptImageError(f"{name}: the header is damaged at byte {at:,}: marker {code:#04x}")
        stored = file.read(2)
        if len(stored) < 2:
            raise TruncatedImageError(f"{name} ends within its header")
        length = int.from_bytes(stored, "big") - 2
        if length < 0:
            raise CorruptImageError(f"{name}: the header is damaged at byte {at:,}: a segment of {length + 2} bytes")
        if code in _SAID:
            file.seek(length, 1)
            continue
        content = file.read(length)
        if len(content) < length:
            raise TruncatedImageError(f"{name} ends within its header")
        if code in FRAMES:
            if frame is not None:
                raise CorruptImageError(f"{name}: the header describes two images, at bytes {frame[1]:,} and {at:,}")
            frame, height_at = (code, at, content), len(tables) + 5
        elif code == INTERVAL and length >= 2:
            interval = int.from_bytes(content[:2], "big")
        tables += bytes((0xFF, code)) + stored + content
        if code == SCAN:
            return _header(name, frame, content, interval, at, bytes(tables), height_at)
        if len(tables) > MOST_TABLES:
            raise CorruptImageError(f"{name}: the header has more than {MOST_TABLES:,} bytes of tables")
    raise CorruptImageError(f"{name}: the header has more than {MOST_SEGMENTS:,} segments")


def _next_marker(file: BinaryIO, name: str) -> int:
    """The code of a marker; some 0xFF may stand before it, and 0xFF00 says nothing."""
    for _ in range(MOST_FILL):
        lead, at = file.read(1), file.tell() - 1
        code = file.read(1)
        for _ in range(MOST_FILL):
            if code != b"\xff":
                break
            code = file.read(1)
        if not lead or not code:
            raise TruncatedImageError(f"{name} ends within its header")
        if lead != b"\xff":
            raise CorruptImageError(f"{name}: the header is damaged at byte {at:,}: no marker")
        if code != b"\0":
            return code[0]
        file.seek(-1, 1)
    raise CorruptImageError(f"{name}: the header is damaged at byte {file.tell():,}: nothing but fill bytes")


def count_scans(resource: Resource, header: Header, most: int) -> int:
    """How many scans the coded data has; no more than ``most`` and one are counted."""
    found, at = 1, header.coded
    while found <= most and at < resource.size:
        data = resource.read(at, CHUNK + 1)  # a marker may lie across two chunks
        found += data.count(bytes((0xFF, SCAN)))
        at += CHUNK
    return found


def _header(
    name: str,
    frame: tuple[int, int, bytes] | None,
    scan: bytes,
    interval: int,
    scan_at: int,
    tables: bytes,
    height_at: int,
) -> Header:
    if frame is None:
        raise CorruptImageError(f"{name}: coded data begins before a frame header")
    kind, frame_at, content = frame
    if len(content) < 6 or len(content) < 6 + 3 * content[5] or not content[5] or not scan:
        raise CorruptImageError(f"{name}: the frame or the scan header is too short")
    precision, height, width, components = struct.unpack_from(">BHHB", content)
    sampling = tuple((v >> 4, v & 15) for v in content[7 : 6 + 3 * components : 3])
    if not width or not height or not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in sampling):
        raise CorruptImageError(f"{name}: the header claims {width}x{height} pixels, sampled {sampling}")
    one_scan = kind in (BASELINE, EXTENDED, ARITHMETIC) and scan[0] == components
    return Header(
        kind, precision, width, height, sampling, interval, one_scan,
        frame_at, scan_at, scan_at + 4 + len(scan), tables, height_at,
    )  # fmt: skip


class Restarts:
    """Where coded data begins anew at the start of a row of coded units: found as far as it was asked for.

    Restarts are ``step`` rows of coded units apart. Only offsets are kept, so it is small, and one serves all threads.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        common = math.gcd(header.interval, header.across)
        self.step = header.interval // common
        """Rows of coded units from one restart at the start of a row to the next."""
        self._markers = header.across // common
        self._starts = array("q", [header.coded])
        """Where the coded data of each step begins."""
        self._count = 0
        """Restart markers seen."""
        self._searched = header.coded
        self._end: int | None = None
        """Where the marker stands that ends the coded data."""
        self._fault: tuple[type[CorruptImageError], str] | None = None
        """What is wrong behind the restarts that were found."""
        self._lock = threading.Lock()

    def coded(self, resource: Resource, first: int, last: int) -> bytes:
        """The coded data of the rows ``first`` to ``last`` of coded units (not included), its restarts numbered from 0.

        Both are multiples of ``step``, but for the end of the image. Raises ``CorruptImageError`` or
        ``TruncatedImageError`` where the restarts up to there are not what the header says.
        """
        with self._lock:
            start, stop = self._start(resource, first), self._stop(resource, last)
        data = np.frombuffer(resource.read(start, stop - start), np.uint8).copy()
        lead = np.flatnonzero(data[:-1] == 0xFF)
        restarts = lead[data[lead + 1] & 0xF8 == 0xD0]
        data[restarts + 1] = 0xD0 + np.arange(len(restarts)) % 8
        return data.tobytes()

    def check(self, resource: Resource) -> None:
        """Look at all restarts; raises as ``coded`` does."""
        with self._lock:
            self._stop(resource, self._header.down)

    def _start(self, resource: Resource, row: int) -> int:
        index = row // self.step
        while len(self._starts) <= index:
            if self._end is not None:
                raise CorruptImageError(
                    f"{resource.name}: the coded data ends after {self._count:,} restarts, before row {row:,} of coded units"
                )
            self._search(resource)
        return self._starts[index]

    def _stop(self, resource: Resource, row: int) -> int:
        if row < self._header.down:
            return self._start(resource, row) - 2
        units = self._header.across * self._header.down
        wanted = -(-units // self._header.interval) - 1
        while self._end is None:
            self._search(resource)
        if self._count != wanted:
            raise CorruptImageError(f"{resource.name} has {self._count:,} restarts, the header demands {wanted:,}")
        return self._end

    def _search(self, resource: Resource) -> None:
        """Look through one more chunk. Raises what is wrong, at every call."""
        if self._fault is not None:
            kind, reason = self._fault
            raise kind(f"{resource.name} {reason}")
        data = np.frombuffer(resource.read(self._searched, CHUNK), np.uint8)
        if len(data) < 2:
            self._fault = TruncatedImageError, f"ends before its image does, after {self._count:,} restarts"
            return
        lead = np.flatnonzero(data[:-1] == 0xFF)
        code = data[lead + 1]
        ends = np.flatnonzero((code != 0) & (code != 0xFF) & (code & 0xF8 != 0xD0))
        if len(ends):
            self._end = self._searched + int(lead[ends[0]])
            lead, code = lead[: ends[0]], code[: ends[0]]
        found = lead[code & 0xF8 == 0xD0]
        numbers = self._count + np.arange(len(found))
        wrong = np.flatnonzero(data[found + 1] & 7 != numbers & 7)
        if len(wrong):
            number, self._end = int(numbers[wrong[0]]), None
            found, numbers = found[: wrong[0]], numbers[: wrong[0]]
            self._fault = CorruptImageError, f"is damaged: the marker of restart {number:,} is that of another"
        self._starts.extend((self._searched + found[(numbers + 1) % self._markers == 0] + 2).tolist())
        self._count += len(found)
        self._searched += len(data) - 1
