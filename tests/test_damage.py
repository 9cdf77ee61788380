"""Damaged files of every kind: an error, or the right pixels where the format can tell; never a crash or a long wait.

``IMGRS_DAMAGED_FILES=1000 pytest tests/test_damage.py`` tries more of each kind than an ordinary run.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import numpy as np
import pytest
import tifffile

from tests.hostile import png_chunks
from tests.samples import SAMPLES
from tests.test_formats import BY_NAME, RECOGNIZED, holds, image, usual_kind
from tests.trial import Trial

FILES = int(os.environ.get("IMGRS_DAMAGED_FILES", "20"))
ERRORS = {"CorruptImageError", "TruncatedImageError", "UnsupportedFormatError", "LimitError"}
OUTCOMES = ERRORS | {"pixels"}


def _ours(name: str) -> Callable[[], bytes]:
    """A file of a format as we write it."""

    def made() -> bytes:
        file = io.BytesIO()
        image(*usual_kind(BY_NAME[name])).save(file, name)
        return file.getvalue()

    return made


KINDS = SAMPLES | {f"{name} of ours": _ours(name) for name in RECOGNIZED if holds(BY_NAME[name])}
CHECKED = [name for name in KINDS if name.startswith(("PNG", "TIFF zlib"))]
"""Kinds whose pixels have checksums."""


@pytest.mark.parametrize("name", KINDS)
def test_flipped_bits(name: str, trial: Trial) -> None:
    good, rng = KINDS[name](), np.random.default_rng(1)
    assert trial.tried(good).kind in ("pixels", "UnsupportedFormatError")
    for i in range(FILES):
        bad = bytearray(good)
        reach = len(good) if i % 2 else min(len(good), 300)  # half of them in the header
        for _ in range(1 + i % 3):
            bad[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
        outcome = trial.tried(bytes(bad), on_error=("raise", "fill")[i // 2 % 2])
        assert outcome.kind in OUTCOMES, f"{name}, {i}: {outcome.kind}: {outcome.message}"


@pytest.mark.parametrize("name", KINDS)
def test_extreme_bytes_in_the_header(name: str, trial: Trial) -> None:
    good, rng = KINDS[name](), np.random.default_rng(2)
    for i in range(FILES):
        bad = bytearray(good)
        at = int(rng.integers(min(len(good) - 4, 200)))
        bad[at : at + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\1\0\0\0"][int(rng.integers(4))]
        outcome = trial.tried(bytes(bad), on_error=("raise", "fill")[i % 2])
        assert outcome.kind in OUTCOMES, f"{name}, {i}: {outcome.kind}: {outcome.message}"


@pytest.mark.parametrize("name", CHECKED)
def test_no_pixel_is_wrong_where_there_are_checksums(name: str, trial: Trial) -> None:
    good, rng = KINDS[name](), np.random.default_rng(3)
    expected = trial.tried(good).pixels
    coded = coded_bytes(good)
    for i in range(FILES):
        bad = bytearray(good)
        bad[int(rng.choice(coded))] ^= 1 << i % 8
        outcome = trial.tried(bytes(bad))
        assert outcome.kind in OUTCOMES, f"{name}, {i}: {outcome.kind}: {outcome.message}"
        if outcome.kind == "pixels":
            np.testing.assert_array_equal(outcome.pixels, expected)


def coded_bytes(data: bytes) -> list[int]:
    """Where a file holds its first image's compressed pixels, and in a PNG their checksums."""
    if data[:4] == b"\x89PNG":
        chunks = [(at, length + 4) for kind, at, length in png_chunks(data) if kind == b"IDAT"]
    else:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            chunks = list(zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True))
    return [at + i for at, length in chunks for i in range(length)]


@pytest.mark.parametrize("name", KINDS)
def test_truncated_files(name: str, trial: Trial) -> None:
    """An error, unless all pixels are still there; and when filled, each pixel is right or 0."""
    good, rng = KINDS[name](), np.random.default_rng(4)
    expected = trial.tried(good).pixels
    if expected is None:
        pytest.skip("not supported")
    for length in rng.integers(1, len(good) - 1, FILES):
        outcome = trial.tried(good[:length])
        assert outcome.kind in OUTCOMES, f"{name}, {length}: {outcome.kind}: {outcome.message}"
        if outcome.kind == "pixels":
            np.testing.assert_array_equal(outcome.pixels, expected)
        filled = trial.tried(good[:length], on_error="fill")
        assert filled.kind in OUTCOMES, f"{name}, {length}: {filled.kind}: {filled.message}"
        if filled.pixels is not None and filled.pixels.shape == expected.shape:  # half a palette makes another image
            assert np.all((filled.pixels == expected) | (filled.pixels == 0)), f"{name}, {length}"
