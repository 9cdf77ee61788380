"""Slides that openslide reads and no reader here does: MIRAX, Hamamatsu VMS, Zeiss, Sakura, DICOM, Ventana, Trestle.

TIFF-based slides stay with the TIFF reader, except those whose tiles overlap. openslide is the extra ``wsi``, and reads
local files only.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError, CorruptImageError, UnsupportedFormatError
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.limits import check_unit
from imgrs.io.resource import FileResource, Resource
from imgrs.types import Pixels, Region, Spec

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = (".mrxs", ".vms", ".vmu", ".svslide", ".czi", ".dcm")
"""Names that only slides have here. A .mrxs looks like a JPEG inside; the others are recognized by content, too."""
_VMS = b"Virtual Microscope Specimen"  # what the index of a slide of Hamamatsu begins with
HANDLES = 8
"""Slides that a process keeps open."""


@dataclass(frozen=True)
class SlideFormat(Format):
    """What openslide reads; recognized by ``named`` and ``detected``, because its first bytes do not tell."""

    name: ClassVar[str] = "SLIDE"
    extensions: ClassVar[tuple[str, ...]] = SUFFIXES
    is_written: ClassVar[bool] = False

    def matches(self, head: bytes) -> bool:
        return False

    def open(self, resource: Resource) -> Reader:
        return SlideReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        raise ArgumentError("slides of scanners are not written; save as TIFF with pyramid=True")


def named(resource: Resource) -> bool:
    """Whether the name alone says that it is a slide."""
    return os.path.splitext(resource.name)[1].lower() in SUFFIXES


def detected(resource: Resource) -> bool:
    """Whether openslide, where it is installed, knows the content of what no format here does."""
    if not isinstance(resource, FileResource):
        return False
    try:
        import openslide
    except ImportError:
        return False
    return openslide.OpenSlide.detect_format(resource.path) is not None


class SlideReader(Reader):
    """A slide, as page 0, and the images beside it (label, macro, thumbnail), by their names. Pickles as its resource.

    What was not scanned is transparent to openslide; here it has the slide's background color, white unless the slide
    says otherwise, as in openslide's own thumbnails. So a slide is RGB, like the TIFFs of other scanners.
    """

    format = SlideFormat.name
    has_copies = True

    def __init__(self, resource: Resource, page: int = 0) -> None:
        self.resource: SlideResource = _with_parts(resource)
        self.page = page
        slide = _opened(self.resource)
        properties = dict(slide.properties)
        names = sorted(slide.associated_images.keys())
        self._frames = 1 + len(names)
        if not 0 <= page < self._frames:
            raise ArgumentError(f"open: page must be from 0 to {len(names)} for {resource.name}, got {page}")
        self._name = names[page - 1] if page else properties.get("openslide.vendor", "slide")
        self._background = "#" + properties.get("openslide.background-color", "ffffff")
        self._levels = {1: (0, _beside(properties, self._name))} if page else _levels(slide)
        self.spec = self._levels[1][1]
        self.shrinks = tuple(self._levels)
        self.reads_regions = not page
        tile = (int(properties.get(f"openslide.level[0].tile-{side}", 256)) for side in ("width", "height"))
        self.unit = self.spec.size if page else (next(tile), next(tile))
        check_unit(resource.name, "an image" if page else "a tile", 4 * self.unit[0] * self.unit[1])
        self.info = {"name": self._name, "properties": properties}
        if slide.color_profile is not None:
            self.info["icc_profile"] = slide.color_profile.tobytes()

    def __reduce__(self) -> tuple[Any, ...]:
        return SlideReader, (self.resource, self.page)

    @property
    def frames(self) -> int:
        return self._frames

    def at(self, page: int) -> SlideReader:
        return SlideReader(self.resource, page)

    def shrunk(self, shrink: int) -> Spec:
        if shrink not in self._levels:
            raise ValueError(f"{self.resource.name} has no level at 1/{shrink}")
        return self._levels[shrink][1]

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        import openslide

        self.resource.check()
        slide = _opened(self.resource)
        try:
            if self.page:
                image = slide.associated_images[self._name].crop((region.left, region.top, region.right, region.bottom))
            else:
                corner = region.left * shrink, region.top * shrink
                image = slide.read_region(corner, self._levels[shrink][0], (region.width, region.height))
        except openslide.OpenSlideError as error:
            _slide.cache_clear()  # a handle that failed once fails for ever
            raise CorruptImageError(f"{self.resource.name}: {region} cannot be read: {error}") from error
        return self._opaque(image)

    def _opaque(self, image: PIL.Image.Image) -> Pixels:
        import PIL.Image

        behind = PIL.Image.new("RGB", image.size, self._background)
        behind.paste(image, None, image)
        return np.array(behind)

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        whole = self.resource.size + sum(part.size for part in self.resource.parts)
        return round(whole * region.area / self.shrunk(shrink).region.area)


def _levels(slide: Any) -> dict[int, tuple[int, Spec]]:
    """The levels whose pixels stand for whole numbers of those of the first: openslide would mix those of others."""
    found: dict[int, tuple[int, Spec]] = {}
    for level, (size, shrink) in enumerate(zip(slide.level_dimensions, slide.level_downsamples, strict=True)):
        if shrink == int(shrink):
            found.setdefault(int(shrink), (level, Spec(size[0], size[1], 3)))
    return found


def _beside(properties: dict[str, str], name: str) -> Spec:
    width, height = (int(properties[f"openslide.associated.{name}.{side}"]) for side in ("width", "height"))
    return Spec(width, height, 3)


@dataclass(frozen=True)
class SlideResource(FileResource):
    """The file that a slide is opened by, and those beside it that hold its pixels; each must stay as it was."""

    parts: tuple[FileResource, ...] = field(default=(), repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "parts": self.parts}

    @property
    def identity(self) -> str:
        return " ".join((super().identity, *(part.identity for part in self.parts)))

    def check(self) -> None:
        super().check()
        for part in self.parts:
            part.check()


def _with_parts(resource: Resource) -> SlideResource:
    if isinstance(resource, SlideResource):
        return resource
    if not isinstance(resource, FileResource):
        raise UnsupportedFormatError(f"{resource.name}: openslide reads slides of this kind from local files only")
    stem, suffix = os.path.splitext(resource.path)
    names: list[str] = []
    if suffix.lower() == ".mrxs" and os.path.isdir(stem):
        names = [entry.path for entry in os.scandir(stem)]
    elif _VMS in (index := resource.read(0, 1 << 16)).partition(b"]")[0]:
        lines = [line.partition("=")[2].strip() for line in index.decode("latin-1").splitlines()]
        names = [os.path.join(os.path.dirname(resource.path), line) for line in lines if line]
    parts = tuple(FileResource.stat(name) for name in sorted({*names}) if os.path.isfile(name))
    return SlideResource(resource.path, resource.length, resource.mtime_ns, resource.host_identity, parts)


def _opened(resource: SlideResource) -> Any:
    return _slide(resource, os.getpid())


@functools.lru_cache(maxsize=HANDLES)
def _slide(resource: SlideResource, process: int) -> Any:
    """An open slide, for all threads of one process; a forked one opens its own. Closed when nobody holds it."""
    try:
        import openslide
    except ImportError:
        raise UnsupportedFormatError(
            f"{resource.name} is read by openslide, which is not installed: pip install 'imgrs-lazy[wsi]'"
        ) from None
    try:
        return openslide.OpenSlide(resource.path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise UnsupportedFormatError(f"{resource.name} is not a slide that openslide knows") from None
    except openslide.OpenSlideError as error:
        raise CorruptImageError(f"{resource.name}: the slide cannot be opened: {error}") from error
