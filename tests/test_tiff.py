"""Every kind of TIFF: read as tifffile, Pillow, GDAL, libvips and openslide read it, or refused with the way out."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import pyvips
import rasterio
import rasterio.shutil
import tifffile
from PIL import Image as Pillow
from rasterio.enums import Resampling

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError, TruncatedImageError, UnsupportedFormatError
from imgrs.io.format import Reader
from imgrs.io.resource import FileResource
from imgrs.io.tiff import read as tiff_module
from tests.test_files import pixels
from tests.tiffs import jpeg, ndpi, page, tiff

Array = npt.NDArray[Any]


def smooth(bands: int, size: tuple[int, int] = (150, 100)) -> Array:
    picture = Pillow.fromarray(pixels("uint8", 4, (16, 12))).resize(size, Pillow.Resampling.BICUBIC)
    data = np.asarray(picture)[..., :bands]
    return np.ascontiguousarray(data[..., 0] if bands == 1 else data)


def of_dtype(data: Array, dtype: str) -> Array:
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    scaled: Array = data.astype(dtype) * np.asarray(scale, dtype)
    return scaled


def reader_of(source: Any) -> Reader:
    reader: Reader = imgrs.open(source)._node.op.reader  # type: ignore[attr-defined]  # it is an Open
    return reader


def check(source: Any, expected: Array) -> None:
    """The pixels are those, whole and in part, and in another process's copy of the reader."""
    reader = pickle.loads(pickle.dumps(reader_of(source)))
    img = imgrs.open(source)
    assert img.dtype == expected.dtype
    np.testing.assert_array_equal(img.compute(), expected)
    np.testing.assert_array_equal(img.crop((11, 7, 59, 40)).compute(), expected[7:40, 11:59])
    np.testing.assert_array_equal(reader.read(reader.spec.region).reshape(expected.shape), expected)


def close(source: Any, expected: Array, most: int) -> None:
    got = imgrs.open(source).compute()
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).max() <= most


def written_by_gdal(path: Path, data: Array, **options: Any) -> Array:
    """Write through GDAL; returns what it reads again, the bands last."""
    stack = np.atleast_3d(data)
    height, width, bands = stack.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=data.dtype.name, **options
    ) as file:
        file.write(np.moveaxis(stack, 2, 0))
    with rasterio.open(path) as file:
        read: Array = np.moveaxis(file.read(), 0, 2)
    return read[..., 0] if bands == 1 else read


# Compressions

LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (48, 64)}, "strips": {"rowsperstrip": 7}, "one strip": {"rowsperstrip": 100},
    "planes": {"planarconfig": "separate", "tile": (48, 64)}, "big": {"bigtiff": True},
    "byte order": {"byteorder": ">", "rowsperstrip": 30},
}  # fmt: skip
ANY_KIND = [(dtype, bands) for dtype in ("uint8", "uint16", "float32") for bands in (1, 2, 3, 4)]
INTEGERS = [(dtype, bands) for dtype, bands in ANY_KIND if dtype != "float32"]
CASES = [
    *(
        (name, ANY_KIND)
        for name in ("none", "packbits", "lzw", "adobe_deflate", "deflate", "zstd", "lzma", "jpegxl", "lerc")
    ),
    *((name, [("uint8", 3), ("uint16", 1), ("float32", 4)]) for name in ("zstd_deprecated", "jpegxl_dng")),
    *((name, INTEGERS) for name in ("jpeg2000", "png")),
    *((name, [("uint8", 3), ("uint16", 1)]) for name in ("aperio_jp2000_rgb", "jpeg_2000_lossy")),
    *((name, [("uint8", 3), ("uint8", 4)]) for name in ("webp", "webp_deprecated")),
    *((name, [("uint8", 1), ("uint8", 3), ("uint8", 4), ("uint16", 3)]) for name in ("jpegxr", "jpegxr_ndpi")),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("compression", "kinds"), CASES)
def test_compressions_without_loss(compression: str, kinds: list[tuple[str, int]], layout: str, tmp_path: Path) -> None:
    for dtype, bands in kinds:
        if layout == "planes" and (bands == 1 or "webp" in compression):
            continue
        if layout == "byte order" and compression in ("png", "jpegxl", "jpegxl_dng", "lerc", "jpegxr", "jpegxr_ndpi"):
            continue  # tifffile does not write it, and the streams have orders of their own
        data = of_dtype(smooth(bands), dtype)
        path = tmp_path / f"{dtype}{bands}.tif"
        exact = {"webp": {"lossless": True}, "jpegxl": {"lossless": True}, "jpegxr": {"level": 1.0}}
        tifffile.imwrite(
            path,
            np.moveaxis(data, 2, 0) if layout == "planes" else data,
            compression=None if compression == "none" else compression,
            compressionargs=next((exact[name] for name in exact if compression.startswith(name)), None),
            photometric="rgb" if bands > 2 else "minisblack",
            extrasamples=["unassalpha"] if bands in (2, 4) else None,
            **LAYOUTS[layout],
        )
        check(path, data)
        assert imgrs.open(path).mode == {1: {"uint8": "L", "uint16": "I;16", "float32": "F"}[dtype], 2: "LA", 3: "RGB",
                                         4: "RGBA"}[bands]  # fmt: skip


