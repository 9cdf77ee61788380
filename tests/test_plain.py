"""Formats of plain samples (Netpbm's, PFM, NPY, raw): every kind of header, any region, and no more bytes than needed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError, TruncatedImageError, UnsupportedFormatError
from tests.test_files import pixels
from tests.test_formats import KINDS, bytes_read, image

Array = npt.NDArray[Any]


def cut_anywhere(img: imgrs.Image, expected: Array) -> None:
    """The image, and regions of it at every corner and across bytes of bits, are what they should be."""
    np.testing.assert_array_equal(img.compute(), expected)
    width, height = img.size
    for box in [(0, 0, 1, 1), (3, 2, 9, 5), (7, 0, 8, height), (width - 3, height - 2, width, height)]:
        np.testing.assert_array_equal(img.crop(box).compute(), expected[box[1] : box[3], box[0] : box[2]])


def test_pgms_of_any_depth_are_scaled_to_the_full_range() -> None:
    img = imgrs.open(b"P5 # a comment\n3 1\n# another\n100\n" + bytes((0, 50, 100)))
    np.testing.assert_array_equal(img.compute(), [[0, 128, 255]])
    img = imgrs.open(b"P5\n2 1\n4095\n" + np.array([0, 4095], ">u2").tobytes())
    np.testing.assert_array_equal(img.compute(), [[0, 65535]])
    with pytest.raises(TruncatedImageError, match="needs 29 bytes, the file has 13"):
        imgrs.open(b"P5\n2 9\n255\nab")


@pytest.mark.parametrize(
    "header",
    [
        b"P5\nx", b"P4\n8\n", b"P2 1 1 ", b"P5 0 1 255\n", b"P5 1 1 65536\n",
        b"P7\nWIDTH 3\n", b"P7\nWIDTH x\nENDHDR\n", b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n1",
        b"PF\n3 2\n", b"PF\n3 2\n1.2.3\n", b"Pf 0 1 -1\n",
    ],
)  # fmt: skip
def test_damaged_headers_are_refused(header: bytes) -> None:
    with pytest.raises(CorruptImageError):
        imgrs.open(header)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 83])
def test_bits(width: int, tmp_path: Path) -> None:
    data = np.random.default_rng(width).random((11, width)) < 0.5
    for extension in ("pbm", "bmp"):
        path = tmp_path / f"a.{extension}"
        imgrs.fromarray(data).save(path, chunks=(16, 4))
        with Pillow.open(path) as seen:
            assert seen.mode == "1"
            np.testing.assert_array_equal(np.asarray(seen), data)
    Pillow.fromarray(data).save(tmp_path / "b.pbm")
    assert (tmp_path / "b.pbm").read_bytes() == (tmp_path / "a.pbm").read_bytes()
    img = imgrs.open(tmp_path / "b.pbm")
    assert img.mode == "1"
    np.testing.assert_array_equal(img.compute(), data)
    for left in range(min(width, 9)):
        np.testing.assert_array_equal(img.crop((left, 3, width, 9)).compute(), data[3:9, left:])


@pytest.mark.parametrize("kind", ["1", "L", "RGB"])
def test_samples_as_text(kind: str, tmp_path: Path) -> None:
    """OpenCV writes the three formats of text, and Pillow reads them."""
    data = pixels("uint8", 3 if kind == "RGB" else 1, (37, 21))
    path = tmp_path / {"1": "a.pbm", "L": "a.pgm", "RGB": "a.ppm"}[kind]
    if kind == "1":
        data = np.where(data > 100, 255, 0).astype(np.uint8)
    assert cv2.imwrite(str(path), data[..., ::-1] if kind == "RGB" else data, [cv2.IMWRITE_PXM_BINARY, 0])
    assert path.read_bytes()[1:2] in b"123"
    img = imgrs.open(path)
    assert img.mode == kind
    with Pillow.open(path) as seen:
        cut_anywhere(img, np.asarray(seen))
    np.testing.assert_array_equal(img.convert("L" if kind == "1" else kind).compute(), data)


def test_text_has_comments_and_any_blanks() -> None:
    img = imgrs.open(b"P2#c\n2\t2 # and\n10\n0 5\n#more 9 9\n\n10\r\n 3 trailing")
    np.testing.assert_array_equal(img.compute(), [[0, 128], [255, 77]])
    np.testing.assert_array_equal(imgrs.open(b"P1\n3 2\n101\n0 1#1\n0").compute(), [[0, 1, 0], [1, 0, 1]])
    with pytest.raises(ImgrsError):
        imgrs.open(b"P2 2 2 10 1 2 x 4").compute()
    with pytest.raises(CorruptImageError, match="zeros and ones"):
        imgrs.open(b"P1 2 2 1 0 2 0").compute()
    with pytest.raises(CorruptImageError, match=r"65,535"):
        imgrs.open(b"P2 2 1 65535 70000 0").compute()
    for text in (b"P2 200 200 10 1 2", b"P3 2 1 255 1 2 3 4 5       "):
        with pytest.raises(TruncatedImageError):
            imgrs.open(text).compute()


@pytest.mark.parametrize(
    ("tuples", "depth", "mode"),
    [("GRAYSCALE", 1, "L"), ("GRAYSCALE_ALPHA", 2, "LA"), ("RGB", 3, "RGB"), ("RGB_ALPHA", 4, "RGBA"), ("CMYK", 4, "CMYK"),
     ("", 1, "L"), ("", 4, "RGBA"), ("OTHER", 7, "multiband")],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pams(tuples: str, depth: int, mode: str, dtype: str) -> None:
    data = pixels(dtype, depth, (19, 13)).reshape(13, 19, depth)
    most = np.iinfo(dtype).max
    head = f"P7\n# comment\nDEPTH {depth}\nWIDTH 19\nHEIGHT 13\nMAXVAL {most}\nTUPLTYPE {tuples}\nENDHDR\n".encode()
    img = imgrs.open(head + data.astype(">u2" if dtype == "uint16" else "u1").tobytes())
    assert img.mode == ("I;16" if (mode, dtype) == ("L", "uint16") else mode)
    cut_anywhere(img, data[..., 0] if depth == 1 else data)


def test_pams_of_bits() -> None:
    img = imgrs.open(b"P7\nWIDTH 3\nHEIGHT 1\nDEPTH 1\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE\nENDHDR\n\1\0\1")
    assert img.mode == "1"
    np.testing.assert_array_equal(img.compute(), [[True, False, True]])
    img = imgrs.open(b"P7\nWIDTH 1\nHEIGHT 2\nDEPTH 2\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE_ALPHA\nENDHDR\n\1\0\0\1")
    np.testing.assert_array_equal(img.compute(), [[[255, 0]], [[0, 255]]])
    with pytest.raises(UnsupportedFormatError, match="RGB pixels with 4"):
        imgrs.open(b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\nabcd")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_others_read_pams(mode: str, tmp_path: Path) -> None:
    """OpenCV hands on a PAM's samples in the order of the file."""
    image(mode, "uint8").save(tmp_path / "a.pam")
    seen = cv2.imread(str(tmp_path / "a.pam"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(seen, image(mode, "uint8").compute())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bands", [1, 3])
def test_pfms_of_both_byte_orders(bands: int, order: str, tmp_path: Path) -> None:
    data = pixels("float32", bands, (19, 13)) * 3 - 1
    head = f"{'PF' if bands == 3 else 'Pf'}\n19 13\n{'-' if order == '<' else ''}1.0\n".encode()
    cut_anywhere(imgrs.open(head + data[::-1].astype(f"{order}f4").tobytes()), data)
    imgrs.fromarray(data).save(tmp_path / "a.pfm", chunks=(16, 4))
    seen: Any = cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(seen if bands == 1 else seen[..., ::-1], data)
    cv2.imwrite(str(tmp_path / "b.pfm"), data if bands == 1 else data[..., ::-1])
    cut_anywhere(imgrs.open(tmp_path / "b.pfm"), data)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4", ">f4", "?"])
@pytest.mark.parametrize("bands", [1, 3, 4, 6])
def test_npys_of_both_byte_orders(bands: int, dtype: str) -> None:
    kind = np.dtype(dtype)
    if dtype == "?":
        bands = 1
    data = pixels("uint8", bands) > 100 if dtype == "?" else pixels(kind.newbyteorder("=").name, bands)
    file = io.BytesIO()
    np.save(file, data.astype(kind))
    img = imgrs.open(file)
    assert img.dtype == kind.newbyteorder("=")
    cut_anywhere(img, data)


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((3, 4), "i2"), np.zeros((3, 4), "f8"), np.zeros((3, 4), "c8"), np.zeros((3, 4, 2, 2), "u1"), np.zeros(3, "u1"),
        np.zeros((0, 4), "u1"), np.asfortranarray(np.zeros((3, 4), "u1")),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images_are_refused(data: Array) -> None:
    file = io.BytesIO()
    np.save(file, data)
    with pytest.raises(UnsupportedFormatError, match="an image is a C-ordered array"):
        imgrs.open(file)
    file.seek(0)
    file.truncate()
    np.save(file, np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(UnsupportedFormatError):
        imgrs.open(file)


def test_raw_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    for mode, dtype in KINDS:
        img = image(mode, dtype)
        img.save(path, chunks=(16, 16))
        data = img.compute()
        assert path.read_bytes() == data.astype(data.dtype.newbyteorder("<")).tobytes()
        read = imgrs.open_raw(path, mode, img.size, dtype=dtype)
        assert read.mode == mode
        assert read.format == "RAW"
        cut_anywhere(read, data)
        (tmp_path / "b").write_bytes(b"head" + data.astype(data.dtype.newbyteorder(">")).tobytes() + b"tail")
        cut_anywhere(imgrs.open_raw(tmp_path / "b", mode, img.size, dtype=data.dtype.newbyteorder(">"), offset=4), data)
    np.testing.assert_array_equal(imgrs.open_raw(bytes(range(6)), "RGB", (2, 1)).compute(), [[[0, 1, 2], [3, 4, 5]]])


def test_raw_images_of_one_file_are_told_apart() -> None:
    data = bytes(range(48))
    ways: list[dict[str, Any]] = [
        {"mode": "RGB", "size": (4, 2)}, {"mode": "RGB", "size": (2, 4)}, {"mode": "RGB", "size": (4, 2), "offset": 1},
        {"mode": "RGB", "size": (4, 2), "dtype": "<u2"}, {"mode": "RGB", "size": (4, 2), "dtype": ">u2"},
    ]  # fmt: skip
    images = [imgrs.open_raw(data, **way) for way in ways]
    assert len({img.key for img in images}) == len(ways)
    first, second = images[3], images[4]
    np.testing.assert_array_equal(
        (first - second).compute(), np.maximum(first.compute().astype(int) - second.compute(), 0)
    )


def test_what_raw_samples_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(TruncatedImageError, match="needs 16 bytes, the file has 6"):
        imgrs.open_raw(bytes(6), "RGB", (2, 2), offset=4)
    wrong: list[tuple[str, tuple[int, int], str | None, str]] = [
        ("X", (1, 1), None, "mode"), ("L", (0, 1), None, "size"), ("L", (1, 1), "int16", "dtype"),
        ("L", (1, 1), "uint16", "'I;16'"), ("RGB", (1, 1), "bool", "bool"),
    ]  # fmt: skip
    for mode, size, dtype, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            imgrs.open_raw(bytes(9), mode, size, dtype=dtype)
    with pytest.raises(ArgumentError, match="offset"):
        imgrs.open_raw(bytes(9), "L", (1, 1), offset=-1)
    with pytest.raises(imgrs.ImageNotFoundError):
        imgrs.open_raw(tmp_path / "none.raw", "L", (1, 1))
    image("RGB", "uint8").save(tmp_path / "a.raw")
    with pytest.raises(UnsupportedFormatError, match="open_raw"):
        imgrs.open(tmp_path / "a.raw")


def test_narrow_regions_of_wide_images_do_not_read_whole_rows(tmp_path: Path) -> None:
    data = np.arange(40 * 100_000, dtype=np.uint32).astype(np.uint16).reshape(40, 100_000)
    for extension in ("npy", "pgm", "raw"):
        path = tmp_path / f"a.{extension}"
        imgrs.fromarray(data).save(path)
        img = imgrs.open(path) if extension != "raw" else imgrs.open_raw(path, "I;16", (100_000, 40))
        with bytes_read() as read:
            np.testing.assert_array_equal(img.crop((70_000, 9, 70_050, 19)).compute(), data[9:19, 70_000:70_050])
        assert sum(read) == 10 * 50 * 2
        with bytes_read() as read:
            np.testing.assert_array_equal(img.crop((0, 9, 99_000, 19)).compute(), data[9:19, :99_000])
        assert sum(read) == 10 * 99_000 * 2
    with bytes_read() as read:
        np.testing.assert_array_equal(
            imgrs.open(tmp_path / "a.npy").crop((70_000, 9, 70_050, 19)).compute(scheduler="processes"),
            data[9:19, 70_000:70_050],
        )
