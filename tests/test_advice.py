"""What an error says to do works: each way out of a save that is refused is taken, and the save then done."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgrs
from imgrs.image import Image
from imgrs.io import formats
from tests.samples import picture

DEPTHS = ("bool", "uint8", "uint16", "float32")
BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "multiband": 5}
KINDS = [f"{layout} {dtype}" for layout in BANDS for dtype in DEPTHS]
WRITTEN = [format for format in formats() if format.is_written]
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    *((format.name, format.extensions[0], {}) for format in WRITTEN),
    ("TIFF", ".tif", {"compression": "jpeg"}),
    ("TIFF", ".tif", {"compression": "webp"}),
    ("DZI", ".dzi", {"tile_format": "jpg"}),
    ("DZI", ".dzi", {"tile_format": "png"}),
]
CALLS = re.compile(r"(?:\w+\([^()]*\)\.)*\w+\([^()]*\)")


def image(kind: str) -> Image:
    """A picture of that layout and depth, opaque where it has alpha: GIF has no other."""
    layout, dtype = kind.split()
    array = picture(BANDS[layout]).reshape(61, 83, -1)
    if layout.endswith("A"):
        array[..., -1] = 255
    bands = [imgrs.fromarray(array[..., i].copy()) for i in range(array.shape[2])]
    img = imgrs.merge(layout, [band.convert("1") if dtype == "bool" else band.astype(dtype) for band in bands])
    assert str(img.dtype) == dtype
    return img


def follow(img: Image, path: Path, format: str, options: dict[str, Any], steps: int) -> None:
    """Save, by what errors say to do first, in every way that they offer, at most ``steps`` times."""
    try:
        img.save(path, format, **options)
    except imgrs.ArgumentError as error:
        advice = str(error).rpartition("; ")[2]
    else:
        return
    assert steps, advice
    if advice == "save as lossless TIFF or ZARR, or choose bands with split() and imgrs.merge()":
        img.save(path.with_name("b.zarr"))
        follow(img, path.with_name("b.tif"), "TIFF", {}, 1)
        follow(imgrs.merge("RGB", img.split()[:3]), path, format, options, 2)
        return
    ways = CALLS.findall(advice)
    assert len(ways) == (2 if "alpha" in advice else 1), advice
    for way in ways:
        follow(eval(f"img.{way}", {"img": img}), path, format, options, steps - 1)


@pytest.mark.parametrize(
    ("format", "extension", "options"), VARIANTS, ids=[f"{name} {options or ''}" for name, _, options in VARIANTS]
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_format_cannot_hold_can_be_saved_as_the_error_says(
    kind: str, format: str, extension: str, options: dict[str, Any], tmp_path: Path
) -> None:
    twice = "compression" in options and "bool" in kind  # TIFF is asked first, then the compression
    follow(image(kind), tmp_path / f"a{extension}", format, options, 2 if twice else 1)


@pytest.mark.parametrize("extension", [".png", ".jpg", ".tif", ".pfm", ".zarr", ".dzi"])
def test_a_statistic_is_to_be_computed_where_only_images_are_held(extension: str, tmp_path: Path) -> None:
    for statistic in (image("RGB uint8").mean(), image("L uint8").histogram()):
        with pytest.raises(imgrs.ArgumentError, match=r"; compute\(\) gives (its|their) numbers$"):
            statistic.save(tmp_path / f"a{extension}")


@pytest.mark.parametrize(
    ("kind", "extension", "advice"),
    [
        ("RGB uint8", ".pfm", 'PFM cannot hold RGB images of uint8; astype("float32") first'),
        ("L uint16", ".jpg", 'JPEG cannot hold I;16 images of uint16; astype("uint8") first'),
        ("L float32", ".png", 'PNG cannot hold F images of float32; astype("uint8") first'),
        ("L uint16", ".webp", 'WEBP cannot hold I;16 images of uint16; astype("uint8").convert("RGB") first'),
        ("L bool", ".webp", 'WEBP cannot hold 1 images of bool; convert("RGB") first'),
        (
            "RGBA uint8",
            ".jpg",
            "JPEG cannot hold RGBA images of uint8; remove_transparency() first, which lays it onto a color, or "
            'convert("RGB"), which drops its alpha',
        ),
    ],
)
def test_a_refused_save_names_the_shortest_way_out(kind: str, extension: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(imgrs.ArgumentError) as raised:
        image(kind).save(tmp_path / f"a{extension}")
    assert str(raised.value) == f"save: {advice}"


def test_transparency_of_gray_images_is_laid_onto_white_unless_told_otherwise() -> None:
    array = picture(2)
    array[..., 1] = 0
    img = imgrs.fromarray(array).remove_transparency()
    assert img.mode == "L"
    assert np.unique(img.compute()).tolist() == [255]


@pytest.mark.parametrize("upper", ["L uint8", "LA uint16", "RGB uint16", "RGBA uint8", "RGBA float32"])
@pytest.mark.parametrize("lower", ["L uint8", "LA float32", "RGB uint8", "RGBA uint16"])
def test_images_that_do_not_fit_over_each_other_do_after_what_the_error_says(lower: str, upper: str) -> None:
    base, over = image(lower), image(upper)
    try:
        base.blend("normal", over)
    except imgrs.ArgumentError as error:
        advice = re.findall(r"(\w+\([^()]*\)) the (upper|lower) one", str(error).rpartition("; ")[2])
    else:
        return
    assert 1 <= len(advice) <= 2
    for way, which in advice:
        if which == "upper":
            over = eval(f"over.{way}", {"over": over})
        else:
            base = eval(f"base.{way}", {"base": base})
    assert base.blend("normal", over).dtype == image(lower).dtype


def test_images_of_two_depths_are_added_after_what_the_error_says() -> None:
    with pytest.raises(imgrs.ArgumentError, match=r'; astype\("uint8"\) the second one first$'):
        image("RGB uint8") + image("RGB uint16")
    with pytest.raises(imgrs.ArgumentError, match=r"the upper one's size and depth, got 83x61 I;16 uint16$"):
        image("RGB uint8").blend("normal", image("RGB uint8"), image("L uint16"))


def test_a_verb_of_color_says_what_to_do_with_many_bands_and_with_bits() -> None:
    with pytest.raises(imgrs.ArgumentError, match=r"; choose bands with split\(\) and imgrs\.merge\(\) first$"):
        image("multiband uint8").saturate(2)
    with pytest.raises(imgrs.ArgumentError, match=r'; astype\("uint8"\) first$'):
        image("RGB bool").saturate(2)


@pytest.mark.parametrize(
    ("extension", "wrong", "right"),
    [
        (".jpg", "qualty", "quality"),
        (".jpg", "memory_limt", "memory_limit"),
        (".png", "Compress_Level", "compress_level"),
        (".bmp", "metdata", "metadata"),
        (".tif", "resme", "resume"),
        (".zarr", "receipe", "recipe"),
        (".jpg", "worker", "workers"),
        (".png", "bandwidth", None),
    ],
)
def test_a_misspelled_option_is_told_with_the_one_that_is_meant(
    extension: str, wrong: str, right: str | None, tmp_path: Path
) -> None:
    given: dict[str, Any] = {wrong: 1}
    question = rf" \(did you mean '{right}'\?\)" if right else ""
    with pytest.raises(imgrs.ArgumentError, match=rf"^save: \w+ has no option '{wrong}'{question}; it has "):
        image("RGB uint8").save(tmp_path / f"a{extension}", **given)
    image("RGB uint8").save(tmp_path / "a.png")
    with pytest.raises(imgrs.ArgumentError, match=rf"^batch: there is no option '{wrong}'{question}; \w+ has "):
        imgrs.batch(tmp_path / "a.png", None, str(tmp_path / f"b/{{stem}}{extension}"), **given)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("crop(10, 10, 20, 20)", "crop((10, 10, 20, 20))"),
        ("resize(40, 30)", "resize((40, 30))"),
        ("thumbnail(40, 30)", "thumbnail((40, 30))"),
        ("curve((0, 0), (255, 200))", "curve(((0, 0), (255, 200)))"),
        ("convolve([0, 1, 0], [1, 2, 1], [0, 1, 0])", "convolve(([0, 1, 0], [1, 2, 1], [0, 1, 0]))"),
        ("color_matrix((1, 0, 0), (0, 1, 0), (0, 0, 1))", "color_matrix(((1, 0, 0), (0, 1, 0), (0, 0, 1)))"),
    ],
)
def test_arguments_that_are_meant_as_one_are_told_as_what_to_write(wrong: str, right: str) -> None:
    starts = [image("RGB uint8")] if "thumbnail" in wrong else [image("RGB uint8"), imgrs.pipeline()]
    for start in starts:
        with pytest.raises(
            imgrs.ArgumentTypeError, match=rf"^{wrong.partition('(')[0]}: .*; write {re.escape(right)}$"
        ):
            eval(f"x.{wrong}", {"x": start})
        eval(f"x.{right}", {"x": start})


@pytest.mark.parametrize("wrong", ["crop(10, 10)", "brightness(1, 2)", "levels(200, 100)", "blur(1, 2, 3)"])
def test_arguments_that_make_no_sense_as_one_are_not(wrong: str) -> None:
    with pytest.raises(imgrs.ArgumentError) as raised:
        eval(f"x.{wrong}", {"x": image("RGB uint8")})
    assert "write" not in str(raised.value)
