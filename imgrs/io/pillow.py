"""Files that Pillow reads and writes whole; which formats those are is said in ``imgrs.io.pillow_formats``.

A Pillow object is made for each decode and never shared. Pillow's own bomb guard is replaced by the limit of
``imgrs.io.limits``, which names what to do.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError, TruncatedImageError, UnsupportedFormatError
from imgrs.io.format import Encoder, Format, Options, Reader, WholeEncoder
from imgrs.io.limits import check_unit
from imgrs.io.metadata import exif_bytes
from imgrs.io.options import check_image, check_options, check_side, check_whole
from imgrs.io.resource import Resource, as_file
from imgrs.types import Pixels, Region, Spec

if TYPE_CHECKING:
    import PIL.Image

_SPECS: dict[str, tuple[int, bool, str, str]] = {
    "1": (1, False, "bool", "gray"),
    "L": (1, False, "uint8", "gray"),
    "LA": (2, True, "uint8", "gray"),
    "I;16": (1, False, "uint16", "gray"),
    "RGB": (3, False, "uint8", "srgb"),
    "RGBA": (4, True, "uint8", "srgb"),
    "CMYK": (4, False, "uint8", "cmyk"),
}
"""Modes as decoded: bands, alpha, dtype, encoding."""
_KEPT = ("dpi", "icc_profile", "exif", "xmp", "gamma", "transparency", "loop", "duration", "comment")


class PillowReader(Reader):
    """An image that Pillow decodes in one piece. Pickles as its resource."""

    reads_regions = False

    def __init__(self, resource: Resource, format: str, page: int = 0) -> None:
        self.resource = resource
        self.format = format
        self.page = page
        with self._opened() as image:
            mode = self._mode_of(image)
            bands, alpha, dtype, encoding = _SPECS[mode]
            width, height = image.size
            self.info = {name: image.info[name] for name in _KEPT if name in image.info}
            if format == "PNG" and (texts := _texts(image.info)):
                self.info["text"] = texts
        self._mode = mode
        head = resource.read(0, 26)
        self._deep = format == "PNG" and len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6)
        if self._deep:  # Pillow reads 16-bit color at 8 bits
            bands, alpha, encoding = {2: (3, False, "srgb"), 4: (2, True, "gray"), 6: (4, True, "srgb")}[head[25]]
            dtype = "uint16"
        self.spec = Spec(width, height, bands, alpha, dtype, encoding)
        self.unit = self.spec.size
        self._check_limit()
        if format == "JPEG":
            self.shrinks = (1, 2, 4, 8)
        elif format == "JPEG2000":
            self.shrinks = tuple(1 << level for level in range(1 + min(3, _halvings(resource))))

    def _check_limit(self) -> None:
        check_unit(self.resource.name, "the image", self.spec.nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return PillowReader, (self.resource, self.format, self.page)

    @property
    def frames(self) -> int:
        with self._opened() as image:
            return getattr(image, "n_frames", 1)

    def at(self, page: int) -> Reader:
        if page == self.page:
            return self
        if not 0 <= page < self.frames:
            raise ArgumentError(f"open: page must be from 0 to {self.frames - 1} for {self.resource.name}, got {page}")
        return PillowReader(self.resource, self.format, page)

    def shrunk(self, shrink: int) -> Spec:
        if shrink not in self.shrinks:
            raise ValueError(f"{self.format} cannot be read at 1/{shrink}")
        spec = self.spec
        size = (-(-spec.width // shrink), -(-spec.height // shrink))
        return Spec(*size, spec.bands, spec.alpha, spec.dtype, spec.encoding)

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        return self.resource.size

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        self._check_end()
        with self._opened() as image:
            if shrink > 1 and self.format == "JPEG2000":
                image.reduce = shrink.bit_length() - 1  # type: ignore[method-assign,assignment]  # Pillow's own way
                image.load()
            elif shrink > 1:
                image.draft(None, (image.width // shrink, image.height // shrink))  # it never goes below
            if self._deep or self.format == "QOI":  # Pillow's QOI is written in Python
                pixels = _decoded_by_imagecodecs(self.resource, self.format)
            else:
                pixels = np.array(image if image.mode == self._mode else image.convert(self._mode))
        spec = self.shrunk(shrink)
        pixels = pixels.reshape(spec.height, spec.width, spec.bands)
        rows, columns = region.slices_in(spec.region)
        return np.ascontiguousarray(pixels[rows, columns].astype(spec.dtype, copy=False))

    def _mode_of(self, image: PIL.Image.Image) -> str:
        mode = image.mode
        if mode == "P":
            return "RGBA" if "transparency" in image.info else "RGB"
        if mode in ("I;16B", "I;16L", "I"):
            return "I;16"
        if mode in ("YCbCr", "LAB", "HSV"):
            return "RGB"
        if mode == "PA":
            return "RGBA"
        if mode in ("RGB", "L") and "transparency" in image.info and self.format in ("PNG", "GIF"):
            return "RGBA" if mode == "RGB" else "LA"
        if mode not in _SPECS:
            raise UnsupportedFormatError(f"{self.resource.name}: {self.format} images of mode {mode} are not supported")
        return mode

    def _check_end(self) -> None:
        """A JPEG or QOI without its end decodes to gray, or to one color, below: refuse it before it is believed."""
        end, reach = {"JPEG": (b"\xff\xd9", 65_536), "QOI": (bytes(7) + b"\1", 8)}.get(self.format, (b"", 0))
        size = self.resource.size
        if reach and end not in self.resource.read(max(0, size - reach)):
            raise TruncatedImageError(f"{self.resource.name} ends before its {self.format} data does ({size:,} bytes)")

    @contextmanager
    def _opened(self) -> Iterator[PIL.Image.Image]:
        import PIL.Image

        name = self.resource.name
        try:
            with _unguarded():
                image = PIL.Image.open(as_file(self.resource), formats=[self.format])
            with image:
                if self.page:
                    image.seek(self.page)
                yield image
        except ImgrsError:
            raise
        except PIL.UnidentifiedImageError:
            raise CorruptImageError(f"{name}: the {self.format} header is damaged") from None
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ...: the data is bad
            text = str(error).lower()
            short = "truncated" in text or "not enough" in text or "incomplete" in text or isinstance(error, EOFError)
            kind = TruncatedImageError if short else CorruptImageError
            raise kind(f"{name}: the {self.format} data cannot be decoded: {error}") from error


def _texts(info: Mapping[Any, Any]) -> dict[str, str]:
    """The text chunks ahead of a PNG's pixels; Pillow's own ``text`` decodes the image to see those behind them too."""
    return {
        str(name): str(text) for name, text in info.items() if isinstance(text, str) and not name.startswith("XML:")
    }


def _halvings(resource: Resource) -> int:
    """How often a JPEG 2000 file can be halved while decoding: what its COD marker says (ITU-T T.800, A.6.1)."""
    head = resource.read(0, 1 << 16)
    at = head.find(b"\xff\x52", head.find(b"\xff\x4f\xff\x51"))
    return head[at + 9] if 0 <= at < len(head) - 9 else 0


_guard = threading.Lock()


@contextmanager
def _unguarded() -> Iterator[None]:
    """Pillow's pixel limit is a global that ``open`` looks at: it is off, under a lock, while a header is read."""
    import PIL.Image

    with _guard:
        limit = PIL.Image.MAX_IMAGE_PIXELS
        PIL.Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit


def _decoded_by_imagecodecs(resource: Resource, format: str) -> Pixels:
    import imagecodecs

    decode = {"PNG": imagecodecs.png_decode, "QOI": imagecodecs.qoi_decode}[format]
    pixels: Pixels = decode(resource.read())
    return pixels


@dataclass(frozen=True)
class PillowEncoder(WholeEncoder):
    """One save through Pillow, its options checked."""

    format: str
    spec: Spec
    options: tuple[tuple[str, Any], ...]

    def encode(self, pixels: Pixels) -> bytes | memoryview:
        import PIL.Image

        spec = self.spec
        if self.format == "QOI":
            import imagecodecs

            return bytes(imagecodecs.qoi_encode(np.ascontiguousarray(pixels)))
        if spec.encoding == "cmyk":
            image = PIL.Image.frombytes("CMYK", spec.size, pixels.tobytes())
        else:
            image = PIL.Image.fromarray(pixels[..., 0] if spec.bands == 1 else pixels)
        file = io.BytesIO()
        image.save(file, self.format, **dict(self.options))
        return file.getbuffer()


class PillowFormat(Format):
    """What the formats here share: their modes, options and largest side."""

    kinds: ClassVar[tuple[tuple[str, str], ...]]
    options: ClassVar[Mapping[str, tuple[int, int] | type]]
    """Each option with its range, or its type."""
    usual: ClassVar[Mapping[str, Any]] = {}
    carried: ClassVar[tuple[str, ...]] = ()
    """Metadata that goes from the source to the file unless an option says otherwise."""
    longest: ClassVar[int] = 1 << 31

    def open(self, resource: Resource) -> Reader:
        return PillowReader(resource, self.name)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_options(self.name, options, self.options)
        check_side(self.name, spec, self.longest)
        for name, value in options.items():
            self._check(name, value)
        carried = {name: info[name] for name in self.carried if name in info}
        if "exif" in self.carried and (exif := exif_bytes(info)) is not None:
            carried["exif"] = exif
        return self.checked_encoder(spec, {**self.usual, **carried, **options})

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        """The encoder for a save whose image and options fit."""
        return PillowEncoder(self.name, spec, tuple(options.items()))

    def _check(self, name: str, value: Any) -> None:
        allowed = self.options[name]
        if isinstance(allowed, tuple):
            check_whole(self.name, name, value, *allowed)
        elif not isinstance(value, allowed):
            raise ArgumentError(f"save: {self.name} {name} must be {allowed.__name__}, got {value!r}")
