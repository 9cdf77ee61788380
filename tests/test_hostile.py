"""Files that lie: pixels or a clear error, before anything is allocated for them; never a crash, a hang, or a library's error.

``IMGRS_HOSTILE_FILES=1000000 pytest tests/test_hostile.py`` tries every field of every header, not some of each format.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import dask.config
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError, LimitError, UnsupportedFormatError
from imgrs.io import limits, metadata
from tests import bombs
from tests.hostile import HEADERS, Field, patched
from tests.samples import SAMPLES, photograph, profile, sample
from tests.test_files import pixels
from tests.trial import Trial


@pytest.mark.parametrize("key", ["imgrs.max-decode-bytes", "imgrs.max-decode-pixels"])
def test_a_limit_is_named_and_can_be_raised(key: str, tmp_path: Path) -> None:
    data = pixels("uint8", 3, (70, 50))
    path = tmp_path / "a.webp"
    imgrs.fromarray(data).save(path, lossless=True)
    with dask.config.set({key: 3_000}), pytest.raises(LimitError, match=rf"limit of 3,000; raise it.*{key}.*\d+\}}"):
        imgrs.open(path)
    with dask.config.set({key: 30_000}):
        np.testing.assert_array_equal(imgrs.open(path).compute(), data)


def test_limits_are_numbers_or_text_wherever_dask_looks_for_them() -> None:
    with dask.config.set({"imgrs.max-decode-bytes": "4GiB"}):
        limits.check_unit("a", "a tile", 4 << 30)
        with pytest.raises(LimitError, match=r"4,294,967,297 bytes, more than the limit of 4,294,967,296"):
            limits.check_unit("a", "a tile", (4 << 30) + 1)
    for nonsense in ("much", [1], b"1"):
        with (
            dask.config.set({"imgrs.max-decode-pixels": nonsense}),
            pytest.raises(ArgumentError, match="max-decode-pixels"),
        ):
            limits.check_unit("a", "a tile", 1, 1)


def test_the_ratio_is_the_codecs_own_unless_one_is_set() -> None:
    claimed = 64 << 20
    limits.check_ratio("a", "a tile", claimed, claimed // 1_000, "deflate")
    limits.check_ratio("a", "a tile", limits.FREE, 1, "raw")
    with pytest.raises(
        LimitError, match=r"1,118,482 times as many, more than the limit of 1,032 for deflate; raise it"
    ):
        limits.check_ratio("a", "a tile", claimed, 60, "deflate")
    limits.check_ratio("a", "a tile", claimed, 60, "jpeg2000")
    with dask.config.set({"imgrs.max-decode-ratio": 500}), pytest.raises(LimitError, match="the limit of 500"):
        limits.check_ratio("a", "a tile", claimed, claimed // 1_000, "jpeg2000")


def test_what_was_let_in_is_read_where_the_limits_are_lower(tmp_path: Path) -> None:
    """The check belongs to ``open``: a worker does not know what was configured there."""
    data = pixels("uint8", 3, (70, 50))
    tifffile.imwrite(tmp_path / "a.tif", data, tile=(32, 32))
    imgrs.fromarray(data).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        img = imgrs.open(tmp_path / name)
        with dask.config.set({"imgrs.max-decode-bytes": 10}):
            with pytest.raises(LimitError):
                imgrs.open((tmp_path / name).read_bytes())
            arrived = pickle.loads(pickle.dumps(img._node.op))
            np.testing.assert_array_equal(arrived.read(img._node.spec.region), data)


HOSTILE_FILES = int(os.environ.get("IMGRS_HOSTILE_FILES", "40"))
ERRORS = {"CorruptImageError", "TruncatedImageError", "UnsupportedFormatError", "LimitError"}


@pytest.mark.parametrize("name", SAMPLES)
def test_headers_at_their_extremes(name: str, trial: Trial) -> None:
    good = sample(name)
    assert trial.tried(good).kind in ("pixels", "UnsupportedFormatError")
    cases = list(HEADERS[name.split()[0]](good))
    for place in np.random.default_rng(1).permutation(len(cases))[:HOSTILE_FILES]:
        label, data = cases[place]
        outcome = trial.tried(data)
        assert outcome.kind in ERRORS | {"pixels"}, f"{name}, {label}: {outcome.kind}: {outcome.message}"


BOMBS = {
    "TIFF": bombs.tiff_bombs,
    "PNG": bombs.png_bombs,
    "JPEG": bombs.jpeg_bombs,
    "NPY": bombs.npy_bombs,
    "other": bombs.other_bombs,
}
HARMLESS = {
    "strips of no rows", "a strip of 4 GB at the end", "a million reduced copies",
    "a strip before the start", "reduced copies that contain themselves",
    "EXIF that contains itself", "GPS that contains itself", "XMP that grows",
    "OME of a million planes", "OME of other planes", "ImageJ of a million planes", "shaped as 10 TB", "resolution 1/0",
    "resolution 1/1", "resolution 1/4294967295", "10,000 empty pieces",
    "100,000 empty chunks", "EXIF in a circle", "EXIF of 4 GB", "EXIF of circle", "EXIF of nothing",
    "a restart at every block", "restarts out of order", "restarts that are not there", "a million restarts",
    "a restart after 65,535 units", "version 9",
    "GIF of 2,000 with a frame of 1", "GIF of 100,000 frames",
    "GIF of comments",
}  # fmt: skip
"""What is wrong with these is not in their pixels."""


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs(kind: str, trial: Trial) -> None:
    for name, data in BOMBS[kind]():
        outcome = trial.tried(data)
        wanted = {"pixels"} if name in HARMLESS else ERRORS
        assert outcome.kind in wanted, f"{kind}, {name}: {outcome.kind}: {outcome.message}"


def test_a_few_hundred_bytes_allocate_nothing() -> None:
    """What claims 100,000 x 100,000 pixels is refused by its header, in a process whose memory is watched."""
    script = """