@pytest.mark.parametrize("endianness", ["BIG", "LITTLE"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("compress", ["lzw", "deflate", "zstd", "lzma"])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("uint16", 2), ("float32", 2), ("float32", 3)])
def test_predictors(
    dtype: str, predictor: int, compress: str, interleave: str, endianness: str, tmp_path: Path
) -> None:
    data = of_dtype(smooth(3), dtype)
    for tiled in (False, True):
        options: dict[str, Any] = {"tiled": True, "blockxsize": 64, "blockysize": 48} if tiled else {}
        path = tmp_path / f"{tiled}.tif"
        written_by_gdal(
            path, data, compress=compress, predictor=predictor, interleave=interleave, endianness=endianness, **options
        )
        check(path, data)


def test_a_predictor_without_its_compressions_is_overlooked(tmp_path: Path) -> None:
    data = smooth(1)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff({**page(150, 100, [8], 1, 1, data.size), 317: (3, [2])}, data.tobytes()))
    np.testing.assert_array_equal(np.asarray(Pillow.open(path)), data)
    check(path, data)


@pytest.mark.parametrize("compress", ["lerc", "lerc_deflate", "lerc_zstd"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_lerc_of_gdal(interleave: str, compress: str, tmp_path: Path) -> None:
    holes = of_dtype(smooth(3), "float32")
    holes[10:30, 20:70] = np.nan
    some = holes.copy()
    some[50, 60, 1] = np.nan
    masked = np.dstack((smooth(3), (smooth(1) > 100) * np.uint8(255)))  # libtiff makes such alpha a mask
    opaque = np.dstack((smooth(3), np.full((100, 150), 255, np.uint8)))
    for i, data in enumerate((holes, some, holes[..., 0], smooth(3), of_dtype(smooth(4), "uint16"), masked, opaque)):
        path = tmp_path / f"{i}.tif"
        options = {"photometric": "rgb", "alpha": "yes"} if data.shape[2:] == (4,) and data.dtype == np.uint8 else {}
        check(path, written_by_gdal(path, data, compress=compress, interleave=interleave, **options))


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("reversed_bits", [False, True])
@pytest.mark.parametrize("options", [0, 1, 4, 5])
@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_deflate", "group3", "group4", "tiff_ccitt"])
def test_bilevel_images(
    compression: str, options: int, reversed_bits: bool, white_is_zero: bool, tmp_path: Path
) -> None:
    data = smooth(1) > 100
    path = tmp_path / "a.tif"
    tags = {266: 1 + reversed_bits, 262: int(not white_is_zero)} | ({292: options} if compression == "group3" else {})
    Pillow.fromarray(data).save(path, compression=compression, tiffinfo=tags)
    with tifffile.TiffFile(path) as file:
        assert (file.pages[0].fillorder == 2, file.pages[0].photometric == 0) == (reversed_bits, white_is_zero)
    check(path, data)
    assert imgrs.open(path).info["compression"] == compression.replace("tiff_deflate", "tiff_adobe_deflate")


@pytest.mark.parametrize("compress", ["lzw", "ccittfax4", "none"])
def test_bilevel_tiles_of_gdal(compress: str, tmp_path: Path) -> None:
    data = (smooth(1) > 100).astype(np.uint8)
    read = written_by_gdal(
        tmp_path / "a.tif", data, nbits=1, compress=compress, tiled=True, blockxsize=64, blockysize=48
    )
    check(tmp_path / "a.tif", read > 0)


# JPEG

JPEGS: dict[str, tuple[int, dict[str, Any]]] = {
    "gray": (1, {"photometric": "minisblack"}),
    "gray and alpha": (2, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    "4:4:4": (3, {"photometric": "rgb", "subsampling": (1, 1)}),
    "4:2:2": (3, {"photometric": "rgb", "subsampling": (2, 1)}),
    "4:2:0": (3, {"photometric": "rgb", "subsampling": (2, 2)}),
}


@pytest.mark.parametrize("layout", [{"tile": (48, 64)}, {"rowsperstrip": 16}])
@pytest.mark.parametrize("kind", JPEGS)
def test_jpegs(kind: str, layout: dict[str, Any], tmp_path: Path) -> None:
    bands, options = JPEGS[kind]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth(bands), compression="jpeg", **options, **layout)
    check(path, np.asarray(Pillow.open(path)))
    np.testing.assert_array_equal(imgrs.open(path).compute(), tifffile.imread(path))
    other = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[259].valueoffset
    other[tag : tag + 2] = (33007).to_bytes(2, "little")  # another number for the same
    check(bytes(other), tifffile.imread(io.BytesIO(other)))


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 48}])
@pytest.mark.parametrize("photometric", ["ycbcr", "rgb", "cmyk", "planes", "alpha"])
def test_jpegs_of_gdal_with_tables(photometric: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    more: dict[str, Any] = {"photometric": photometric}
    if photometric == "planes":
        more = {"photometric": "rgb", "interleave": "band"}
    elif photometric == "alpha":
        more = {"photometric": "rgb", "alpha": "unspecified"}
    written_by_gdal(path, smooth(4 if photometric in ("cmyk", "alpha") else 3), compress="jpeg", **more, **options)
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].jpegtables
    img = imgrs.open(path)
    seen = Pillow.open(path)
    if photometric == "alpha":
        assert img.mode == "multiband"  # what the fourth sample is, is not said
        with rasterio.open(path) as file:
            check(path, np.moveaxis(file.read(), 0, 2))
        return
    assert img.mode == seen.mode
    check(path, np.asarray(seen))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("tagged", ["strip", "stream", "both"])
