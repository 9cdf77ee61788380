"""Every format, as the registry has it: each cell of docs/formats.md is tried on a file, here and when the page is made.

``python -m tests.test_formats`` writes the page. A column is a function that tries what it says and returns the cell;
a format that is new in the registry gets its row by itself, if it can be written, or if ``SAMPLES`` has a file of it.
"""

from __future__ import annotations

import ast
import io
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ImgrsError
from imgrs.io import formats
from imgrs.io.folder import LocalFolder
from imgrs.io.format import Encoder, Format, Reader, TileEncoder
from imgrs.io.resource import FileResource
from imgrs.io.tiff.decode import NAMES as COMPRESSIONS
from imgrs.types import Region
from tests.samples import profile
from tests.test_files import pixels

Array = npt.NDArray[Any]
PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
KINDS = [
    ("1", "bool"), ("L", "uint8"), ("LA", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"), ("CMYK", "uint8"),
    ("I;16", "uint16"), ("LA", "uint16"), ("RGB", "uint16"), ("RGBA", "uint16"), ("F", "float32"),
    ("LA", "float32"), ("RGB", "float32"), ("RGBA", "float32"),
]  # fmt: skip
BY_NAME = {format.name: format for format in formats()}
EXACT: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JXL": {"lossless": True}}
"""What makes a format lossless."""
TILED: dict[str, dict[str, Any]] = {
    "TIFF": {"tile": 64}, "OME-TIFF": {"tile": 64}, "ZARR": {"tile": 64, "shard": 128},
}  # fmt: skip
"""What makes tiles small beside a small image."""
CLOSE = {"GIF": 12, "JPEG": 8, "AVIF": 8}
"""How far the mean sample may be off in formats that always lose something."""
OPENERS: dict[str, Callable[[Path, imgrs.Image], imgrs.Image]] = {
    "RAW": lambda path, img: imgrs.open_raw(path, img.mode, img.size, dtype=img.dtype),
}
"""How files are opened that do not say what they are."""
BY_CONTENT = {"OME-TIFF": "TIFF"}
"""Formats that are opened as another, of which they are a kind."""


def _slide(folder: Path) -> Path:
    from tests.test_slides import written_vms

    return written_vms(folder)


SAMPLES: dict[str, Callable[[Path], Path]] = {"SLIDE": _slide}
"""Makes a file, in a folder, of a format that cannot be written."""
RECOGNIZED = [name for name, format in BY_NAME.items() if format.is_read and not format.marks]
"""Formats of one file that say what they are."""
SEVERAL = {"TIFF": "tif", "PNG": "png", "GIF": "gif", "WEBP": "webp", "AVIF": "avif", "JXL": "jxl"}
"""Formats whose files have pages or frames that others can write, by extension."""


def image(mode: str, dtype: str, size: tuple[int, int] = (83, 61)) -> imgrs.Image:
    smooth = Pillow.fromarray(pixels("uint8", 4, (12, 9))).resize(size, Pillow.Resampling.BICUBIC)
    if mode == "1":
        return imgrs.fromarray(np.asarray(smooth)[..., 0] > 100)
    img = imgrs.fromarray(np.asarray(smooth)).convert({"I;16": "L", "F": "L"}.get(mode, mode))
    return img.astype(dtype)


def encoder_of(format: Format, img: imgrs.Image) -> Encoder | None:
    """What would write an image; None where the format does not take it."""
    try:
        return format.encoder(img._node.spec, {}, {})
    except ImgrsError:
        return None


def holds(format: Format) -> list[tuple[str, str]]:
    """The kinds of image that a format takes."""
    return [kind for kind in KINDS if encoder_of(format, image(*kind)) is not None]


def usual_kind(format: Format) -> tuple[str, str]:
    """RGB if the format takes it, of the least depth that it takes."""
    return next((kind for kind in holds(format) if kind[0] == "RGB"), next(iter(holds(format)), ("RGB", "uint8")))


def large(format: Format, side: int = 700) -> imgrs.Image:
    """Noise in the format's usual kind: what cannot be packed, so that bytes can be counted."""
    side = min(side, getattr(format, "longest", side))
    data = np.random.default_rng(0).integers(0, 256, (side * 3 // 4, side, 3), np.uint8)
    mode, dtype = usual_kind(format)
    return imgrs.fromarray(data).convert(mode).astype(dtype)


def saved(format: Format, img: imgrs.Image, folder: Path, **options: Any) -> Path:
    path = folder / f"a{format.extensions[0]}"
    img.save(path, **{**EXACT.get(format.name, {}), **options})
    return path


def is_opened(format: Format) -> bool:
    return format.is_read or format.name in OPENERS or format.name in BY_CONTENT


def opened(format: Format, path: Path, img: imgrs.Image) -> imgrs.Image:
    return OPENERS[format.name](path, img) if format.name in OPENERS else imgrs.open(path)


def sample(format: Format, folder: Path) -> tuple[Path, imgrs.Image] | None:
    """A large file of a format, and the image that is in it; None where there is no file of it to be had."""
    if format.name in SAMPLES:
        path = SAMPLES[format.name](folder)
        return path, imgrs.open(path)
    img = large(format)
    if encoder_of(format, img) is None:
        return None
    path = saved(format, img, folder, **TILED.get(format.name, {}))
    return (path, opened(format, path, img)) if is_opened(format) else None


def reader_of(img: imgrs.Image) -> Reader:
    reader: Reader = img._node.op.reader  # type: ignore[attr-defined]  # it is an Open
    return reader


@contextmanager
def bytes_read() -> Iterator[list[int]]:
    """The length of each read of a file, or of one of a folder's, meanwhile."""
    read: list[int] = []
    real, inside = FileResource.read, LocalFolder.file

    def counted(self: FileResource, offset: int = 0, length: int | None = None) -> bytes:
        data = real(self, offset, length)
        read.append(len(data))
        return data

    def counted_inside(self: LocalFolder, name: str, start: int | None = None, end: int | None = None) -> Any:
        data = inside(self, name, start, end)
        read.append(len(data or b""))
        return data

    with mock.patch.object(FileResource, "read", counted), mock.patch.object(LocalFolder, "file", counted_inside):
        yield read


@contextmanager
def bytes_read_by_others(name: str) -> Iterator[list[int]]:
    """The bytes that the process reads meanwhile, for what openslide does; for other formats see ``bytes_read``."""
    read: list[int] = []
    if name == "SLIDE":  # libraries are loaded by another file
        with tempfile.TemporaryDirectory() as folder:
            imgrs.open(SAMPLES[name](Path(folder))).crop((0, 0, 50, 50)).compute()
    before = _process_reads()
    yield read
    if name == "SLIDE":
        read.append(_process_reads() - before)


def _process_reads() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def bytes_of(path: Path) -> int:
    return sum(len(content) for content in content_of(path))


def content_of(path: Path) -> list[bytes]:
    """The files of an image, which has its folder for itself."""
    return [file.read_bytes() for file in sorted(path.parent.rglob("*")) if file.is_file()]


# The columns


def header_only(format: Format, folder: Path) -> str:
    """Opening reads less than half of the file, and decodes nothing."""
    found = sample(format, folder)
    if found is None:
        return ""
    path, img = found
    undecoded = mock.patch.object(type(reader_of(img)), "read", side_effect=AssertionError("decoded"))
    with bytes_read() as read, bytes_read_by_others(format.name) as others, undecoded:
        opened(format, path, img)
    return "yes" if sum(read) + sum(others) < bytes_of(path) / 2 else ""


def region(format: Format, folder: Path) -> str:
    """A region is what the whole image has there, and takes less than a third of its bytes."""
    found = sample(format, folder)
    if found is None:
        return ""
    path, img = found
    box = (9, 7, img.width // 7, img.height // 10)
    with bytes_read() as read, bytes_read_by_others(format.name) as others:
        part = opened(format, path, img).crop(box).compute()
    np.testing.assert_array_equal(part, img.compute()[box[1] : box[3], box[0] : box[2]])
    if not reader_of(img).reads_regions:
        return ""
    return "yes" if sum(read) + sum(others) < bytes_of(path) / 3 else "decoding only"


def reduced(format: Format, folder: Path) -> str:
    """Each reduction that the reader offers looks like the image at that size."""
    size = (640, 480) if getattr(format, "longest", 640) >= 640 else (160, 120)
    img = image("RGB", "uint8", size)
    if encoder_of(format, img) is None or not is_opened(format):
        return ""
    reader = reader_of(opened(format, saved(format, img, folder), img))
    whole = reader.read(reader.spec.region)
    for shrink in reader.shrinks:
        spec = reader.shrunk(shrink)
        assert spec.size == (-(-size[0] // shrink), -(-size[1] // shrink))
        small = reader.read(spec.region, shrink).astype(int)
        if format.name == "JPEG2000":  # a wavelet's pixels are around the first of those that they stand for
            shift = shrink // 2
            wide = np.pad(whole, ((shift, 0), (shift, 0), (0, 0)), mode="edge")[: size[1], : size[0]]
        else:
            wide = whole
        expected = np.asarray(Pillow.fromarray(wide).resize(spec.size, Pillow.Resampling.BOX))
        assert np.abs(small - expected).mean() < 6, shrink  # a wavelet, or a table of cosines, is not a box
    return " ".join(f"1/{shrink}" for shrink in reader.shrinks[1:])


def pages(format: Format, folder: Path) -> str:
    """Each page, or frame, that another library wrote is read."""
    if format.name in SAMPLES:
        beside = imgrs.open(SAMPLES[format.name](folder))
        assert all(beside.page(i).compute().any() for i in range(beside.n_frames))
        return "yes" if beside.n_frames > 1 else ""
    if format.name not in SEVERAL and not format.marks:
        return ""
    frames = [np.full((40, 60, 3), 60 * i, np.uint8) for i in range(4)]
    path = folder / f"several.{SEVERAL.get(format.name, 'zarr')}"
    if format.marks:
        import zarr

        axes = [{"name": name, "type": "time" if name == "t" else "space"} for name in "tyx"]
        said = {
            "axes": axes,
            "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1] * 3}]}],
        }
        ome: Any = {"version": "0.5", "multiscales": [said]}
        group = zarr.open_group(path, mode="w", attributes={"ome": ome})
        group.create_array("0", data=np.stack(frames)[..., 0])
    elif format.name == "JXL":
        import imagecodecs

        path.write_bytes(imagecodecs.jpegxl_encode(np.stack(frames), lossless=True))
    else:
        options: dict[str, Any] = {"lossless": True} if format.name == "WEBP" else {}
        first, *rest = (Pillow.fromarray(frame) for frame in frames)
        first.save(path, save_all=True, append_images=rest, **options)
    img = imgrs.open(path)
    assert img.n_frames == 4
    for i, frame in enumerate(frames):
        seen = img.page(i).convert("RGB").compute().astype(int)
        assert np.abs(seen - frame).max() <= (2 if format.name == "AVIF" else 0)
    return "yes"


@contextmanager
def encoded(kind: type[TileEncoder]) -> Iterator[list[tuple[int, bool]]]:
    """The pixels of each encode meanwhile, and whether it was in a task of Dask's threads."""
    calls: list[tuple[int, bool]] = []
    real = kind.encode

    def seen(self: Any, region: Region, pixels: Any, level: int = 0) -> Any:
        calls.append((region.area, threading.current_thread() is not threading.main_thread()))
        return real(self, region, pixels, level)

    with mock.patch.object(kind, "encode", seen):
        yield calls


def in_pieces(format: Format) -> tuple[imgrs.Image, TileEncoder] | None:
    """An image that takes several encodes, and its encoder; None where the format is encoded at once."""
    img = large(format)
    encoder = encoder_of(format, img)
    if not isinstance(encoder, TileEncoder):
        return None
    # A task makes all copies of its piece, so pieces are large where there are copies.
    return (large(format, 2_500) if encoder.levels > 1 else img), encoder


def streamed(format: Format, folder: Path) -> str:
    """No encode sees the whole image."""
    found = in_pieces(format)
    if found is None:
        return ""
    img, encoder = found
    with encoded(type(encoder)) as calls:
        saved(format, img, folder, **TILED.get(format.name, {}), chunks=(64, 64), scheduler="sync")
    assert len(calls) > 1
    assert max(area for area, _ in calls) < img.width * img.height
    return "yes"


def parallel(format: Format, folder: Path) -> str:
    """Encoding is done by the tasks, and the file is the same as when one does it all."""
    found = in_pieces(format)
    if found is None:
        return ""
    img, encoder = found
    path = saved(format, img, folder, **TILED.get(format.name, {}), chunks=(64, 64), scheduler="sync")
    before = content_of(path)
    with encoded(type(encoder)) as calls:
        saved(format, img, folder, **TILED.get(format.name, {}), chunks=(64, 64), workers=3, scheduler="threads")
    assert len(calls) > 1
    assert all(in_a_task for _, in_a_task in calls)
    assert content_of(path) == before
    return "yes"


METADATA: dict[str, Any] = {
    "dpi": (300, 300),
    "icc_profile": profile(),
    "exif": b"",
    "xmp": b"<x/>",
    "text": {"a": "b"},
    "comment": b"a comment",
}


def metadata(format: Format, folder: Path) -> str:
    """What is written is read again, by us and, where Pillow knows the format, by Pillow; then it goes along."""
    return ", ".join(name for name in METADATA if survives(format, name, folder))


def survives(format: Format, name: str, folder: Path) -> bool:
    value, img = METADATA[name], image("RGB", "uint8")
    if name == "exif":
        exif = Pillow.Exif()
        exif[0x010F] = "a maker"
        value = exif.tobytes()
    try:
        path = saved(format, img, folder, **{name: value})
    except ImgrsError:
        return False
    if not is_opened(format):
        return False
    read = opened(format, path, img)
    if name not in read.info:
        return False
    assert_same(name, read.info[name], value)
    if format.name in Pillow.OPEN and name in ("dpi", "icc_profile", "exif"):
        # Of JPEG 2000 Pillow reads pixels only; of a TIFF it has EXIF elsewhere; of GIF and BMP it knows no profiles.
        elsewhere = (("TIFF", "exif"), ("GIF", "icc_profile"), ("BMP", "icc_profile"))
        assert name in Pillow.open(path).info or format.name == "JPEG2000" or (format.name, name) in elsewhere
    read.brightness(1).save(folder / f"b{format.extensions[0]}")
    assert_same(name, opened(format, folder / f"b{format.extensions[0]}", img).info[name], value)
    return True


def assert_same(name: str, found: Any, value: Any) -> None:
    if name == "dpi":
        assert [round(side) for side in found] == list(value)
    elif name == "exif":
        exif = Pillow.Exif()
        exif.load(found)
        assert exif[0x010F] == "a maker"
    elif name == "text":
        assert {**found, **value} == found
    else:
        assert found.rstrip(b"\0") == value


def unit(format: Format, folder: Path) -> str:
    """What is decoded at a time, to which the limit on bytes applies."""
    found = sample(format, folder)
    if found is None:
        return ""
    reader = reader_of(found[1])
    in_order = type(reader).strips is not Reader.strips or type(reader).decode_into is not Reader.decode_into
    if in_order and not reader.reads_regions:
        return "strip"  # from the top down
    if reader.unit == reader.spec.size:
        return "image"
    return (
        "row" if reader.unit == (reader.spec.width, 1) else "strip" if reader.unit[0] == reader.spec.width else "tile"
    )


def longest(format: Format, folder: Path) -> str:
    """One pixel more is refused at the call, before anything is computed."""
    most: int = getattr(format, "longest", 1 << 31)
    if most >= 1 << 31:
        return ""
    for size in ((most + 1, 1), (1, most + 1)):
        with pytest.raises(imgrs.ArgumentError, match=f"{most:,}"):
            imgrs.new("RGB", size).save(folder / f"a{format.extensions[0]}")
    assert encoder_of(format, imgrs.new("RGB", (most, most))) is not None
    return f"{most:,}"


def held(format: Format, folder: Path) -> str:
    """Every kind that the format takes comes back, as it was or close to it; others see the same."""
    depths: dict[str, list[str]] = {}
    for mode, dtype in holds(format):
        img = image(mode, dtype)
        if format.name == "GIF" and mode == "RGBA":  # whose pixels are opaque or clear
            data = img.compute()
            img = imgrs.fromarray(np.dstack([data[..., :3], np.where(data[..., 3] > 100, 255, 0).astype(np.uint8)]))
        path = saved(format, img, folder)
        if is_opened(format):
            read = opened(format, path, img)
            comes_back(format, img, read)
            others_see_it(format, path, read)
        depths.setdefault(dtype, []).append(mode)
    return "; ".join(f"{dtype}: {' '.join(modes)}" for dtype, modes in depths.items()) or "read only"


def comes_back(format: Format, img: imgrs.Image, read: imgrs.Image) -> None:
    assert read.format == BY_CONTENT.get(format.name, format.name)
    assert read.size == img.size
    assert read.dtype == img.dtype
    if format.name in CLOSE:
        difference = read.convert(img.mode).compute().astype(float) - img.compute()
        if read.mode == "RGBA":
            difference = difference[img.compute()[..., 3] > 0]  # what is not seen has no color
        assert np.abs(difference).mean() < CLOSE[format.name]
    else:
        assert read.mode == img.mode
        np.testing.assert_array_equal(read.compute(), img.compute(), f"{format.name} {img.mode} {img.dtype}")


def others_see_it(format: Format, path: Path, read: imgrs.Image) -> None:
    """Pillow reads 16-bit color at 8 bits, so deeper images are compared elsewhere."""
    if format.name not in Pillow.OPEN or read.dtype not in ("uint8", "bool"):
        return
    with Pillow.open(path) as seen:
        assert seen.format == format.name
        if seen.mode in ("P", "PA") or read.mode == seen.mode:
            np.testing.assert_array_equal(np.asarray(seen.convert(read.mode)), read.compute())


COLUMNS: dict[str, Callable[[Format, Path], str]] = {
    "holds": held,
    "header only": header_only,
    "region": region,
    "smaller": reduced,
    "pages": pages,
    "streamed": streamed,
    "parallel": parallel,
    "metadata": metadata,
    "decoded by": unit,
    "side": longest,
}
LEGEND = """\
Made by `python -m tests.test_formats`: each cell was tried on a file.

**Holds**: what is written, by depth; all of it is read again, if the format is.
**Header only**: opening reads a small part of the file.
**Region**: only what is needed is read and decoded. Elsewhere a file is decoded once per run. PNG and large baseline JPEG
are decoded by tasks in turn, from the top down, and rows are dropped when their tiles are done (decisions 12 and 13).
Others are decoded whole, and so are those with processes or on a cluster: into memory or, where that does not fit the
limit, into a scratch file. A large JPEG with restart markers, as it is saved here, has regions too.
**Smaller**: reductions that the decoder makes, for shrinking while loading.
**Pages**: `page=` and `n_frames`.
**Streamed**: written in memory that does not grow with the image; elsewhere the whole image is encoded at once.
**Parallel**: encoded by the tasks that make the pixels.
**Metadata**: what goes from a source to the file, a color profile where it is of the color space that is saved; what is
not listed stays behind, and a `MetadataWarning` tells of a profile other than sRGB's, and of an orientation.
**Decoded by**: what the limit `imgrs.max-decode-bytes` applies to.
**Side**: the most pixels a side.

`RAW` says nothing of itself: `imgrs.open_raw` reads it.
"""
LEGEND += f"TIFF is read with the compressions {', '.join(dict.fromkeys(COMPRESSIONS.values()))}.\n"
LEGEND += "`SLIDE` is what openslide reads, the extra `wsi`: also TIFFs whose tiles overlap.\n"


def legend() -> str:
    only = {"Read": "is_written", "Written": "is_read"}
    names = {how: [format.name for format in formats() if not getattr(format, lacks)] for how, lacks in only.items()}
    apart = [name for name in names["Written"] if name not in OPENERS and name not in BY_CONTENT]
    lines = [f"Written only: {', '.join(apart)}."] + [f"Read only: {', '.join(names['Read'])}."] * bool(names["Read"])
    return LEGEND + "\n".join(lines) + "\n"


OPTIONS = """\

## Options of `save`

What each takes, and in brackets what it is unless given; flags are True or False.
`dpi`, `icc_profile`, `exif` (also as Pillow's `Exif`), `xmp`, `text` and a JPEG's `comment` are the source's
unless given.
Every format takes `metadata=False`, which leaves those of the source out, and the engine's options
(`help(imgrs.options)`); those that are streamed take `resume=True`.
Those with `xmp` take `recipe=True`, which puts there how the image was made ([recipes](recipes.md)).

"""


def options(format: Format) -> str:
    """What the saves of a format may say."""
    described, plain_ = [], []
    for name, allowed in format.options.items():
        if name in METADATA:
            plain_.append(f"`{name}`")
            continue
        ranged = isinstance(allowed, tuple) and isinstance(allowed[0], int)
        takes = (
            ""
            if isinstance(allowed, type)
            else " to ".join(map(str, allowed))
            if ranged
            else ", ".join(map(str, allowed))
        )
        usual = format.usual.get(name, False if allowed is bool else None)
        shown = f" [{usual}]" if usual is not None else ""
        note = f" ({format.notes[name]})" if name in format.notes else ""
        described.append(f"`{name}` {takes}".rstrip() + shown + note)
    parts = "; ".join(described + [", ".join(plain_)] * bool(plain_))
    return parts or "none"


def said() -> list[str]:
    """The lines of all formats; those that say the same are one."""
    by_words: dict[str, list[str]] = {}
    for format in formats():
        if format.is_written:
            by_words.setdefault(options(format), []).append(f"**{format.name}**")
    return [f"- {', '.join(names)}: {words}." for words, names in by_words.items()]


def row(format: Format) -> str:
    cells = [format.name, " ".join(format.extensions)]
    for column in COLUMNS.values():
        with tempfile.TemporaryDirectory() as folder:
            cells.append(column(format, Path(folder)))
    return f"| {' | '.join(cells)} |"


def page() -> str:
    names = ["format", "extensions", *COLUMNS]
    lines = ["# Formats", "", legend(), f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    rows = [row(format) for format in formats()]
    return "\n".join([*lines, *rows]) + "\n" + OPTIONS + "\n".join(said()) + "\n"


def written_page() -> dict[str, list[str]]:
    """The cells of the page as it is in the repository, by format."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0]: cells[1:] for cells in rows}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", BY_NAME)
def test_each_cell_of_the_page(name: str, column: str, tmp_path: Path) -> None:
    cells = written_page()[name]
    assert cells[0] == " ".join(BY_NAME[name].extensions)
    assert COLUMNS[column](BY_NAME[name], tmp_path) == cells[1 + list(COLUMNS).index(column)]


def test_the_page_has_every_format_and_column() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert list(written_page()) == list(BY_NAME)
    assert legend() in text
    assert f"| format | extensions | {' | '.join(COLUMNS)} |" in text
    assert text.endswith(OPTIONS + "\n".join(said()) + "\n")


WRITTEN = [name for name, format in BY_NAME.items() if format.is_written]
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("TIFF", "quality"): {"compression": "jpeg"}, ("OME-TIFF", "quality"): {"compression": "jpeg"},
}  # fmt: skip
"""What must be said for an option to matter."""


@pytest.mark.parametrize("name", WRITTEN)
def test_the_options_of_the_page_are_those_that_the_format_takes(name: str) -> None:
    format = BY_NAME[name]
    spec = image(*usual_kind(format))._node.spec
    with pytest.raises(imgrs.ArgumentError, match="has no option 'nonsense'") as told:
        format.encoder(spec, {}, {"nonsense": 1})
    assert str(told.value).rpartition("it has ")[2].split(", ") == (sorted(format.options) or ["none"])
    assert set(format.usual) | set(format.notes) <= set(format.options)
    for option, allowed in format.options.items():
        beside = BESIDE.get((name, option), {})
        if not isinstance(allowed, tuple):
            continue
        for value in allowed:
            assert format.encoder(spec, {}, {**beside, option: value}) is not None
        refused = (allowed[0] - 1, allowed[1] + 1) if isinstance(allowed[0], int) else ("nonsense",)
        for value in refused:
            with pytest.raises(imgrs.ArgumentError, match=option):
                format.encoder(spec, {}, {**beside, option: value})


@pytest.mark.parametrize("name", WRITTEN)
def test_what_an_option_is_unless_given_changes_nothing_when_it_is_given(name: str, tmp_path: Path) -> None:
    format = BY_NAME[name]
    img = image(*usual_kind(format))
    for i, (option, allowed) in enumerate(format.options.items()):
        usual = format.usual.get(option, False if allowed is bool else None)
        if usual is not None:
            beside = BESIDE.get((name, option), {})
            written: list[list[bytes]] = []
            for given in (beside, {**beside, option: usual}):
                folder = tmp_path / f"{i}{len(written)}"
                folder.mkdir()
                img.save(folder / f"a{format.extensions[0]}", **given)
                written.append(content_of(folder / f"a{format.extensions[0]}"))
            assert written[0] == written[1], option


def test_the_help_on_save_says_what_the_formats_say() -> None:
    parts = re.findall(
        r"(TIFF|JPEG|PNG|WebP|AVIF|JPEG XL|Zarr): ((?:``\w+=[^`]+``[,\s]*)+)", imgrs.Image.save.__doc__ or ""
    )
    assert len(parts) == 7
    for name, words in parts:
        format = BY_NAME["JXL" if name == "JPEG XL" else name.upper()]
        for option, value in re.findall(r"``(\w+)=([^`]+)``", words):
            if option not in ("tile", "subsampling"):  # which depend on the image
                assert format.usual.get(option, False) == ast.literal_eval(value), (name, option)
            assert option in format.options


@pytest.mark.parametrize("extension", ["pgm", "ppm", "tga", "qoi", "ico", "jp2", "avif", "bmp"])
def test_files_of_others_are_read(extension: str, tmp_path: Path) -> None:
    wanted = image("L" if extension == "pgm" else "RGB", "uint8").to_pil()
    path = tmp_path / f"a.{extension}"
    wanted.save(path, **(dict[str, Any](sizes=[wanted.size]) if extension == "ico" else {}))
    seen = Pillow.open(path)
    img = imgrs.open(path)
    np.testing.assert_array_equal(img.compute(), np.asarray(seen.convert(img.mode)))


@pytest.mark.parametrize("name", [name for name in RECOGNIZED + list(OPENERS) if holds(BY_NAME[name])])
def test_file_objects_take_every_format(name: str, tmp_path: Path) -> None:
    mode, dtype = usual_kind(BY_NAME[name])
    file = io.BytesIO()
    image(mode, dtype).save(file, name)
    path = tmp_path / f"a{BY_NAME[name].extensions[0]}"
    image(mode, dtype).save(path)
    assert file.getvalue() == path.read_bytes()
    if name not in ("TGA", "RAW"):  # without a signature bytes alone may be anything
        for source in (file, file.getvalue(), bytearray(file.getvalue())):
            np.testing.assert_array_equal(imgrs.open(source).compute(), imgrs.open(path).compute())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
