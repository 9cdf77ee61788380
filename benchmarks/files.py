"""Files in and out, beside libvips: seconds and peak memory of whole processes, in turn; nothing is asserted.

    python -m benchmarks files [--side 30000] [--runs 1] [--folder FOLDER] [--write] [row ...]

Each row is one job, done by this package and by libvips (pyvips), each in a process of its own, A B A B; the median of the
runs is shown. libvips has its best form: sequential access where the job allows it, its fastest deflate level, and the
same quality, tiles and subsampling as ours. Images are photographs with noise. The rows from plain TIFF, which is not
compressed, show what writing takes. ``--write`` puts the table into ``benchmarks/files.md``. At 30,000 pixels a side the
folder takes 15 GB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.controls import busy
from benchmarks.images import photograph
from benchmarks.measure import environment

PAGE = Path(__file__).with_suffix(".md")
LEVEL, QUALITY, TILE, LIMIT = 1, 85, 512, "400MiB"


def make(folder: Path, side: int) -> None:
    """The sources: a deflate and a plain TIFF of ours; a PNG and a JPEG without restart markers by libvips; small files."""
    import pyvips

    if not (folder / f"{side}.tif").exists():
        photograph(side, side).save(folder / f"{side}.tif")
    if not (folder / f"{side}.plain.tif").exists():
        photograph(side, side).save(folder / f"{side}.plain.tif", compression="none")
    for name, options in ((f"{side}.png", {"compression": 1, "filter": "all"}), (f"{side}.jpg", {"Q": 90})):
        if not (folder / name).exists():
            image = pyvips.Image.new_from_file(str(folder / f"{side}.tif"), access="sequential")
            image.write_to_file(str(folder / name), **options)
    if not (folder / "10000.jpg").exists():
        photograph(10_000, 10_000).save(folder / "photograph.tif")
        pyvips.Image.new_from_file(str(folder / "photograph.tif"), access="sequential").jpegsave(
            str(folder / "10000.jpg"), Q=90
        )
    (folder / "small").mkdir(exist_ok=True)
    for i in range(1_000):
        path = folder / "small" / f"{i}.png"
        if not path.exists():
            shutil.copy(folder / "small" / "0.png", path) if i else photograph(64, 64).save(path)


def saved(source: str, target: str, **options: Any) -> Callable[[Path, int], None]:
    def work(folder: Path, side: int) -> None:
        import imgrs

        imgrs.open(folder / f"{side}.{source}").brightness(10).save(folder / target, memory_limit=LIMIT, **options)

    return work


def saved_by_vips(source: str, target: str, **options: Any) -> Callable[[Path, int], None]:
    def work(folder: Path, side: int) -> None:
        import pyvips

        image = pyvips.Image.new_from_file(str(folder / f"{side}.{source}"), access="sequential")
        (image + 10).cast("uchar").write_to_file(str(folder / target), **options)

    return work


def zarr_by_vips(folder: Path, side: int) -> None:
    """libvips has no Zarr: its pixels go to zarr-python, a row of shards at a time."""
    import numpy as np
    import pyvips
    import zarr
    from zarr.codecs import ZstdCodec

    image = pyvips.Image.new_from_file(str(folder / f"{side}.tif"), access="sequential")
    image = (image + 10).cast("uchar")
    array = zarr.create_array(
        str(folder / "out.zarr"), shape=(3, side, side), chunks=(3, TILE, TILE), shards=(3, 2048, 2048), dtype="uint8",
        compressors=ZstdCodec(level=1), overwrite=True,
    )  # fmt: skip
    for top in range(0, side, 2048):
        rows = image.crop(0, top, side, min(2048, side - top)).numpy()
        array[:, top : top + 2048] = np.moveaxis(rows, 2, 0)


def thumbnail(folder: Path, side: int) -> None:
    import imgrs

    imgrs.open(folder / "10000.jpg").thumbnail((256, 256)).save(folder / "out.png")


def thumbnail_by_vips(folder: Path, side: int) -> None:
    import pyvips

    pyvips.Image.thumbnail(str(folder / "10000.jpg"), 256, height=256).write_to_file(str(folder / "out.png"))


def many(folder: Path, side: int) -> None:
    """1,000 open images, 64 file descriptors allowed."""
    import resource

    import imgrs

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    images = [imgrs.open(folder / "small" / f"{i}.png") for i in range(1_000)]
    imgrs.save_all(
        {folder / "out.tif": images[0], folder / "out.png": images[-1]}, statistics=[i.mean() for i in images]
    )


def many_by_vips(folder: Path, side: int) -> None:
    """libvips keeps a descriptor for each open image, so it opens them one after another."""
    import resource

    import pyvips

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    for i in range(1_000):
        pyvips.Image.new_from_file(str(folder / "small" / f"{i}.png"), access="sequential").avg()


def nothing(folder: Path, side: int) -> None:
    """What loading the libraries takes."""
    import imgrs

    imgrs.new("RGB", (9, 9)).brightness(1).save(folder / "out.tif")


def nothing_by_vips(folder: Path, side: int) -> None:
    import pyvips

    pyvips.Image.black(9, 9).write_to_file(str(folder / "out.tif"))


_TIFF: dict[str, Any] = {"compression": "deflate", "predictor": "horizontal", "level": LEVEL, "tile": True}
_TIFF |= {"tile_width": TILE, "tile_height": TILE, "bigtiff": True}
_PNG: dict[str, Any] = {"compression": LEVEL, "filter": "sub"}
_JPEG: dict[str, Any] = {"Q": QUALITY, "subsample_mode": "on"}
Work: TypeAlias = Callable[[Path, int], None]


def png(source: str) -> tuple[Work, Work]:
    return saved(source, "out.png", compress_level=LEVEL), saved_by_vips(source, "out.png", **_PNG)


def jpeg(source: str) -> tuple[Work, Work]:
    return saved(source, "out.jpg", quality=QUALITY), saved_by_vips(source, "out.jpg", **_JPEG)


ROWS: dict[str, tuple[Work, Work]] = {
    "libraries": (nothing, nothing_by_vips),
    "TIFF to TIFF": (saved("tif", "out.tif"), saved_by_vips("tif", "out.tif", **_TIFF)),
    "PNG to PNG": png("png"),
    "TIFF to PNG": png("tif"),
    "TIFF to JPEG": jpeg("tif"),
    "plain TIFF to PNG": png("plain.tif"),
    "plain TIFF to JPEG": jpeg("plain.tif"),
    "JPEG to TIFF": (saved("jpg", "out.tif"), saved_by_vips("jpg", "out.tif", **_TIFF)),
    "TIFF to Zarr": (saved("tif", "out.zarr"), zarr_by_vips),
    "TIFF to pyramid": (
        saved("tif", "out.tif", pyramid=True),
        saved_by_vips("tif", "out.tif", **_TIFF, pyramid=True),
    ),
    "thumbnail of a 100-megapixel JPEG": (thumbnail, thumbnail_by_vips),
    "1,000 files, 64 descriptors": (many, many_by_vips),
}


def timed(row: str, who: int, folder: Path, side: int) -> tuple[float, float]:
    """Seconds and peak MiB of one job, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "files",
        row,
        "--folder",
        str(folder),
        "--side",
        str(side),
        "--inside",
        str(who),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment("ours"))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{row}, {('ours', 'libvips')[who]}: failed")
    for path in folder.glob("out.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return seconds, usage.ru_maxrss / 1024


def measured(row: str, folder: Path, side: int, runs: int) -> str:
    """A line of the table."""
    found: tuple[list[tuple[float, float]], ...] = ([], [])
    for _ in range(runs):
        for who in (0, 1):
            found[who].append(timed(row, who, folder, side))
    (ours, mine), (theirs, other) = (
        [statistics.median(values) for values in zip(*runs_, strict=True)] for runs_ in found
    )
    return f"| {row} | {ours:.1f} s | {theirs:.1f} s | {ours / theirs:.2f} | {mine:.0f} MiB | {other:.0f} MiB |"


def control() -> str:
    """A busy loop alone, and two at once: 1.0 means that two cores are there."""
    return f"Control: two busy loops at once take {busy():.2f} times one alone."


def versions() -> str:
    import platform
    from importlib.metadata import version

    import pyvips

    names = ("numpy", "dask", "imagecodecs", "isal", "pillow", "opencv-python-headless", "numba")
    found = ", ".join(f"{name} {version(name)}" for name in names)
    vips = ".".join(str(pyvips.version(i)) for i in range(3))
    return f"Python {platform.python_version()}, {found}; libvips {vips}; {os.cpu_count()} cores."


def main(arguments: Sequence[str]) -> None:
    """Measure rows and print them as a table."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks files", description=__doc__, formatter_class=formatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(ROWS))
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "imgrs-files")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside is not None:
        jobs = {**ROWS, "make": (make, make)}
        jobs[given.rows[0]][given.inside](given.folder, given.side)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    timed("make", 0, given.folder, given.side)
    lines = [
        f"| {given.side:,} x {given.side:,} RGB, `brightness(10)` | imgrs | libvips | ratio | memory | memory, libvips |",
        "|---|---|---|---|---|---|",
    ]
    before = control()
    print(before, *lines, sep="\n", flush=True)
    for row in given.rows or ROWS:
        lines.append(measured(row, given.folder, given.side, given.runs))
        print(lines[-1], flush=True)
    after = control()
    print(after)
    if given.write:
        head = "# Files, beside libvips\n\nMade by `python -m benchmarks files --write`. Whole processes, imports included."
        page = [head, f"{versions()} Median of {given.runs}.", before, "\n".join(lines), after]
        PAGE.write_text("\n\n".join(page) + "\n", encoding="utf-8")
