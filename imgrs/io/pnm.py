"""Netpbm's formats (PBM, PGM, PPM, PAM) and PFM: a short header in text, then samples as bytes or, in old files, as text.

Bytes are read by region and written by tile; text is decoded whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import CorruptImageError, TruncatedImageError, UnsupportedFormatError
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.limits import check_unit
from imgrs.io.options import check_image, check_options
from imgrs.io.plain import PlainEncoder, PlainReader
from imgrs.io.resource import Resource
from imgrs.io.whole import WholeReader, at_full_scale
from imgrs.types import Pixels, Spec

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_PNM = re.compile(rb"P([1-6])" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})(?=[\s#])")
_MOST = re.compile(_SPACE + rb"(\d{1,9})(?=[\s#])")
_PAM_END = re.compile(rb"^ENDHDR\n", re.MULTILINE)
_PFM = re.compile(rb"(P[Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[\d.]{1,20}(?:[eE][-+]?\d{1,3})?)\s")
_HEAD = 4096
"""Bytes in which a header ends."""
_PIECE = 1 << 20
"""Bytes of text that are turned into numbers at a time."""

_TUPLES = {
    "BLACKANDWHITE": (1, False, "gray"),
    "GRAYSCALE": (1, False, "gray"),
    "RGB": (3, False, "srgb"),
    "CMYK": (4, False, "cmyk"),
    "BLACKANDWHITE_ALPHA": (2, True, "gray"),
    "GRAYSCALE_ALPHA": (2, True, "gray"),
    "RGB_ALPHA": (4, True, "srgb"),
}
"""Bands, alpha and encoding of PAM's kinds of tuples."""
_BY_DEPTH = {1: (1, False, "gray"), 2: (2, True, "gray"), 3: (3, False, "srgb"), 4: (4, True, "srgb")}
_BY_SPEC = {
    ("gray", False): "GRAYSCALE", ("gray", True): "GRAYSCALE_ALPHA", ("srgb", False): "RGB", ("srgb", True): "RGB_ALPHA",
    ("cmyk", False): "CMYK",
}  # fmt: skip


@dataclass(frozen=True)
class PnmFormat(Format):
    name: ClassVar[str] = "PPM"
    extensions: ClassVar[tuple[str, ...]] = (".ppm", ".pgm", ".pbm", ".pnm")
    kinds = (("1", "bool"), ("L", "uint8"), ("I;16", "uint16"), ("RGB", "uint8"), ("RGB", "uint16"))

    def matches(self, head: bytes) -> bool:
        return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b" ", b"\n", b"\t", b"\r", b"#")

    def open(self, resource: Resource) -> Reader:
        head = resource.read(0, _HEAD)
        found = _PNM.match(head)
        if found is None:
            raise _damaged(resource, self.name)
        kind, width, height = (int(part) for part in found.groups())
        most, end = 1, found.end()
        if kind not in (1, 4):
            said = _MOST.match(head, end)
            if said is None:
                raise _damaged(resource, self.name)
            most, end = int(said[1]), said.end()
        depth = 3 if kind in (3, 6) else 1
        spec = _checked(resource, self.name, (width, height), _BY_DEPTH[depth], most, bits=kind in (1, 4))
        if kind < 4:
            return TextReader(resource, spec, end, most)
        start = end + 1  # one blank character
        if kind == 4:
            return PlainReader(resource, self.name, spec, start, "u1", packed=True, inverted=True)
        return PlainReader(resource, self.name, spec, start, _stored(most), most)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_options(self.name, options, self.options)
        size = f"{spec.width} {spec.height}\n"
        if spec.dtype == "bool":
            return PlainEncoder(spec, f"P4\n{size}".encode(), "u1", (0,), packed=True, inverted=True)
        kind, most = 5 if spec.bands == 1 else 6, int(spec.full_scale)
        return PlainEncoder(spec, f"P{kind}\n{size}{most}\n".encode(), _stored(most), tuple(range(spec.bands)))


