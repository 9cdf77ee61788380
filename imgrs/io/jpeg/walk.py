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

from imgrs.compiled import loop, part
from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.jpeg.markers import END, INTERVAL, RESTART, SCAN, TABLES, Header
from imgrs.io.resource import Resource

PIECE = 1 << 20
"""Bytes of coded data that are read at a time."""
_SHORT = 10
"""Bits of codes that are looked up at once; longer ones, which are rare, in a larger table."""
_DIFFERENCES = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
"""How many codes of each length the table of differences has (T.81, table K.3); the sizes that they stand for follow."""
_SIZES = tuple(range(12))
_LARGEST_SIZE = 11
"""Bits of the largest difference of baseline images of 8 bits (T.81, table F.1)."""
_LARGEST_BLOCK = 2 * (9 + 11 + 63 * (16 + 15)) // 8 + 16
"""Bytes that a block may take when it is written, each followed by a zero."""
_DONE, _MORE, _FULL, _ENDED, _DAMAGED = range(5)
_AT, _BITS, _HELD, _WRITTEN, _MADE, _WAITING = range(6)

Bytes = npt.NDArray[np.uint8]


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
        name, at, down = self._resource.name, self._header.coded, self._header.down
        data, place, last = b"", np.zeros(6, np.int64), np.zeros(4, np.int64)
        ends, result = np.zeros(down, np.int64), np.array([_MORE, 0])
        scratch = np.zeros(6, np.int64), np.zeros(4, np.int64), np.zeros(4, np.int64)
        row, room = 0, 2 * PIECE
        while row < down:
            data = data[place[_AT] :]
            if result[0] == _MORE:
                if at >= self._resource.size:
                    raise TruncatedImageError(f"{name} ends within row {row:,} of its blocks")
                data += self._resource.read(at, PIECE)
                at += PIECE
            elif not result[1]:
                room *= 2
            place[_AT] = 0
            out = np.empty(room, np.uint8)
            _rows_again(
                np.frombuffer(data, np.uint8), out, place, last, ends, down - row, self._header.across,
                self._components, self._short, self._long, self._codes, *scratch, result,
            )  # fmt: skip
            why, found = result.tolist()
            start = 0
            for end in ends[:found].tolist():
                yield out[start:end].tobytes()
                start = end
            row += found
            if why == _DAMAGED:
                raise CorruptImageError(f"{name}: the coded data of row {row:,} of its blocks is damaged")
            if why == _ENDED:
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
    frame: list[tuple[int, tuple[int, int]]] = []
    """Identifiers, which may be repeated, and sampling."""
    while at < len(stored):
        code, length = struct.unpack_from(">xBH", stored, at)
        content = stored[at + 4 : at + 2 + length]
        if code == TABLES:
            tables.update(_lookups(content, name))
        elif code == header.kind:
            frame = list(zip(content[6::3], header.sampling, strict=False))
        elif code == SCAN:
            components = []
            for which, pair in zip(content[1 : 2 * content[0] : 2], content[2::2], strict=False):
                place = next((i for i, (identifier, _) in enumerate(frame) if identifier == which), None)
                if place is None:
                    raise CorruptImageError(f"{name}: the scan header names a component that the image does not have")
                blocks = frame.pop(place)[1] if content[0] > 1 else (1, 1)
                components.append((*blocks, pair >> 4 & 3, 4 + (pair & 3)))
            return tables, components
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


# The loops below read and write bit by bit. ``place`` is where they stand: at which byte of the data, the bits that were taken
# from it and are not used yet, and how many those are; how many bytes are written, the bits that will be, and how many.
# Bits are unsigned, for they are shifted. The types of numbers are numba's to find: Python has one of them.


@part
def _has_ones(word: Any) -> Any:
    # Whether one of four bytes is 0xFF.
    return word & np.uint64(0x80808080) & ((word & np.uint64(0x7F7F7F7F)) + np.uint64(0x01010101)) != 0