def test_old_style_jpegs(tagged: str, subsampling: int, tmp_path: Path) -> None:
    data = jpeg(smooth(3), subsampling=subsampling)
    expected = np.asarray(Pillow.open(io.BytesIO(data)))
    tags = {**page(150, 100, [8, 8, 8], 6, 6, len(data)), 513: (4, [8]), 514: (4, [len(data)]), 530: (3, [1, 1])}
    if tagged == "strip":  # behind the headers, as libtiff wants it
        tags[273] = (4, [8 + data.index(b"\xff\xda")])
    elif tagged == "stream":
        del tags[273], tags[279]
    check(tiff(tags, data), expected)
    if tagged != "stream":
        path = tmp_path / "a.tif"
        path.write_bytes(tiff(tags, data))
        seen = np.asarray(Pillow.open(path).convert("RGB"))
        assert np.abs(seen.astype(int) - expected).mean() < 3  # libtiff does not smooth chroma there
        del tags[513]
        with pytest.raises(UnsupportedFormatError, match="in pieces"):
            imgrs.open(tiff(tags, data))


# Depths and palettes


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 7, 9, 10, 12, 14, 15])
def test_few_bits_are_scaled_to_the_full_range(bits: int, bands: int, tmp_path: Path) -> None:
    full = smooth(bands) >> (8 - bits) if bits < 8 else of_dtype(smooth(bands), "uint16") >> (16 - bits)
    path = tmp_path / "a.tif"
    stored = written_by_gdal(path, full, nbits=bits, photometric="rgb" if bands == 3 else "minisblack", compress="lzw")
    np.testing.assert_array_equal(stored, full)
    most = 255 if bits < 8 else 65_535
    check(path, np.floor(full / (2**bits - 1) * most + 0.5).astype(full.dtype))
    if bits in (2, 4) and bands == 1:
        written_by_gdal(path, full, nbits=bits)
        np.testing.assert_array_equal(np.asarray(Pillow.open(path)), imgrs.open(path).compute())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(bits: int, tmp_path: Path) -> None:
    index = smooth(1) >> (8 - bits)
    colors = np.random.default_rng(bits).integers(0, 256, (2**bits, 3))
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=150, height=100, count=1, dtype="uint8", nbits=bits, photometric="palette"
    ) as file:
        file.write_colormap(1, {i: tuple(int(v) for v in color) for i, color in enumerate(colors)})
        file.write(index[None])
    expected = colors.astype(np.uint8)[index]
    check(path, expected)
    np.testing.assert_array_equal(np.asarray(Pillow.open(path).convert("RGB")), expected)


def test_palettes_of_sixteen_bits_keep_the_high_bytes(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 65_536, (3, 65_536)).astype(np.uint16)
    index = of_dtype(smooth(1), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colors)
    check(tmp_path / "a.tif", (colors >> 8).astype(np.uint8).T[index])
    tifffile.imwrite(tmp_path / "b.tif", smooth(1), photometric="palette", colormap=colors[:, :256])
    expected = np.asarray(Pillow.open(tmp_path / "b.tif").convert("RGB"))
    check(tmp_path / "b.tif", expected)
    tifffile.imwrite(tmp_path / "c.tif", smooth(1), photometric="palette", colormap=colors[:, :256] >> 8)
    check(tmp_path / "c.tif", (colors[:, :256] >> 8).astype(np.uint8).T[smooth(1)])  # a map that stops at 255


@pytest.mark.parametrize("options", [{}, {"compress": "deflate", "predictor": 3}])
def test_half_floats_become_floats(options: dict[str, Any], tmp_path: Path) -> None:
    data = of_dtype(smooth(3), "float32")
    stored = written_by_gdal(tmp_path / "a.tif", data, nbits=16, photometric="rgb", **options)
    check(tmp_path / "a.tif", stored)
    assert np.abs(stored - data).max() < 1e-3


