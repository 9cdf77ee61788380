"""Deflate, and its fast levels: by Huffman codes alone where data repeats nothing, else by ISA-L.

What a predictor leaves of a photograph is noise around 0. Looking for repetitions in it takes most of the time that deflating
takes, and what is found makes the result longer: codes alone (RFC 1951, 3.2.7, with no lengths or distances) are several times
as fast, and shorter. Other images, such as drawings and text, live from repetitions; a sample of the data tells them apart.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from imgrs.compiled import loop, part

FASTEST, FAST = 1, 3
"""The first and the last level that this is for."""
LARGE = 32 << 20
"""Bytes of an image from which loading the compiled loop is worth it. Of the image and not of a part of it, so that its bytes
do not depend on what a process has loaded."""
BLOCK = 1 << 16
"""Bytes that have codes of their own. Noise differs from place to place; the head of a block takes some 100 bytes."""
_PIECES, _PIECE = 4, 1 << 13
"""The sample: how many pieces, and how many bytes of each."""
_ALLOWED = 1.01
"""How many times as long codes alone may be: they are several times as fast."""
_APART = 0.618_034
"""From one piece to the next, as a share of the data, around its end: at no simple share, where rows of an image begin."""

_END, _SYMBOLS = 256, 257
"""The symbol behind the last byte of a block; and how many there are."""
_DISTANCES = 2
"""Codes of distances, which nothing uses; some decoders want a complete code."""
_LONGEST, _LONGEST_OF_LENGTHS = 14, 7
"""Bits of a code: of a symbol, so that four and the rest of a byte fit 64 bits; and of a code's length, by the format."""
_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])
"""In which order the lengths of the codes of lengths stand (RFC 1951, 3.2.7)."""
_HEAD = 512
"""The most bytes that the head and the end of a block take."""

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


def inflated(data: bytes, most: int) -> bytes:
    """What zlib data holds, which may be ``most`` bytes. Raises ``ValueError`` for more, ``EOFError`` for a stream that is cut,
    and what ISA-L raises for a damaged one.

    ISA-L takes two thirds of libdeflate's time for noise, and about as much for other images.
    """
    stream = isal_zlib.decompressobj()
    content = bytes(stream.decompress(data, most))
    if not stream.eof and stream.decompress(stream.unconsumed_tail, 1):
        raise ValueError(f"it holds more than {most:,} bytes")
    if not stream.eof:
        raise EOFError("its deflate data is truncated")
    return content


def deflated(data: memoryview | bytes, level: int, image_bytes: int, last: bool = True) -> bytes:
    """A raw deflate stream of ``data`` for a part of an image of so many bytes, by a level from 1 to 3.

    It ends on a byte, and where it is not the ``last`` one, in an empty block that another may follow.
    """
    samples = np.frombuffer(data, np.uint8)
    if image_bytes >= LARGE and len(data) >= BLOCK and _is_noise(samples, level):
        return coded(samples, last)
    stream = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
    return bytes(stream.compress(data) + stream.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_FULL_FLUSH))


def zlib_data(data: bytes, level: int, image_bytes: int) -> bytes:
    """The same with a head and a checksum (RFC 1950)."""
    return b"\x78\x01" + deflated(data, level, image_bytes) + struct.pack(">I", isal_zlib.adler32(data))


def _is_noise(data: Bytes, level: int) -> bool:
    """Whether codes alone leave about as little of a sample as ISA-L does."""
    starts = [int(i * _APART % 1 * (len(data) - _PIECE)) for i in range(1, 1 + _PIECES)]
    sample = np.concatenate([data[start : start + _PIECE] for start in starts])
    return len(coded(sample)) <= _ALLOWED * len(isal_zlib.compress(sample, level))


