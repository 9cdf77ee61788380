"""Damaged files of every format: pixels or a clear error, never a crash, a library's own exception, or a long wait.

``IMGRS_DAMAGED_FILES=1000 pytest tests/test_damage.py`` tries more of each format than an ordinary run.
"""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import imgrs
from imgrs.errors import ImgrsError, TruncatedImageError
from imgrs.io import formats
from tests.test_formats import image

FILES = int(os.environ.get("IMGRS_DAMAGED_FILES", "60"))
OUTCOMES = {"pixels", "CorruptImageError", "TruncatedImageError", "UnsupportedFormatError", "LimitError"}
NAMES = [format.name for format in formats() if format.is_read and format.is_written and not format.marks]


def content(name: str) -> bytes:
    file = io.BytesIO()
    image("RGB", "uint8", (200, 150)).save(file, name)
    return file.getvalue()


def tried(data: bytes, expected: npt.NDArray[Any] | None = None) -> str:
    """What became of a damaged file: its error's name, ``"pixels"``, or ``"intact"`` for those that are expected.

    Anything but our own errors propagates.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of what they repair
        try:
            img = imgrs.open(data)
            if img.width * img.height > 1 << 24:
                img = img.crop((0, 0, min(img.width, 64), min(img.height, 64)))
            pixels = img.compute(memory_limit="1GiB")
        except ImgrsError as error:
            return type(error).__name__ if str(error) else "an error without a message"
    return "intact" if expected is not None and np.array_equal(pixels, expected) else "pixels"


@pytest.mark.parametrize("name", NAMES)
def test_flipped_bits(name: str) -> None:
    good, rng = content(name), np.random.default_rng(1)
    assert tried(good) == "pixels"
    for i in range(FILES):
        bad = bytearray(good)
        reach = len(good) if i % 2 else min(len(good), 300)  # half of them in the header
        for _ in range(1 + i % 3):
            bad[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
        assert tried(bytes(bad)) in OUTCOMES


@pytest.mark.parametrize("name", NAMES)
def test_extreme_bytes_in_the_header(name: str) -> None:
    good, rng = content(name), np.random.default_rng(2)
    for _ in range(FILES):
        bad = bytearray(good)
        at = int(rng.integers(min(len(good) - 4, 200)))
        bad[at : at + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\1\0\0\0"][int(rng.integers(4))]
        assert tried(bytes(bad)) in OUTCOMES


@pytest.mark.parametrize("name", NAMES)
def test_truncated_files(name: str) -> None:
    good, rng = content(name), np.random.default_rng(3)
    expected = imgrs.open(good).compute()
    outcomes = {tried(good[: int(length)], expected) for length in rng.integers(1, len(good) - 1, FILES)}
    assert outcomes <= OUTCOMES - {"pixels"} | {"intact"}  # what stands behind the pixels may be missing
    if name in ("PNG", "JPEG", "NPY", "PPM"):
        assert TruncatedImageError.__name__ in outcomes
