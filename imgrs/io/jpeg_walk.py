"""Cutting a JPEG without restart markers into rows of coded units that can be decoded apart.

Coded data is one run of bits: where a row begins is known only when all before it was read, and its first coefficients
are differences from the row before. The data is read symbol by symbol (ITU-T T.81, annex F), without decoding pixels, and
written again with a restart at each row: the same bits, but for the differences, which are coded by the tables of annex K.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import loop
from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.jpeg_markers import END, INTERVAL, RESTART, SCAN, TABLES, Header
from imgrs.io.resource import Resource

PIECE = 1 << 20
"""Bytes of coded data that are read at a time."""
_SHORT = 10
"""Bits of codes that are looked up at once; longer ones, which are rare, in a larger table."""
_DIFFERENCES = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
"""How many codes of each length the table of differences has (T.81, table K.3); the sizes that they stand for follow."""
_SIZES = tuple(range(12))
_DONE, _MORE, _ENDED, _DAMAGED = range(4)

Array = npt.NDArray[np.int64]


class Walk:
    """The rows of coded units of a baseline JPEG, from the first on."""

    def __init__(self, header: Header, resource: Resource) -> None:
        self._header, self._resource = header, resource
        tables, components = _parsed(header, resource.name)
        self._components = np.array(components, np.int64)
        self._long = np.stack([tables.get(i, np.zeros(1 << 16, np.uint16)) for i in range(8)])
        self._short = np.ascontiguousarray(self._long[:, :: 1 << 16 - _SHORT])
        lengths = self._short >> 8
        self._short[lengths > _SHORT] = 0
        self._blocks = sum(int(h * v) for h, v, _, _ in components) * header.across
        self._codes = np.array([code << 8 | length for length, code in _codes(_DIFFERENCES)], np.int64)

    def _header_of_height(self, height: int) -> bytes:
        """The header of an image of some of the rows."""
        header = self._header
        whole = header.of_height(height)
        scan = len(whole) - (header.coded - header.scan)
        used = sorted({int(dc) for dc in self._components[:, 2]})
        tables = b"".join(bytes((i, *_DIFFERENCES, *_SIZES)) for i in used)
        more = struct.pack(">BBH", 0xFF, TABLES, 2 + len(tables)) + tables
        more += struct.pack(">BBHH", 0xFF, INTERVAL, 4, header.across)
        return whole[:scan] + more + whole[scan:]

    def rows(self) -> Iterator[bytes]:
        """The coded data of each row. Raises ``CorruptImageError`` or ``TruncatedImageError`` where it is damaged."""
        name, at = self._resource.name, self._header.coded
        data, state, row = b"", np.zeros(3 + 4 + 2, np.int64), 0
        last = np.empty((2, 4), np.int64)
        ends = np.zeros(self._header.down, np.int64)
        while row < self._header.down:
            data = data[state[0] :] + self._resource.read(at, PIECE)
            grown, at = at + PIECE, min(at + PIECE, self._resource.size)
            state[0] = 0
            out = np.empty(2 * (len(data) + 3 * self._blocks) + 64, np.uint8)
            held = np.frombuffer(data, np.uint8)
            _walked(
                held, out, state, ends, self._header.down - row, self._header.across,
                self._components, self._short, self._long, self._codes, last,
            )  # fmt: skip
            what, found = state[-2:].tolist()
            start = 0
            for end in ends[:found].tolist():
                yield out[start:end].tobytes()
                start = end
            row += found
            if what == _DAMAGED:
                raise CorruptImageError(f"{name}: the coded data of row {row:,} of its blocks is damaged")
            if what == _ENDED or (what == _MORE and at < grown):
                raise TruncatedImageError(f"{name} ends within row {row:,} of its blocks")

    def strips(self, rows: int, beside: int) -> Iterator[tuple[int, int, bytes]]:
        """The image as JPEGs of ``rows`` rows of coded units each, and ``beside`` more at both ends where there are some.

        For each the first row that it holds, the row behind its last, and its bytes.
        """
        down, stream = self._header.down, self.rows()
        held: list[bytes] = []
        first = 0
        for top in range(0, down, rows):
            above, below = max(top - beside, 0), min(top + rows + beside, down)
            held += itertools.islice(stream, below - first - len(held))
            del held[: above - first]
            first = above
            markers = (bytes((0xFF, RESTART + i % 8)) for i in range(len(held)))
            coded = b"".join(part for pair in zip(held, markers, strict=True) for part in pair)
            height = min(below * self._header.block[1], self._header.height) - above * self._header.block[1]
            yield above, below, self._header_of_height(height) + coded[:-2] + bytes((0xFF, END))


def _parsed(header: Header, name: str) -> tuple[dict[int, npt.NDArray[np.uint16]], list[tuple[int, int, int, int]]]:
    """Tables by their numbers (those of differences 0 to 3, the others 4 to 7), and for each component of the scan how many
    blocks it has across and down in a coded unit, and the numbers of its tables."""
    stored, at = header.of_height(header.height), 2
    tables: dict[int, npt.NDArray[np.uint16]] = {}
    sampling: dict[int, tuple[int, int]] = {}
    while at < len(stored):
        code, length = struct.unpack_from(">xBH", stored, at)
        content = stored[at + 4 : at + 2 + length]
        if code == TABLES:
            tables.update(_lookups(content, name))
        elif code == header.kind:
            sampling = {content[i]: (content[i + 1] >> 4, content[i + 1] & 15) for i in range(6, len(content) - 2, 3)}
        elif code == SCAN:
            count = content[0]
            if len(content) < 1 + 2 * count or not {*content[1 : 2 * count : 2]} <= {*sampling}:
                raise CorruptImageError(f"{name}: the scan header names components that the image does not have")
            chosen = [(content[1 + 2 * i], content[2 + 2 * i]) for i in range(count)]
            return tables, [
                ((1, 1) if count == 1 else sampling[which]) + (pair >> 4 & 3, 4 + (pair & 3)) for which, pair in chosen
            ]
        at += 2 + length
    raise CorruptImageError(f"{name} has no scan header")


def _lookups(content: bytes, name: str) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
    """The tables of a segment: for each 16 bits that may come, the length of the code that they begin with, and its symbol."""
    at = 0
    while at + 17 <= len(content):
        kind, counts = content[at], content[at + 1 : at + 17]
        symbols = content[at + 17 : at + 17 + sum(counts)]
        lookup = np.zeros(1 << 16, np.uint16)
        for symbol, (length, code) in zip(symbols, _codes(counts), strict=False):
            start = code << 16 - length
            if start >> 16:
                raise CorruptImageError(f"{name}: a table of codes has more of them than there are")
            lookup[start : start + (1 << 16 - length)] = length << 8 | symbol
        yield (kind >> 4 & 1) * 4 + (kind & 3), lookup
        at += 17 + sum(counts)


def _codes(counts: tuple[int, ...] | bytes) -> Iterator[tuple[int, int]]:
    """Length and bits of each code of a table (T.81, annex C)."""
    code = 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            yield length, code
            code += 1
        code <<= 1


@loop
def _walked(
    data: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint8],
    state: Any,
    ends: Array,
    rows: int,
    across: int,
    components: Any,
    short: npt.NDArray[np.uint16],
    long: npt.NDArray[np.uint16],
    codes: Any,
    coefficients: Any,
) -> None:
    """Write rows again until there is no more data.

    ``state`` is kept from call to call: the place in ``data``, bits that were taken from it and not used, their number, and
    the last coefficient of each component; and it tells why this call ended, and how many rows there are. ``ends``
    receives where each row ends in ``out``.
    """
    at, bits, held = state[0], np.uint64(state[1]), state[2]
    written = 0
    last, coded = coefficients[0], coefficients[1]
    for c in range(4):
        last[c] = state[3 + c]
    for row in range(rows):
        made: Any = np.uint64(0)
        waiting: Any = 0
        for c in range(4):
            coded[c] = 0
        for _ in range(across):
            for c in range(components.shape[0]):
                differences, others = components[c, 2], components[c, 3]
                for _ in range(components[c, 0] * components[c, 1]):
                    k = 0
                    while k < 64:
                        while held <= 48 and at < data.size:
                            byte = data[at]
                            if byte == 255:
                                if at + 1 == data.size:
                                    break
                                if data[at + 1] != 0:
                                    break
                                at += 1
                            at += 1
                            bits = (bits << np.uint64(8)) | np.uint64(byte)
                            held += 8
                        table = differences if k == 0 else others
                        if held >= 16:
                            ahead = (bits >> np.uint64(held - 16)) & np.uint64(0xFFFF)
                        else:
                            ahead = (bits << np.uint64(16 - held)) & np.uint64(0xFFFF)
                        entry: Any = np.int64(short[table, ahead >> np.uint64(6)])
                        if entry == 0:
                            entry = np.int64(long[table, ahead])
                        length, symbol = entry >> 8, entry & 255
                        size = symbol & 15
                        total = length + size
                        if length == 0 or total > held:
                            if at + 1 >= data.size:
                                state[7], state[8] = _MORE, row
                                return
                            if length == 0 and held >= 16:
                                state[7], state[8] = _DAMAGED, row
                                return
                            state[7], state[8] = _ENDED, row
                            return
                        held -= total
                        value = (bits >> np.uint64(held)) & ((np.uint64(1) << np.uint64(total)) - np.uint64(1))
                        if k == 0:
                            if symbol > 11:
                                state[7], state[8] = _DAMAGED, row
                                return
                            change = np.int64(value & ((np.uint64(1) << np.uint64(size)) - np.uint64(1)))
                            if size > 0 and change < 1 << size - 1:
                                change -= (1 << size) - 1
                            last[c] += change
                            change = last[c] - coded[c]
                            coded[c] = last[c]
                            size = 0
                            rest = abs(change)
                            while rest > 0:
                                size += 1
                                rest >>= 1
                            if size > 11:
                                state[7], state[8] = _DAMAGED, row
                                return
                            if change < 0:
                                change += (1 << size) - 1
                            total = (codes[size] & 255) + size
                            value = np.uint64((codes[size] >> 8) << size | change)
                            k = 1
                        elif size > 0:
                            k += (symbol >> 4) + 1
                            if k > 64:
                                state[7], state[8] = _DAMAGED, row
                                return
                        elif symbol == 240:
                            k += 16
                        else:
                            k = 64
                        made = (made << np.uint64(total)) | value
                        waiting += total
                        while waiting >= 8:
                            waiting -= 8
                            byte = np.uint8((made >> np.uint64(waiting)) & np.uint64(255))
                            out[written] = byte
                            written += 1
                            if byte == 255:
                                out[written] = 0
                                written += 1
        if waiting > 0:
            byte = np.uint8(((made << np.uint64(8 - waiting)) | np.uint64((1 << 8 - waiting) - 1)) & np.uint64(255))
            out[written] = byte
            written += 1
            if byte == 255:
                out[written] = 0
                written += 1
        ends[row] = written
        state[0], state[1], state[2] = at, np.int64(bits & ((np.uint64(1) << np.uint64(held)) - np.uint64(1))), held
        for c in range(4):
            state[3 + c] = last[c]
    state[7], state[8] = _DONE, rows