import resource, tracemalloc
import imgrs
from contextlib import suppress
from imgrs.errors import CorruptImageError, LimitError, UnsupportedFormatError
from tests import bombs
from tests.samples import SAMPLES, photograph, profile, sample
for name in SAMPLES:
    with suppress(UnsupportedFormatError):
        imgrs.open(sample(name))
claims = [data for make in (bombs.tiff_claims, bombs.png_claims, bombs.claims) for name, data in make()]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tracemalloc.start()
for data in claims:
    assert len(data) < 2_000
    try:
        imgrs.open(data)
    except (CorruptImageError, LimitError):
        continue
    raise AssertionError(data)
print(len(claims), tracemalloc.get_traced_memory()[1], 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, traced, resident = (int(number) for number in done.stdout.split())
    assert count > 20
    assert traced < 2 << 20
    assert resident < 4 << 20


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_and_profiles_say_what_they_can() -> None:
    rng = np.random.default_rng(5)
    for i in range(10 * HOSTILE_FILES):
        info = {}
        for name, good in (("exif", photograph()), ("icc_profile", profile())):
            bad = bytearray(good)
            for _ in range(1 + i % 4):
                at = int(rng.integers(min(len(bad) - 4, 400)))
                bad[at : at + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(rng.bytes(4))][i % 4]
            info[name] = bytes(bad)
        said = metadata.plain(info)
        assert isinstance(said["exif"], dict)
        assert isinstance(said["icc_profile"], str)
        assert metadata.orientation(metadata.upright(info)) == 1


def test_setting_a_photograph_upright_changes_one_number_of_its_exif() -> None:
    """Makers' notes hold offsets of their own, so the rest stays where it is."""
    exif = photograph()
    made = metadata.upright({"exif": exif})["exif"]
    assert len(made) == len(exif)
    assert sum(a != b for a, b in zip(made, exif, strict=True)) == 1
    seen = Pillow.Exif()
    seen.load(made)
    assert (seen[0x0112], seen[0x010F]) == (1, "Maker")


def test_archives_that_lie(tmp_path: Path) -> None:
    path, url = tmp_path / "a.zip", f"zip://a.png::{tmp_path / 'a.zip'}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", sample("PNG rgb"))
    good = path.read_bytes()
    entry = good.rindex(b"PK\1\2")
    assert imgrs.open(url).compute().any()
    for number, place in enumerate((16, 20, 24, 42)):  # checksum, two sizes, offset
        for value in (0, 1, 500, 0x7FFFFFFF, 0xFFFFFFF0):
            lying = tmp_path / f"{number}-{value}.zip"
            lying.write_bytes(patched(good, Field("", entry + place, 4), value))
            with suppress(ImgrsError):
                imgrs.open(f"zip://a.png::{lying}").compute()
    flipped = tmp_path / "flipped.zip"
    flipped.write_bytes(good[:60] + bytes(byte ^ 0x55 for byte in good[60:90]) + good[90:])
    with pytest.raises(CorruptImageError, match="archive is damaged"):
        imgrs.open(f"zip://a.png::{flipped}").compute()
    path.write_bytes(good[: len(good) // 2])
    for kind in ("zip", "tar"):
        with pytest.raises(UnsupportedFormatError):
            imgrs.open(f"{kind}://b.png::{path}")