@part
def _put(out: Bytes, written: Any, byte: Any) -> Any:
    # Behind a byte that would begin a marker comes a zero.
    out[written] = byte
    if byte != 255:
        return written + 1
    out[written + 1] = 0
    return written + 2


@part
def _put_word(out: Bytes, written: Any, word: Any) -> Any:
    # Four bytes, the highest first.
    if _has_ones(word):
        for shift in (24, 16, 8, 0):
            written = _put(out, written, np.uint8(word >> np.uint64(shift) & np.uint64(255)))
        return written
    for i in range(4):
        out[written + i] = np.uint8(word >> np.uint64(24 - 8 * i) & np.uint64(255))
    return written + 4


@part
def _filled(data: Bytes, at: Any, bits: Any, held: Any) -> Any:
    # More than 32 bits, or those up to the next marker.
    if at + 4 <= data.size:
        high = np.uint64(data[at]) << np.uint64(24) | np.uint64(data[at + 1]) << np.uint64(16)
        word = high | np.uint64(data[at + 2]) << np.uint64(8) | np.uint64(data[at + 3])
        if not _has_ones(word):
            return at + 4, bits << np.uint64(32) | word, held + 32
    while held <= 48 and at < data.size:
        byte = data[at]
        if byte == 255:
            if at + 1 == data.size or data[at + 1] != 0:
                break
            at += 1
        at += 1
        bits = (bits << np.uint64(8)) | np.uint64(byte)
        held += 8
    return at, bits, held


@part
def _entry(bits: Any, held: Any, short: Any, long: Any) -> Any:
    # The length of the code that comes next, and its symbol; zeros stand for bits behind the end.
    ahead = bits >> np.uint64(held - 16) if held >= 16 else bits << np.uint64(16 - held)
    ahead &= np.uint64(0xFFFF)
    entry = np.int64(short[ahead >> np.uint64(16 - _SHORT)])
    return entry if entry != 0 else np.int64(long[ahead])


@part
def _difference(value: Any, size: Any) -> Any:
    # T.81, F.2.2.1: numbers that begin with a 0 are negative.
    number = np.int64(value & ((np.uint64(1) << np.uint64(size)) - np.uint64(1)))
    return number - (1 << size) + 1 if size > 0 and number < 1 << size - 1 else number


@part
def _size(number: Any) -> Any:
    size, rest = 0, abs(number)
    while rest > 0:
        size += 1
        rest >>= 1
    return size


@part
def _written(out: Bytes, written: Any, made: Any, waiting: Any, value: Any, count: Any) -> Any:
    # At most 32 bits more.
    made, waiting = (
        made << np.uint64(count) | value & (np.uint64(1) << np.uint64(count)) - np.uint64(1),
        waiting + count,
    )
    if waiting >= 32:
        waiting -= 32
        written = _put_word(out, written, made >> np.uint64(waiting) & np.uint64(0xFFFFFFFF))
    return written, made, waiting


@part
def _copied(out: Bytes, written: Any, made: Any, waiting: Any, bits: Any, held: Any, count: Any) -> Any:
    # The last ``count`` bits that were used, of which ``held`` are not.
    if count > 32:
        written, made, waiting = _written(out, written, made, waiting, bits >> np.uint64(held + 32), count - 32)
        count = 32
    return _written(out, written, made, waiting, bits >> np.uint64(held), count)


@part
def _missing(length: Any, held: Any, at: Any, size: Any) -> Any:
    # Why a symbol cannot be read.
    if at + 1 >= size:
        return _MORE
    return _DAMAGED if length == 0 and held >= 16 else _ENDED