REFUSED: dict[str, tuple[Callable[[], Array], dict[str, Any], str]] = {
    "float64": (lambda: np.zeros((8, 8)), {}, "64 bits.*fromarray"),
    "int16": (lambda: np.zeros((8, 8), np.int16), {}, "signed.*16 bits.*fromarray"),
    "uint32": (lambda: np.zeros((8, 8), np.uint32), {}, "32 bits.*fromarray"),
    "complex": (lambda: np.zeros((8, 8), np.complex64), {}, "complex.*fromarray"),
    "lab": (lambda: smooth(3), {"photometric": "cielab"}, r"L\*a\*b\*.*fromarray"),
    "cfa": (lambda: smooth(1), {"photometric": "cfa"}, "raw sensor"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_held_names_the_way_out(kind: str, tmp_path: Path) -> None:
    data, options, message = REFUSED[kind]
    path = tmp_path / "refused.tif"
    tifffile.imwrite(path, data(), **options)
    with pytest.raises(UnsupportedFormatError, match=rf"refused\.tif: .*{message}"):
        imgrs.open(path)


def test_what_no_library_writes_is_refused() -> None:
    data = smooth(1)
    known = page(150, 100, [8], 1, 1, data.size)
    tables: list[tuple[dict[int, Any], str]] = [
        ({259: (3, [34676])}, "compression.*34676.*deflate"),
        ({32997: (4, [3])}, "volumes of 3 slices"), ({259: (3, [5]), 317: (3, [34892])}, "predictor 34892"),
        ({259: (3, [4])}, "fax compression"), ({262: (3, [3])}, "without a palette"),
        ({258: (3, [5, 6, 5]), 277: (3, [3]), 262: (3, [2])}, "unusual samples"),
        ({262: (3, [6]), 258: (3, [8] * 3), 277: (3, [3]), 530: (3, [3, 1])}, r"subsampled by \(3, 1\)"),
        ({322: (4, [16]), 323: (4, [0]), 324: (4, [8]), 325: (4, [9])}, "tiles of 16x0"),
    ]  # fmt: skip
    for tags, message in tables:
        with pytest.raises(ImgrsError, match=message):
            imgrs.open(tiff({**known, **tags}, data.tobytes()))


# Color


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_luma_and_chroma_become_rgb(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Pillow.fromarray(smooth(3)).convert("YCbCr").save(path, compression=compression)
    close(path, np.asarray(Pillow.open(path).convert("RGB")), 1)
    assert imgrs.open(path).mode == "RGB"


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("size", [(150, 100), (149, 97)])
@pytest.mark.parametrize(("across", "down"), [(2, 2), (2, 1), (1, 2), (4, 1), (4, 2), (4, 4)])
def test_chroma_that_pixels_share(
    across: int, down: int, size: tuple[int, int], compression: int, tmp_path: Path
) -> None:
    (width, height), rows = size, 48
    full = np.asarray(Pillow.fromarray(smooth(3, size)).convert("YCbCr"))
    wide = np.pad(full, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    luma = wide[..., 0].reshape(-1, down, wide.shape[1] // across, across).swapaxes(1, 2)
    blocks = np.concatenate((luma.reshape(*luma.shape[:2], -1), wide[::down, ::across, 1:]), axis=2)
    encode: dict[int, Callable[[bytes], bytes | bytearray]] = {1: bytes, 5: imagecodecs.lzw_encode, 8: imagecodecs.zlib_encode,
              32773: imagecodecs.packbits_encode}  # fmt: skip
    strips = [encode[compression](blocks[i : i + rows // down].tobytes()) for i in range(0, len(blocks), rows // down)]
    tags = page(width, height, [8, 8, 8], 6, compression, 0)
    tags |= {278: (4, [rows]), 279: (4, [len(strip) for strip in strips]), 530: (3, [across, down])}
    tags[273] = (4, [8 + sum(map(len, strips[:i])) for i in range(len(strips))])
    tags[532] = (5, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1])
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(tags, b"".join(strips)))
    close(path, pyvips.Image.new_from_file(str(path)).numpy()[..., :3], 1)


def test_samples_beside_color(tmp_path: Path) -> None:
    data = smooth(4)
    path = tmp_path / "a.tif"
    modes = {"unspecified": "multiband", "unassalpha": "RGBA", "assocalpha": "RGBA"}
    for extra, mode in modes.items():
        tifffile.imwrite(path, data, photometric="rgb", extrasamples=[extra])
        assert imgrs.open(path).mode == mode
        if extra != "assocalpha":
            check(path, data)
    tags = page(150, 100, [8] * 4, 2, 1, data.size)
    assert imgrs.open(tiff(tags, data.tobytes())).mode == "RGBA"  # not said, as Pillow takes it
    five = np.dstack((data, data[..., 0]))
    tifffile.imwrite(path, five, photometric="minisblack", planarconfig="contig")
    check(path, five)
    assert imgrs.open(path).mode == "multiband"
    tifffile.imwrite(path, data, photometric="separated")
    check(path, data)
    assert imgrs.open(path).mode == Pillow.open(path).mode == "CMYK"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_color_that_was_multiplied_by_alpha(dtype: str, tmp_path: Path) -> None:
    straight = of_dtype(pixels("uint8", 4), dtype).astype(np.float64)
    full = {"uint8": 255, "uint16": 65_535, "float32": 1}[dtype]
    alpha = straight[..., 3:] / full
    stored = straight * np.concatenate((np.repeat(alpha, 3, axis=2), np.ones_like(alpha)), axis=2)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.round(stored, 0 if full > 1 else 9).astype(dtype), photometric="rgb", extrasamples=["assocalpha"]
    )
    got = imgrs.open(path).compute().astype(np.float64)
    opaque = alpha[..., 0] > 0.05
    assert np.abs(got - straight)[opaque].max() < full * 0.05


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_may_be_zero(dtype: str, tmp_path: Path) -> None:
    data = of_dtype(smooth(1), dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.iinfo(dtype).max - data, photometric="miniswhite")
    check(path, data)
    if dtype == "uint8":
        np.testing.assert_array_equal(np.asarray(Pillow.open(path)), data)


# Layout


@pytest.mark.parametrize("nodata", [None, 77])
def test_tiles_that_are_left_out(nodata: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "sparse_ok": True, "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", width=150, height=100, count=1, dtype="uint8", **options) as file:
        file.write(smooth(1)[None, :64, :64], window=((0, 64), (0, 64)))
    with rasterio.open(path) as file:
        check(path, file.read(1))


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 4_000])
def test_rows_as_they_are_stored_are_read_alone(rows: int, planes: bool, tmp_path: Path, monkeypatch: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (4_000, 700, 3), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(data, 2, 0) if planes else data,
        photometric="rgb",
        rowsperstrip=rows,
        planarconfig="separate" if planes else "contig",
    )
    img = imgrs.open(path)
    read = []
    real = FileResource.read

    def counted(self: FileResource, offset: int = 0, length: int | None = None) -> bytes:
        found = real(self, offset, length)
        read.append(len(found))
        return found

    monkeypatch.setattr(FileResource, "read", counted)
    np.testing.assert_array_equal(img.crop((100, 2_000, 200, 2_010)).compute(), data[2_000:2_010, 100:200])
    assert sum(read) < 7_000_000
    assert len(read) < 10
    monkeypatch.undo()
    np.testing.assert_array_equal(img.compute(), data)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("options", [{"compression": "lzw", "predictor": True}, {"compression": "jpeg"}])
def test_large_strips_are_decoded_once_and_in_order(
    options: dict[str, Any], planes: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    data = smooth(3, (600, 500))
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(data, 2, 0) if planes else data,
        photometric="rgb",
        rowsperstrip=96,
        planarconfig="separate" if planes else "contig",
        **options,
    )
    expected = imgrs.open(path).compute()
    assert reader_of(path).reads_regions
    monkeypatch.setattr(tiff_module, "LARGEST_SHARED", 10_000)
    img = imgrs.open(path)
    assert not reader_of(path).reads_regions
    for limit in ({}, {"memory_limit": "800KiB", "workers": 1, "chunks": (64, 64)}):
        np.testing.assert_array_equal(img.compute(**limit), expected)
    np.testing.assert_array_equal(img.crop((5, 100, 300, 420)).compute(), expected[100:420, 5:300])


@pytest.mark.parametrize(
    "compression", ["lzw", "zstd", "packbits", "lzma", "jpeg", "webp", "jpeg2000", "jpegxl", "png", "lerc", "jpegxr"]
)
def test_short_tiles_are_no_pixels(compression: str, tmp_path: Path) -> None:
    """The tile ends within the file, and its data before its pixels do."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth(3, (64, 64)), photometric="rgb", compression=compression, tile=(64, 64))
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[325]
        length = file.pages[0].databytecounts[0]
    data[tag.valueoffset : tag.valueoffset + 4] = (length * 2 // 3).to_bytes(4, "little")
    with pytest.raises(CorruptImageError, match="tile 0 at"):
        imgrs.open(bytes(data)).compute()


def test_damaged_lzw_does_not_end_the_process() -> None:
    """A code beyond its table, where imagecodecs 2026.3 reads beyond its own."""
    good = imagecodecs.lzw_encode(smooth(1).tobytes())
    rng = np.random.default_rng(0)
    for _ in range(200):
        bad = bytearray(good)
        bad[1:3] = rng.integers(0, 256, 2, np.uint8).tobytes()
        with pytest.raises(CorruptImageError, match="strip 0"):
            imgrs.open(tiff(page(150, 100, [8], 1, 5, len(bad)), bytes(bad))).compute()


def test_decoders_that_end_are_errors() -> None:
    """Those of LERC, by a table of codes that is wrong behind a checksum that is right, and of JPEG XR, by chance."""
    data = smooth(3, (64, 48))
    blob = bytearray(imagecodecs.lerc_encode(data))
    assert blob[78:86] == bytes.fromhex("0400000000010000")  # a Huffman table of 256 codes
    blob[43], blob[83] = 32, 0
    low = high = 0xFFFF
    for i in range(14, len(blob), 2):  # Fletcher's sum, as LERC has it
        low += int.from_bytes(blob[i : i + 2].ljust(2, b"\0"), "big")
        high += low
    blob[10:14] = ((high % 0xFFFF or 0xFFFF) << 16 | (low % 0xFFFF or 0xFFFF)).to_bytes(4, "little")
    source = tiff(page(64, 48, [8] * 3, 2, 34887, len(blob)), bytes(blob))
    with pytest.raises(CorruptImageError, match=r"strip 0 at .*decoder ended"):
        imgrs.open(source).compute()
    good = bytes(imagecodecs.jpegxr_encode(data, level=1.0))
    check_small = imgrs.open(tiff(page(64, 48, [8] * 3, 2, 34934, len(good)), good)).compute
    rng = np.random.default_rng(1)
    for _ in range(100):
        bad = bytearray(good)
        bad[int(rng.integers(200))] = int(rng.integers(256))
        with contextlib.suppress(CorruptImageError):
            imgrs.open(tiff(page(64, 48, [8] * 3, 2, 34934, len(bad)), bytes(bad))).compute()
    np.testing.assert_array_equal(check_small(), data)


@pytest.mark.parametrize("compression", ["jpeg2000", "jpegxl", "webp", "png", "jpeg", "lerc", "jpegxr"])
def test_a_tile_cannot_hold_more_than_its_tables_say(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth(3, (256, 256)), photometric="rgb", compression=compression, tile=(256, 256))
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for tag in (256, 257, 322, 323):
            at = file.pages[0].tags[tag].valueoffset
            data[at : at + 2] = (64).to_bytes(2, "little")
    with pytest.raises(CorruptImageError, match=r"tile 0.*image"):
        imgrs.open(bytes(data)).compute()


# Pages


def test_many_pages_are_not_walked_when_one_is_opened(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for i in range(3_000):
            file.write(np.full((4, 4), i % 251, np.uint8), contiguous=False, metadata=None)
    reads = []
    real = FileResource.read

    def counted(self: FileResource, offset: int = 0, length: int | None = None) -> bytes:
        reads.append(length)
        return real(self, offset, length)

    monkeypatch.setattr(FileResource, "read", counted)
    img = imgrs.open(path)
    assert len(reads) < 30
    assert img.page(100).compute()[0, 0] == 100
    assert len(reads) < 400
    assert img.n_frames == 3_000
    count = len(reads)
    assert [img.page(i).compute()[0, 0] for i in (0, 2_999, 1_500)] == [0, 2_999 % 251, 1_500 % 251]
    assert len(reads) < count + 50  # the chain is known by now


@pytest.mark.parametrize(("length", "back"), [(1, 0), (3, 1), (250, 120)])
def test_pages_in_a_circle(length: int, back: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for i in range(length):
            file.write(np.full((4, 4), i, np.uint8), contiguous=False, metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
    link = offsets[-1] + 2 + 12 * int.from_bytes(data[offsets[-1] : offsets[-1] + 2], "little")
    for target, message in (
        (offsets[back], f"circle: behind page {length - 1} comes page {back}"),
        (1 << 30, "beyond"),
    ):
        data[link : link + 4] = target.to_bytes(4, "little")
        img = imgrs.open(bytes(data))
        assert img.page(length - 1).compute()[0, 0] == length - 1
        with pytest.raises(CorruptImageError, match=message):
            img.page(length)
        with pytest.raises(CorruptImageError, match=message):
            _ = img.n_frames


@pytest.mark.parametrize("shape", [(5, 40, 30), (4, 40, 30, 3), (2, 3, 40, 30)])
def test_a_stack_of_imagej_in_one_page(shape: tuple[int, ...], tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, imagej=True, truncate=True, photometric="rgb" if shape[-1] == 3 else None)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
        planes = file.asarray().reshape(-1, *file.pages[0].shape)
    img = imgrs.open(path)
    assert img.n_frames == len(planes) > 1
    for i, plane in enumerate(planes):
        np.testing.assert_array_equal(img.page(i).compute(), plane)
    assert len({img.page(i).key for i in range(len(planes))}) == len(planes)
    with pytest.raises(ArgumentError, match=f"from 0 to {len(planes) - 1}"):
        img.page(len(planes))
    path.write_bytes(path.read_bytes()[: -planes[0].nbytes])
    with pytest.raises(TruncatedImageError, match="beyond"):
        imgrs.open(path).page(len(planes) - 1).compute()


# Pyramids, OME, slides


def check_levels(path: Path, levels: list[Array]) -> None:
    """Every level is found, and is what another reads there."""
    reader = reader_of(path)
    assert len(reader.shrinks) == len(levels)
    for shrink, level in zip(reader.shrinks, levels, strict=True):
        np.testing.assert_array_equal(reader.read(reader.shrunk(shrink).region, shrink), level)


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("compression", ["none", "deflate", "lzw", "webp", "jpeg"])
def test_pyramids_of_libvips(compression: str, inner: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options = {"compression": compression, "lossless": compression == "webp", "pyramid": True, "subifd": inner}
    pyvips.Image.new_from_array(smooth(3, (900, 700))).tiffsave(
        str(path), tile=True, tile_width=128, tile_height=128, **options
    )
    name = "subifd" if inner else "page"
    levels = [pyvips.Image.new_from_file(str(path), **{name: i - inner}).numpy() for i in range(4)]
    check_levels(path, levels)


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
def test_pyramids_of_gdal_with_masks(driver: str, tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.tif", tmp_path / "a.tif"
    data = smooth(3, (900, 700))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        options = {"tiled": True, "blockxsize": 128, "blockysize": 128, "photometric": "rgb"}
        with rasterio.open(
            plain, "w", driver="GTiff", width=900, height=700, count=3, dtype="uint8", **options
        ) as file:
            file.write(np.moveaxis(data, 2, 0))
            file.write_mask(data[..., 0] > 100)
        if driver == "COG":
            rasterio.shutil.copy(plain, path, driver="COG", compress="zstd", blocksize=128)
        else:
            plain.rename(path)
            with rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4, 8], Resampling.average)
    with rasterio.open(path) as file:
        count = len(file.overviews(1))
        assert count == 3
    levels = [data]
    for level in range(count):
        with rasterio.open(path, overview_level=level) as file:
            levels.append(np.moveaxis(file.read(), 0, 2))
    check_levels(path, levels)
    assert imgrs.open(path).n_frames == 2 * len(levels)
    check(path, data)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "jpegxl"}])
def test_ome_tiffs(options: dict[str, Any], tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 65_536, (2, 3, 128, 96), np.uint16)
    path = tmp_path / "a.ome.tif"
    told = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "GFP"]}, "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True, **({"bigtiff": True} if "bigtiff" in options else {})) as file:
        more = {"tile": (32, 32), "compression": options.get("compression")}
        file.write(data, subifds=2, metadata={**told, "Name": "cells"}, **more)
        for step in (2, 4):
            file.write(data[..., ::step, ::step], subfiletype=1, **more)
        file.write(data[0, 0], metadata={"axes": "YX"}, **more)
    img = imgrs.open(path)
    assert img.n_frames == 7
    for i, plane in enumerate(data.reshape(-1, 128, 96)):
        np.testing.assert_array_equal(img.page(i).compute(), plane)
        reader = img.page(i)._node.op.reader  # type: ignore[attr-defined]  # it is an Open
        assert reader.shrinks == (1, 2, 4)
        np.testing.assert_array_equal(reader.read(reader.shrunk(4).region, 4)[..., 0], plane[::4, ::4])
    found = img.metadata["ome"]
    assert {name: found[name] for name in ("SizeX", "SizeY", "SizeZ", "SizeC", "SizeT")} == {
        "SizeX": 96, "SizeY": 128, "SizeZ": 3, "SizeC": 2, "SizeT": 1,
    }  # fmt: skip
    assert (found["Name"], found["Channels"], found["Type"]) == ("cells", ["DAPI", "GFP"], "uint16")
    assert (found["PhysicalSizeX"], found["PhysicalSizeXUnit"]) == (0.25, "µm")


def test_ome_xml_that_may_grow_without_end_is_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a0 "x">{entities}]><OME><Image Name="&a11;"/></OME>'
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth(1), description=bomb, metadata=None)
    with pytest.raises(CorruptImageError, match=r"a\.tif: its OME-XML declares a document type"):
        imgrs.open(path)
    tifffile.imwrite(path, smooth(1), description="<OME><Image Name='a'>", metadata=None)
    assert imgrs.open(path).metadata["description"].startswith("<OME>")
    tifffile.imwrite(path, smooth(1), description="<OME><Image></OME>", metadata=None)
    assert "ome" not in imgrs.open(path).info
    check(path, smooth(1))


def written_svs(path: Path, data: Array, compression: str) -> None:
    """A slide as Aperio's scanners lay it out; ``compression`` is tifffile's name."""

    def tiled(level: Array, description: str) -> None:
        if compression == "aperio_jp2000_ycbc":
            level = np.asarray(Pillow.fromarray(level).convert("YCbCr"))
        options: dict[str, Any] = {"tile": (240, 240), "photometric": "rgb", "compression": compression}
        file.write(level, description=f"Aperio Image Library v10\n{description}", metadata=None, **options)

    def beside(image: Array, description: str, **options: Any) -> None:
        text = f"Aperio Image Library v10\n{description}"
        file.write(image, description=text, photometric="rgb", rowsperstrip=16, metadata=None, **options)

    with tifffile.TiffWriter(path) as file:
        tiled(data, "|AppMag = 20|MPP = 0.499")
        beside(data[::10, ::10], "-> thumbnail", compression="jpeg")
        tiled(np.ascontiguousarray(data[::4, ::4]), "level")
        beside(data[:50, :40], "label 40x50", compression="lzw", subfiletype=1)
        beside(data[:60, :90], "macro 90x60", compression="jpeg", subfiletype=9)


@pytest.mark.parametrize("compression", ["jpeg", "aperio_jp2000_rgb", "aperio_jp2000_ycbc"])
def test_slides_of_aperio(compression: str, tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    path = tmp_path / "a.svs"
    written_svs(path, smooth(3, (900, 700)), compression)
    slide = openslide.OpenSlide(path)
    img, reader = imgrs.open(path), reader_of(path)
    assert img.format == "TIFF"
    assert reader.shrinks == (1, 4)
    for level, shrink in enumerate(reader.shrinks):
        seen = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))
        got = reader.read(reader.shrunk(shrink).region, shrink)
        assert np.abs(got.astype(int) - seen).max() <= (compression == "aperio_jp2000_ycbc")
    images = {img.page(i).info["name"]: img.page(i) for i in range(img.n_frames)}
    assert list(images) == ["baseline", "thumbnail", "level", "label", "macro"]
    assert "AppMag = 20" in img.info["description"]
    for name in ("thumbnail", "label", "macro"):
        seen = np.asarray(slide.associated_images[name].convert("RGB"))
        np.testing.assert_array_equal(images[name].compute(), seen)


def test_slides_of_hamamatsu(tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    data = smooth(3, (1_024, 512))
    small = np.ascontiguousarray(data[::4, ::4])
    path = tmp_path / "a.ndpi"
    path.write_bytes(ndpi([(data, 20.0, 8), (small, 5.0, 4), (data[:64, :96].copy(), -1.0, 0)]))
    assert openslide.OpenSlide.detect_format(path) == "hamamatsu"
    slide = openslide.OpenSlide(path)
    img, reader = imgrs.open(path), reader_of(path)
    check(path, np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")))
    check(path.read_bytes(), img.compute())
    assert reader.unit == (128, 8)
    assert reader.shrinks == (1, 4)
    expected = Pillow.open(io.BytesIO(jpeg(small, restart_marker_blocks=8, subsampling=0)))
    np.testing.assert_array_equal(reader.read(reader.shrunk(4).region, 4), np.asarray(expected))
    assert img.n_frames == 3
    assert img.page(2).info["name"] == "macro"
    np.testing.assert_array_equal(img.page(2).compute(), np.asarray(slide.associated_images["macro"].convert("RGB")))


# Metadata


@pytest.mark.parametrize("big", [False, True])
def test_exif_of_a_tiff_goes_along(big: bool, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0132], exif[0x0112] = "Maker", "2024:05:06 07:08:09", 6
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0x9003: "2024:05:06 07:08:10", 0x8827: 200, 0x9286: b"ASCII\0\0\0ab"})
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 30.0, 15.5)})
    path = tmp_path / "a.tif"
    Pillow.fromarray(smooth(3)).save(path, exif=exif.tobytes(), dpi=(300, 300), big_tiff=big)
    img = imgrs.open(path)
    assert img.metadata["exif"]["Make"] == "Maker"
    assert img.metadata["exif"]["GPSInfo"]["GPSLatitude"] == [47, 30, 15.5]
    img.save(tmp_path / "a.jpg")
    img.invert().save(tmp_path / "b.tif")
    for name in ("a.jpg", "b.tif"):
        found = Pillow.open(tmp_path / name).getexif()
        assert (found[0x010F], found[0x0132], found[0x0112]) == ("Maker", "2024:05:06 07:08:09", 6)
        inner, place = found.get_ifd(0x8769), found.get_ifd(0x8825)
        assert (float(inner[0x829A]), inner[0x9003], inner[0x8827], inner[0x9286]) == (
            0.01, "2024:05:06 07:08:10", 200, b"ASCII\0\0\0ab",
        )  # fmt: skip
        assert (place[1], tuple(map(float, place[2]))) == ("N", (47.0, 30.0, 15.5))
    found = Pillow.open(tmp_path / "a.jpg").getexif()
    assert not {256, 257, 258, 273, 279} & set(found)  # how the TIFF was stored is not carried
    assert imgrs.open(path, orient=True).size == (100, 150)


def test_what_a_page_says(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for i in range(2):
            tags = [(285, "s", 0, f"page {i}", True)]
            file.write(smooth(1), description=f"the {i}", extratags=tags, metadata=None)
    for i in range(2):
        info = imgrs.open(path, page=i).info
        assert (info["name"], info["description"], info["compression"]) == (f"page {i}", f"the {i}", "raw")
    assert "exif" not in imgrs.open(path).info