@dataclass(frozen=True)
class PamFormat(Format):
    name: ClassVar[str] = "PAM"
    extensions: ClassVar[tuple[str, ...]] = (".pam",)
    kinds = (
        ("1", "bool"), ("L", "uint8"), ("LA", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"), ("CMYK", "uint8"),
        ("I;16", "uint16"), ("LA", "uint16"), ("RGB", "uint16"), ("RGBA", "uint16"),
    )  # fmt: skip

    def matches(self, head: bytes) -> bool:
        return head[:3] == b"P7\n"

    def open(self, resource: Resource) -> Reader:
        head = resource.read(0, _HEAD)
        end = _PAM_END.search(head)
        if end is None:
            raise _damaged(resource, self.name)
        said = dict(line.partition(b" ")[::2] for line in head[3 : end.start()].splitlines() if line[:1] != b"#")
        try:
            width, height, depth, most = (int(said[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
        except (KeyError, ValueError):
            raise _damaged(resource, self.name) from None
        tuples = said.get(b"TUPLTYPE", b"").strip().decode("latin-1")
        meant = _TUPLES.get(tuples, _BY_DEPTH.get(depth, (depth, False, "multiband")))
        if depth < meant[0]:
            raise CorruptImageError(f"{resource.name}: {tuples} pixels of {depth} samples make no sense")
        if depth > meant[0]:
            raise UnsupportedFormatError(f"{resource.name}: {tuples} pixels with {depth} samples are not supported")
        bits = tuples == "BLACKANDWHITE" and most == 1
        spec = _checked(resource, self.name, (width, height), meant, most, bits)
        return PlainReader(resource, self.name, spec, end.end(), _stored(most), None if bits else most)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_options(self.name, options, self.options)
        tuples = "BLACKANDWHITE" if spec.dtype == "bool" else _BY_SPEC[spec.encoding, spec.alpha]
        most = int(spec.full_scale)
        header = f"P7\nWIDTH {spec.width}\nHEIGHT {spec.height}\nDEPTH {spec.bands}\nMAXVAL {most}\nTUPLTYPE {tuples}\nENDHDR\n"
        return PlainEncoder(spec, header.encode(), _stored(most), tuple(range(spec.bands)))


@dataclass(frozen=True)
class PfmFormat(Format):
    name: ClassVar[str] = "PFM"
    extensions: ClassVar[tuple[str, ...]] = (".pfm",)
    kinds = (("F", "float32"), ("RGB", "float32"))

    def matches(self, head: bytes) -> bool:
        return head[:2] in (b"PF", b"Pf") and head[2:3] in (b" ", b"\n", b"\t", b"\r")

    def open(self, resource: Resource) -> Reader:
        found = _PFM.match(resource.read(0, _HEAD))
        if found is None:
            raise _damaged(resource, self.name)
        try:
            width, height, scale = int(found[2]), int(found[3]), float(found[4])
        except ValueError:
            raise _damaged(resource, self.name) from None
        if not (width and height and scale):
            raise CorruptImageError(f"{resource.name}: the PFM header claims {width}x{height} pixels of scale {scale}")
        bands, alpha, encoding = _BY_DEPTH[3 if found[1] == b"PF" else 1]
        spec = Spec(width, height, bands, alpha, "float32", encoding)
        return PlainReader(resource, self.name, spec, found.end(), "<f4" if scale < 0 else ">f4", upward=True)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_options(self.name, options, self.options)
        header = f"{'Pf' if spec.bands == 1 else 'PF'}\n{spec.width} {spec.height}\n-1.0\n".encode()
        return PlainEncoder(spec, header, "<f4", tuple(range(spec.bands)), upward=True)


class TextReader(WholeReader):
    """Samples that are written as numbers (P1, P2, P3). Pickles as its resource."""

    def __init__(self, resource: Resource, spec: Spec, start: int, most: int) -> None:
        super().__init__(resource, "PPM", spec, {})
        self._start, self._most = start, most
        samples = spec.width * spec.height * spec.bands
        needed = samples if spec.dtype == "bool" else 2 * samples - 1  # a digit, and something between two numbers
        if start + needed > resource.size:
            self.missing = str(_short(resource, spec))
        check_unit(resource.name, "the text", resource.size)

    def __reduce__(self) -> tuple[Any, ...]:
        return TextReader, (self.resource, self.spec, self._start, self._most)

    def decoded(self, shrink: int) -> Pixels:
        text = re.sub(rb"#[^\n]*", b"", self.resource.read(self._start))
        samples = self.spec.width * self.spec.height * self.spec.bands
        if self.spec.dtype == "bool":
            digits = np.frombuffer(text.translate(None, b" \t\n\r\v\f")[:samples], np.uint8)
            if len(digits) < samples:
                raise _short(self.resource, self.spec)
            if not np.isin(digits, (48, 49)).all():
                raise CorruptImageError(f"{self.resource.name}: a PBM holds zeros and ones, not other text")
            white: Pixels = digits == 48
            return white
        found = np.empty(samples, np.uint16)
        at = count = 0
        while at < len(text) and count < samples:
            end = _after(text, at + _PIECE)
            numbers = np.array(text[at:end].split()[: samples - count], dtype=np.int64)
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= 65_535:
                raise CorruptImageError(f"{self.resource.name}: a sample is not from 0 to 65,535")
            found[count : count + len(numbers)] = numbers
            count, at = count + len(numbers), end
        if count < samples:
            raise _short(self.resource, self.spec)
        return at_full_scale(found, self._most)


def _after(text: bytes, at: int) -> int:
    """The end of the number that ``at`` is in, or next to."""
    found = re.compile(rb"\s").search(text, at)
    return found.start() if found else len(text)


def _short(resource: Resource, spec: Spec) -> TruncatedImageError:
    return TruncatedImageError(f"{resource.name}: {spec} needs more samples, the file is shorter")


def _damaged(resource: Resource, format: str) -> CorruptImageError:
    return CorruptImageError(f"{resource.name}: the {format} header is damaged")


def _stored(most: int) -> str:
    return "u1" if most < 256 else ">u2"


def _checked(
    resource: Resource, format: str, size: tuple[int, int], meant: tuple[int, bool, str], most: int, bits: bool
) -> Spec:
    width, height = size
    bands, alpha, encoding = meant
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31 and 0 < bands < 65_536 and 0 < most < 65_536):
        claim = f"{width}x{height} pixels of {bands} samples up to {most}"
        raise CorruptImageError(f"{resource.name}: the {format} header claims {claim}")
    dtype = "bool" if bits else "uint8" if most < 256 else "uint16"
    return Spec(width, height, bands, alpha, dtype, encoding)
