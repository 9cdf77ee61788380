"""Files that Pillow reads and writes whole, and what the formats share that are among them.

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

from imgrs.errors import ArgumentError, CorruptImageError, SaveError, UnsupportedFormatError
from imgrs.io.format import Encoder, Format, Options, Reader, WholeEncoder
from imgrs.io.metadata import exif_bytes
from imgrs.io.options import check_allowed, check_dpi, check_image, check_options, check_side
from imgrs.io.resource import Resource, as_file
from imgrs.io.whole import WholeReader, decoding
from imgrs.types import Pixels, Spec

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


class PillowReader(WholeReader):
    """An image that Pillow decodes in one piece. Pickles as its resource."""

    def __init__(self, resource: Resource, format: str, page: int = 0) -> None:
        self.resource, self.format, self.page = resource, format, page
        with self._opened() as image:
            self._mode = self._mode_of(image)
            spec, info = self.described(image)
        super().__init__(resource, format, spec, info, page)

    def described(self, image: PIL.Image.Image) -> tuple[Spec, dict[str, Any]]:
        """What the header says, and what stands beside the pixels."""
        bands, alpha, dtype, encoding = _SPECS[self._mode]
        info = {name: image.info[name] for name in _KEPT if image.info.get(name) is not None}
        return Spec(*image.size, bands, alpha, dtype, encoding), info

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.resource, self.format, self.page)

    @property
    def frames(self) -> int:
        with self._opened() as image:
            return getattr(image, "n_frames", 1)

    def at(self, page: int) -> Reader:
        if page == self.page:
            return self
        if not 0 <= page < self.frames:
            raise ArgumentError(f"open: page must be from 0 to {self.frames - 1} for {self.resource.name}, got {page}")
        return self.frame(page)

    def frame(self, page: int) -> Reader:
        """The reader of another frame, which is there."""
        return PillowReader(self.resource, self.format, page)

    def shrunk(self, shrink: int) -> Spec:
        if shrink not in self.shrinks:
            raise ValueError(f"{self.format} cannot be read at 1/{shrink}")
        spec = self.spec
        size = (-(-spec.width // shrink), -(-spec.height // shrink))
        return Spec(*size, spec.bands, spec.alpha, spec.dtype, spec.encoding)

    def decoding_bytes(self, shrink: int = 1) -> int:
        spec = self.shrunk(shrink)
        pixel = spec.pixel_bytes if spec.bands == 1 else 4
        return (
            pixel * spec.width * spec.height + spec.nbytes
        )  # Pillow's own image, and its bytes on the way to an array

    def decoded(self, shrink: int) -> Pixels:
        with self._opened() as image:
            if shrink > 1:
                self.reduce(image, shrink)
            return np.array(image if image.mode == self._mode else image.convert(self._mode))

    def reduce(self, image: PIL.Image.Image, shrink: int) -> None:
        """Ask the decoder for less, before pixels are asked for: where ``shrinks`` has more than 1."""
        raise NotImplementedError(self.format)

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
        if mode in ("RGB", "L", "1") and "transparency" in image.info and self.format in ("PNG", "GIF"):
            return "RGBA" if mode == "RGB" else "LA"
        if mode not in _SPECS:
            raise UnsupportedFormatError(f"{self.resource.name}: {self.format} images of mode {mode} are not supported")
        return mode

    @contextmanager
    def _opened(self) -> Iterator[PIL.Image.Image]:
        import PIL.Image

        with decoding(self.resource.name, self.format):
            try:
                with _unguarded():
                    image = PIL.Image.open(as_file(self.resource), formats=[self.format])
            except PIL.UnidentifiedImageError:
                raise CorruptImageError(f"{self.resource.name}: the {self.format} header is damaged") from None
            with image:
                if self.page:
                    image.seek(self.page)
                yield image


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


_WEIGHTS = {("WEBP", False): 4, ("WEBP", True): 15, ("AVIF", False): 11, ("JPEG2000", False): 15, ("ICO", False): 5}
"""Times the image's size that encoding takes, by format, and whether it is lossless."""


@dataclass(frozen=True)
class PillowEncoder(WholeEncoder):
    """One save through Pillow, its options checked."""

    format: str
    spec: Spec
    options: tuple[tuple[str, Any], ...]

    @property
    def codec(self) -> str:
        return self.format

    @property
    def weight(self) -> int:
        return _WEIGHTS.get((self.format, bool(dict(self.options).get("lossless"))), super().weight)

    def encode(self, pixels: Pixels) -> bytes | memoryview:
        import PIL.Image

        spec = self.spec
        if spec.encoding == "cmyk":
            image = PIL.Image.frombytes("CMYK", spec.size, pixels.tobytes())
        else:
            image = PIL.Image.fromarray(pixels[..., 0] if spec.bands == 1 else pixels)
        file = io.BytesIO()
        try:
            image.save(file, self.format, **dict(self.options))
        except Exception as error:  # Pillow raises OSError, ValueError, ...: the options do not fit the image
            options = ", ".join(f"{name}={value!r}" for name, value in self.options if not isinstance(value, bytes))
            raise SaveError(
                f"{spec} could not be written as {self.format} with {options or 'no options'}: {error}"
            ) from error
        return file.getbuffer()


class PillowFormat(Format):
    """What the formats here share: their modes, options and largest side."""

    kinds: ClassVar[tuple[tuple[str, str], ...]]
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
        said = {**self.usual, **carried, **options}
        return self.checked_encoder(
            spec, {name: value for name, value in said.items() if value is not None and value != b""}
        )

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        """The encoder for a save whose image and options fit."""
        return PillowEncoder(self.name, spec, tuple(options.items()))

    def _check(self, name: str, value: Any) -> None:
        allowed = self.options[name]
        if value is None and allowed is bytes:  # leaves out what the source has
            return
        if name == "dpi":
            check_dpi(self.name, value)
        elif isinstance(allowed, tuple):
            check_allowed(self.name, name, value, allowed)
        elif not isinstance(value, (list, tuple) if allowed is list else allowed):
            raise ArgumentError(f"{self.name} {name} must be {allowed.__name__}, got {value!r}")