def coded(data: Bytes, last: bool = True) -> bytes:
    """A raw deflate stream of Huffman codes alone, which ends as that of ``deflated``."""
    blocks = -(-len(data) // BLOCK)
    out = np.empty(len(data) * _LONGEST // 8 + _HEAD * (blocks + 1), np.uint8)
    length, numbers = np.zeros(1, np.int64), np.empty((11, 2 * _SYMBOLS), np.int64)
    _write(data, last, out, length, _ORDER, numbers)
    return out[: length[0]].tobytes()


# The loops below work in rows of ``numbers``, for they make no arrays: counts, lengths and codes of symbols; values and widths
# of what is written next; three to choose codes in; and counts, lengths and codes of the lengths. ``out`` is written at a byte
# ``at``; ``held`` has the bits that are not a whole byte yet, and ``bits`` says how many they are: unsigned, for they are
# shifted. The types of numbers are numba's to find: Python has one of them.


@loop
def _write(data: Bytes, last: bool, out: Bytes, length: Numbers, order: Numbers, numbers: Numbers) -> None:
    # The blocks of a stream; ``length`` becomes the bytes that they take.
    counts, lengths, codes, values, widths = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    at = held = bits = np.uint64(0)
    for start in range(0, data.size, BLOCK):
        block = data[start : start + BLOCK]
        is_end = start + BLOCK >= data.size
        _count(block, counts, numbers[5], numbers[6], numbers[7])
        _choose(counts, _SYMBOLS, _LONGEST, lengths, codes, numbers[5:])
        fields = _describe(lengths, last and is_end, order, values, widths, numbers[5:])
        at, held, bits = _put(out, at, held, bits, values, widths, fields)
        fours = block.size // 4 * 4
        for i in range(0, fours, 4):
            for j in range(4):
                held |= np.uint64(codes[block[i + j]]) << bits
                bits += np.uint64(lengths[block[i + j]])
            for j in range(8):  # which is one store
                out[at + np.uint64(j)] = held >> np.uint64(8 * j) & np.uint64(255)
            whole = bits >> np.uint64(3)
            at += whole
            held >>= whole << np.uint64(3)
            bits &= np.uint64(7)
        fields = 0
        for i in range(fours, block.size):
            values[fields], widths[fields] = codes[block[i]], lengths[block[i]]
            fields += 1
        values[fields], widths[fields] = codes[_END], lengths[_END]
        values[fields + 1], widths[fields + 1] = 0, 0 if last else 3  # an empty block, stored (RFC 1951, 3.2.4)
        values[fields + 2], widths[fields + 2] = 0, 7  # to the end of a byte
        at, held, bits = _put(out, at, held, bits, values, widths, fields + (3 if is_end else 1))
    if not last:
        for byte in (0, 0, 255, 255):  # the length of the empty block, and its complement
            out[at] = byte
            at += np.uint64(1)
    length[0] = at


@part
def _put(out: Bytes, at: Any, held: Any, bits: Any, values: Any, widths: Any, fields: Any) -> Any:
    # Values of so many bits, the lowest first.
    for i in range(fields):
        held |= np.uint64(values[i]) << bits
        bits += np.uint64(widths[i])
        while bits >= np.uint64(8):
            out[at] = held & np.uint64(255)
            held >>= np.uint64(8)
            bits -= np.uint64(8)
            at += np.uint64(1)
    return at, held, bits


@part
def _count(block: Bytes, counts: Any, second: Any, third: Any, fourth: Any) -> None:
    # How often each symbol occurs; in four rows, so that a count need not wait for that of the byte before.
    counts[:], second[:], third[:], fourth[:] = 0, 0, 0, 0
    fours = block.size // 4 * 4
    for i in range(0, fours, 4):
        counts[block[i]] += 1
        second[block[i + 1]] += 1
        third[block[i + 2]] += 1
        fourth[block[i + 3]] += 1
    for i in range(fours, block.size):
        counts[block[i]] += 1
    for symbol in range(_END):
        counts[symbol] += second[symbol] + third[symbol] + fourth[symbol]
    counts[_END] = 1


@part
def _choose(counts: Any, symbols: Any, longest: Any, lengths: Any, codes: Any, numbers: Any) -> None:
    # Codes for symbols, at least two of which occur, none longer than ``longest`` bits (Huffman, 1952). ``order`` and
    # ``weights`` are first the symbols, from rare to frequent; then nodes of the tree follow, each above two before it.
    order, weights, above = numbers[0], numbers[1], numbers[2]
    used = 0
    for symbol in range(symbols):
        lengths[symbol] = 0
        if counts[symbol]:
            order[used] = counts[symbol] << 16 | symbol
            used += 1
    _sort(order, used)
    for leaf in range(used):
        weights[leaf], order[leaf] = order[leaf] >> 16, order[leaf] & 0xFFFF
    leaf, node = 0, used
    for new in range(used, 2 * used - 1):
        weights[new] = 0
        for _ in range(2):
            if leaf < used and (node == new or weights[leaf] <= weights[node]):
                lighter = leaf
                leaf += 1
            else:
                lighter = node
                node += 1
            weights[new] += weights[lighter]
            above[lighter] = new
    depths, of_length = above, weights  # neither is needed any more
    depths[2 * used - 2] = 0
    for node in range(2 * used - 3, -1, -1):
        depths[node] = depths[above[node]] + 1
    for length in range(longest + 1):
        of_length[length] = 0
    for leaf in range(used):
        of_length[min(depths[leaf], longest)] += 1
    _shorten(of_length, longest)
    leaf = 0
    for length in range(longest, 0, -1):
        for _ in range(of_length[length]):
            lengths[order[leaf]] = length
            leaf += 1
    _number(lengths, symbols, longest, of_length, codes, order)


@part
def _sort(values: Any, number: Any) -> None:
    # Shell's, with Ciura's gaps: values are few, and differ.
    for gap in (132, 57, 23, 10, 4, 1):
        for i in range(gap, number):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value


@part
def _shorten(of_length: Any, longest: Any) -> None:
    # Codes cut to the longest length are too many for it; each round takes one away, where a shorter one becomes two.
    total = 0
    for length in range(1, longest + 1):
        total += of_length[length] << longest - length
    while total > 1 << longest:
        length = longest - 1
        while not of_length[length]:
            length -= 1
        of_length[length] -= 1
        of_length[length + 1] += 2
        of_length[longest] -= 1
        total -= 1


@part
def _number(lengths: Any, symbols: Any, longest: Any, of_length: Any, codes: Any, following: Any) -> None:
    # Codes by RFC 1951, 3.2.2, their bits in the order in which they are written.
    code = of_length[0] = 0
    for length in range(1, longest + 1):
        code = code + of_length[length - 1] << 1
        following[length] = code
    for symbol in range(symbols):
        length, turned = lengths[symbol], 0
        if length:
            code = following[length]
            following[length] += 1
            for _ in range(length):
                turned = turned << 1 | code & 1
                code >>= 1
        codes[symbol] = turned


@part
def _describe(lengths: Any, is_last: Any, order: Any, values: Any, widths: Any, numbers: Any) -> Any:
    # The head of a block, as values of some bits: the lengths of its codes, which have codes of their own (RFC 1951, 3.2.7).
    counts, lengths_of, codes_of = numbers[3], numbers[4], numbers[5]
    for symbol in range(_SYMBOLS, _SYMBOLS + _DISTANCES):
        lengths[symbol] = 1
    counts[: order.size] = 0
    for symbol in range(_SYMBOLS + _DISTANCES):
        counts[lengths[symbol]] += 1
    _choose(counts, order.size, _LONGEST_OF_LENGTHS, lengths_of, codes_of, numbers)
    values[0], widths[0] = 5 if is_last else 4, 3  # a block that has its codes with it
    values[1], widths[1] = _SYMBOLS - 257, 5
    values[2], widths[2] = _DISTANCES - 1, 5
    values[3], widths[3] = order.size - 4, 4
    fields = 4
    for i in range(order.size):
        values[fields], widths[fields] = lengths_of[order[i]], 3
        fields += 1
    for symbol in range(_SYMBOLS + _DISTANCES):
        values[fields], widths[fields] = codes_of[lengths[symbol]], lengths_of[lengths[symbol]]
        fields += 1
    return fields
