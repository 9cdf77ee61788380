"""The header of a JPEG XL codestream: size, bands, depth and color, bit by bit (ISO/IEC 18181-1, annex D and E)."""

from __future__ import annotations

from dataclasses import dataclass

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_LINEAR, _SRGB = 8, 13


@dataclass(frozen=True)
class Header:
    """What a codestream says of its image. Width and height are of the image set upright, as it is decoded."""

    width: int
    height: int
    bits: int
    floating: bool
    gray: bool
    extra: tuple[int, ...]
    """The kinds of the bands that are not color: 0 alpha, 4 black, ..."""
    premultiplied: bool
    animated: bool
    transfer_at: int | None
    """The bit at which the transfer function is said, where it is."""

    @property
    def alpha(self) -> bool:
        return 0 in self.extra

    @property
    def black(self) -> bool:
        return 4 in self.extra


class _Bits:
    """Bits of a codestream, lowest first. ``ValueError`` where there are no more."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._end = 8 * len(data)
        self.at = 0

    def take(self, count: int) -> int:
        if self.at + count > self._end:
            raise ValueError("the header ends early")
        found = self._value >> self.at & (1 << count) - 1
        self.at += count
        return found

    def flag(self) -> bool:
        return bool(self.take(1))

    def pick(self, *choices: tuple[int, int]) -> int:
        """A number in one of four ways, each so many bits above an offset."""
        count, offset = choices[self.take(2)]
        return offset + self.take(count)

    def enum(self) -> int:
        return self.pick((0, 0), (0, 1), (4, 2), (6, 18))


def parse(data: bytes) -> Header:
    """The header of a codestream that begins with ``data``. Raises ``ValueError`` where it makes no sense."""
    if data[:2] != b"\xff\x0a":
        raise ValueError("it does not begin with FF 0A")
    bits = _Bits(data)
    bits.take(16)
    width, height = _size(bits)
    orientation, animated, depth, floating = 1, False, 8, False
    extra: list[int] = []
    premultiplied, gray, transfer_at = False, False, None
    if not bits.flag():  # all is as usual: 8 bits, RGB
        if bits.flag():
            orientation = 1 + bits.take(3)
            if bits.flag():
                _size(bits)
            if bits.flag():
                _preview(bits)
            animated = bits.flag()
            if animated:
                _animation(bits)
        depth, floating = _depth(bits)
        bits.flag()  # whether 16 bits are enough within
        for _ in range(bits.pick((0, 0), (0, 1), (4, 2), (12, 1))):
            kind, is_premultiplied = _extra(bits)
            premultiplied = premultiplied or (is_premultiplied and 0 not in extra)
            extra.append(kind)
        bits.flag()  # whether the colors were transformed
        gray, transfer_at = _color(bits)
    if orientation > 4:
        width, height = height, width
    return Header(width, height, depth, floating, gray, tuple(extra), premultiplied, animated, transfer_at)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else 1 + bits.pick((9, 0), (13, 0), (18, 0), (30, 0))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio]
    return height * across // down, height


def _preview(bits: _Bits) -> None:
    ways = ((0, 16), (0, 32), (5, 1), (9, 33)) if bits.flag() else ((6, 1), (8, 65), (10, 321), (12, 1345))
    bits.pick(*ways)
    if not bits.take(3):
        bits.pick(*ways)


def _animation(bits: _Bits) -> None:
    bits.pick((0, 100), (0, 1000), (10, 1), (30, 1))
    bits.pick((0, 1), (0, 1001), (8, 1), (10, 1))
    bits.pick((0, 0), (3, 0), (16, 0), (32, 0))
    bits.flag()


def _depth(bits: _Bits) -> tuple[int, bool]:
    if not bits.flag():
        return bits.pick((0, 8), (0, 10), (0, 12), (6, 1)), False
    found = bits.pick((0, 32), (0, 16), (0, 24), (6, 1))
    bits.take(4)
    return found, True


def _extra(bits: _Bits) -> tuple[int, bool]:
    """The kind of an extra band, and whether it is an alpha that the colors were multiplied by."""
    if bits.flag():
        return 0, False
    kind = bits.enum()
    _depth(bits)
    bits.pick((0, 0), (0, 3), (0, 4), (3, 1))
    for _ in range(bits.pick((0, 0), (4, 0), (5, 16), (10, 48))):
        bits.take(8)
    if kind == 0:
        return kind, bits.flag()
    if kind == 2:
        bits.take(64)
    elif kind == 5:
        bits.pick((0, 1), (2, 0), (4, 3), (8, 19))
    return kind, False


def _color(bits: _Bits) -> tuple[bool, int | None]:
    """Whether the image is gray, and where its transfer function is said."""
    if bits.flag():
        return False, None
    profile, space = bits.flag(), bits.enum()
    if profile or space == 2:
        return space == 1, None
    if bits.enum() == 2:
        _points(bits, 1)
    if space != 1 and bits.enum() == 2:
        _points(bits, 3)
    return space == 1, None if bits.flag() else bits.at


def _points(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.pick((19, 0), (19, 524_288), (20, 1_048_576), (21, 2_097_152))


def said_to_be_srgb(data: bytes) -> bytes:
    """A codestream whose samples are said to be linear, said to be sRGB instead; their values stay.

    Both are written in six bits: the selector 2, then the number less 2 in four.
    """
    at = parse(data[:4096]).transfer_at
    if at is None:
        return data
    head = int.from_bytes(data[:4096], "little")
    if head >> at & 63 != 2 | _LINEAR - 2 << 2:
        return data
    head ^= (_LINEAR - 2 ^ _SRGB - 2) << at + 2
    return head.to_bytes(min(len(data), 4096), "little") + data[4096:]