@part
def _block(
    data: Bytes, out: Bytes, place: Any, last: Any, coded: Any, c: Any, tables: Any, short: Any, long: Any, codes: Any
) -> Any:
    # A block of component ``c``. Its first coefficient is a difference from ``last``, and becomes one from ``coded``.
    at, bits, held = place[_AT], np.uint64(place[_BITS]), place[_HELD]
    written, made, waiting = place[_WRITTEN], np.uint64(place[_MADE]), place[_WAITING]
    if written + _LARGEST_BLOCK > out.size:
        return _FULL
    if held < 32:
        at, bits, held = _filled(data, at, bits, held)
    entry = _entry(bits, held, short[tables[0]], long[tables[0]])
    length, size = entry >> 8, entry & 255
    if length == 0 or length + size > held:
        return _missing(length, held, at, data.size)
    if size > _LARGEST_SIZE:
        return _DAMAGED
    held -= length + size
    last[c] += _difference(bits >> np.uint64(held), size)
    change = last[c] - coded[c]
    coded[c] = last[c]
    size = _size(change)
    if size > _LARGEST_SIZE:
        return _DAMAGED
    value = np.uint64((codes[size] >> 8) << size | (change if change >= 0 else change + (1 << size) - 1))
    written, made, waiting = _written(out, written, made, waiting, value, (codes[size] & 255) + size)
    k, used = 1, 0
    near, far = short[tables[1]], long[tables[1]]
    while k < 64:
        if held < 32:
            written, made, waiting = _copied(out, written, made, waiting, bits, held, used)
            used = 0
            at, bits, held = _filled(data, at, bits, held)
        entry = _entry(bits, held, near, far)
        length, size, zeros = entry >> 8, entry & 15, entry >> 4 & 15
        if length == 0 or length + size > held:
            return _missing(length, held, at, data.size)
        held -= length + size
        used += length + size
        k = k + zeros + 1 if size > 0 or zeros == 15 else 64
    if k > 64 and size > 0:
        return _DAMAGED
    written, made, waiting = _copied(out, written, made, waiting, bits, held, used)
    one = np.uint64(1)
    place[_AT], place[_BITS], place[_HELD] = at, np.int64(bits & ((one << np.uint64(held)) - one)), held
    place[_WRITTEN], place[_MADE], place[_WAITING] = (
        written,
        np.int64(made & ((one << np.uint64(waiting)) - one)),
        waiting,
    )
    return _DONE


@part
def _row(
    data: Bytes, out: Bytes, place: Any, last: Any, coded: Any, across: Any, components: Any, short: Any, long: Any,
    codes: Any,
) -> Any:  # fmt: skip
    for c in range(components.shape[0]):
        coded[c] = 0
    for _ in range(across):
        for c in range(components.shape[0]):
            for _ in range(components[c, 0] * components[c, 1]):
                why = _block(data, out, place, last, coded, c, components[c, 2:], short, long, codes)
                if why != _DONE:
                    return why
    fill = 7 & -place[_WAITING]  # ones, up to a whole byte
    made, waiting = place[_MADE] << fill | (1 << fill) - 1, place[_WAITING] + fill
    while waiting > 0:
        waiting -= 8
        place[_WRITTEN] = _put(out, place[_WRITTEN], np.uint8(made >> waiting & 255))
    place[_WAITING] = 0
    return _DONE


@part
def _copy(source: Any, target: Any) -> None:
    for i in range(source.size):
        target[i] = source[i]


@loop
def _rows_again(
    data: Bytes,
    out: Bytes,
    place: Any,
    last: Any,
    ends: Any,
    rows: Any,
    across: Any,
    components: Any,
    short: Any,
    long: Any,
    codes: Any,
    now: Any,
    latest: Any,
    coded: Any,
    result: Any,
) -> None:
    # Rows are written until one is not complete; ``place`` and ``last`` are then what they were before it. ``ends`` receives
    # where each ends in ``out``, and ``result`` why there are no more, and how many there are.
    place[_WRITTEN], place[_WAITING] = 0, 0
    for row in range(rows):
        _copy(place, now)
        _copy(last, latest)
        why = _row(data, out, now, latest, coded, across, components, short, long, codes)
        if why != _DONE:
            result[0], result[1] = why, row
            return
        _copy(now, place)
        _copy(latest, last)
        ends[row] = now[_WRITTEN]
    result[0], result[1] = _DONE, rows
