"""What a pipeline takes at its peak, measured in a process of its own beside what is forecast for it.

The process first runs the pipeline on a small image, so that libraries are loaded and loops compiled; the peak of the
run on a large one is then counted from what the process held before.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import imgrs
from imgrs import compiled
from imgrs.image import Image

SIDE, SMALL = 6000, 700
"""Pixels a side of the image that is measured, and of the one that is run first."""
TINY = 100
"""Pixels a side of the image that is run first where a small one is measured."""
SIDES = (TINY, 500, SMALL, 1000, 2000, SIDE)
"""Pixels a side of all images."""


@dataclass(frozen=True)
class Job:
    """A source, what is done to it, and what it is saved as; None for an array."""

    source: str
    make: Callable[[Image], Sequence[Image]]
    sink: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    side: int = SIDE
    """Pixels a side of the source that is measured."""

    def opened(self, folder: Path, side: int) -> Image:
        if self.source == "array":
            return imgrs.fromarray(np.load(folder / f"{side}.npy"))
        return imgrs.open(folder / f"{side}.{self.source}")

    def images(self, folder: Path, side: int) -> Sequence[Image]:
        return self.make(self.opened(folder, side))

    def settings(self) -> dict[str, Any]:
        return {"workers": 2, "scheduler": "threads", "memory_limit": "2GiB", "optimizer": "exact", **self.options}

    def estimate(self, images: Sequence[Image]) -> imgrs.Estimate:
        return imgrs.estimate(*images, sink=self.sink, **self.settings())

    def targets(self, folder: Path, count: int) -> list[Path]:
        return [folder / f"out-{i}.{self.sink}" for i in range(count)]

    def run(self, images: Sequence[Image], folder: Path) -> list[npt.NDArray[Any]]:
        """Compute or save; what is saved goes to ``targets``, and the list is empty."""
        if self.sink is None:
            return imgrs.compute_all(*images, **self.settings())
        folder.mkdir(exist_ok=True)
        targets = self.targets(folder, len(images))
        imgrs.save_all(dict(zip(targets, images, strict=True)), **self.settings())
        return []


def _one(function: Callable[[Image], Image]) -> Callable[[Image], Sequence[Image]]:
    return lambda img: [function(img)]


def _grade(img: Image) -> Image:
    return img.blur(2).brightness(20).contrast(1.2).saturate(1.1)


def _quarter(img: Image) -> Image:
    return img.crop((0, 0, img.width // 2, img.height // 2))


JOBS: dict[str, Job] = {
    "in memory": Job("array", _one(_grade)),
    "to an array": Job("tif", _one(lambda img: img.brightness(20))),
    "tiles to tiles": Job("tif", _one(_grade), "tif"),
    "strips to tiles": Job("strips.tif", _one(_grade), "tif"),
    "strips as they are": Job("plain.tif", _one(lambda img: img.brightness(20)), "tif"),
    "one strip": Job("strip.tif", _one(_grade), "tif"),
    "PNG to PNG": Job("png", _one(_grade), "png"),
    "JPEG to JPEG": Job("jpg", _one(_grade), "jpg"),
    "JPEG with restarts": Job("restarts.jpg", _one(_grade), "jpg"),
    "progressive JPEG": Job("progressive.jpg", _one(_grade), "jpg"),
    "progressive to an array": Job("progressive.jpg", _one(_grade)),
    "Zarr to Zarr": Job("zarr", _one(_grade), "zarr"),
    "to a pyramid": Job("tif", _one(_grade), "dzi"),
    "to WebP": Job("tif", _one(lambda img: img.resize((3000, 3000))), "webp"),
    "to AVIF": Job("tif", _one(lambda img: img.resize((img.width // 3, img.height // 3))), "avif"),
    "from JPEG 2000": Job("jp2", _one(lambda img: img.brightness(20)), "tif"),
    "from QOI": Job("qoi", _one(lambda img: img.brightness(20)), "tif"),
    "resized a little": Job("tif", _one(lambda img: img.resize((4000, 4000))), "tif"),
    "resized to little": Job("tif", _one(lambda img: img.resize((300, 300)))),
    "resized from PNG": Job("png", _one(lambda img: img.resize((300, 300))), "jpg"),
    "enlarged": Job("tif", _one(lambda img: _quarter(img).resize(img.size, "bicubic")), "tif"),
    "blurred widely": Job("tif", _one(lambda img: img.blur(20)), "tif"),
    "blurred by boxes": Job("tif", _one(lambda img: img.box_blur(1)), "tif"),
    "edges": Job("tif", _one(lambda img: img.edge_detect()), "tif"),
    "unsharp": Job("tif", _one(lambda img: img.unsharp_mask(2)), "tif"),
    "rotated": Job("tif", _one(lambda img: img.rotate(33)), "tif"),
    "turned": Job("tif", _one(lambda img: img.rotate90()), "png"),
    "stretched": Job("tif", _one(lambda img: img.auto_contrast()), "tif"),
    "stretched from PNG": Job("png", _one(lambda img: img.auto_contrast()), "tif"),
    "statistics": Job("tif", lambda img: [img.mean(), img.histogram(), img.extrema()]),
    "with alpha": Job("array", _one(lambda img: img.convert("RGBA").blur(2).rotate(5))),
    "as floats": Job("tif", _one(lambda img: img.astype("float32").blur(2).gamma(1.2)), "tif"),
    "laid over itself": Job("tif", _one(lambda img: img.blend("normal", img.rotate180().blur(2))), "tif"),
    "several arrays": Job("tif", lambda img: [img.blur(2), img.blur(2).edge_detect(), img.resize((500, 500))]),
    "several files": Job("tif", lambda img: [img.brightness(20), img.resize((1500, 1500))], "tif"),
    "by chunks": Job("tif", _one(_grade), "tif", {"chunks": (512, 512)}),
    "by large chunks": Job("tif", _one(_grade), "tif", {"chunks": (3000, 3000)}),
    "in 256 MiB": Job("tif", _one(_grade), "tif", {"memory_limit": "256MiB"}),
    "in 128 MiB": Job("tif", _one(_grade), "tif", {"memory_limit": "128MiB"}),
    "in 64 MiB": Job("tif", _one(_grade), "tif", {"memory_limit": "64MiB"}),
    "wide in 128 MiB": Job("tif", _one(lambda img: img.blur(20)), "tif", {"memory_limit": "128MiB"}),
    "JPEG in 128 MiB": Job("jpg", _one(_grade), "jpg", {"memory_limit": "128MiB"}),
    "PNG in 128 MiB": Job("png", _one(lambda img: img.auto_contrast()), "png", {"memory_limit": "128MiB"}),
    "several in 256 MiB": Job(
        "tif", lambda img: [img.brightness(20), img.resize((1500, 1500))], "tif", {"memory_limit": "256MiB"}
    ),
    "scratch": Job("png", _one(lambda img: img.rotate(33)), "tif", {"memory_limit": "100MiB"}),
}  # fmt: skip
"""Pipelines by name."""


def _times(img: Image, times: int) -> Image:
    """Larger by so much; across by a little more, so that tiles do not end where pixels do."""
    return img.resize((times * img.width + 1, times * img.height))


SMALL_JOBS: dict[str, Job] = {
    "TIFF enlarged to TIFF": Job("tif", _one(lambda img: _times(img, 12)), "tif", side=500),
    "TIFF enlarged to PNG": Job("tif", _one(lambda img: _times(img, 12)), "png", side=500),
    "PNG enlarged to JPEG": Job("png", _one(lambda img: _times(img, 12).blur(3)), "jpg", side=500),
    "JPEG enlarged to JPEG": Job("jpg", _one(lambda img: _times(img, 12).blur(3)), "jpg", side=500),
    "JPEG enlarged to PNG": Job("jpg", _one(lambda img: _times(img, 12).brightness(20)), "png", side=500),
    "enlarged to an array": Job("array", _one(lambda img: _times(img, 12).blur(3)), side=500),
    "enlarged to Zarr": Job("png", _one(lambda img: _times(img, 12).blur(3)), "zarr", side=500),
    "enlarged to a pyramid": Job("png", _one(lambda img: _times(img, 12).blur(3)), "dzi", side=500),
    "enlarged and graded": Job("tif", _one(lambda img: _grade(_times(img, 12))), "tif", side=500),
    "enlarged and rotated": Job("jpg", _one(lambda img: _times(img, 12).rotate(20)), "tif", side=500),
    "enlarged twice": Job("png", lambda img: [_times(img, 12).blur(3), _times(img, 6)], "tif", side=500),
    "enlarged by one worker": Job("png", _one(lambda img: _times(img, 12)), "png", {"workers": 1}, side=500),
    "enlarged to 100 megapixels": Job("tif", _one(lambda img: _times(img, 10)), "tif", side=1000),
    "enlarged to a wide JPEG": Job("jpg", _one(lambda img: _times(img, 10).blur(3)), "jpg", side=1000),
    "noise enlarged to PNG": Job("noise.tif", _one(lambda img: _times(img, 3)), "png", side=2000),
    "noise enlarged to TIFF": Job("noise.tif", _one(lambda img: _times(img, 3).blur(3)), "tif", side=2000),
    "noise to PNG": Job("noise.tif", _one(lambda img: img.brightness(20)), "png", side=2000),
    "noise to Zarr": Job("noise.tif", _one(lambda img: _times(img, 2)), "zarr", side=2000),
    "half a megapixel": Job("tif", _one(_grade), "tif", side=700),
    "a megapixel": Job("png", _one(_grade), "jpg", side=1000),
    "a megapixel rotated": Job("jpg", _one(lambda img: img.rotate(33)), "png", side=1000),
    "four megapixels": Job("tif", _one(_grade), "tif", side=2000),
    "four megapixels from PNG": Job("png", _one(_grade), "png", side=2000),
    "four megapixels of JPEG": Job("jpg", _one(_grade), "jpg", side=2000),
    "four megapixels in strips": Job("restarts.jpg", _one(_grade), "jpg", side=2000),
    "four megapixels stretched": Job("png", _one(lambda img: img.auto_contrast()), "tif", side=2000),
    "four megapixels halved": Job("tif", _one(lambda img: img.resize((img.width // 2, img.height // 2))), "tif", side=2000),
    "four megapixels doubled": Job("restarts.jpg", _one(lambda img: _times(img, 2)), "png", side=2000),
    "four megapixels blurred": Job("tif", _one(lambda img: img.blur(20)), "tif", side=2000),
    "four megapixels of Zarr": Job("zarr", _one(_grade), "zarr", side=2000),
}  # fmt: skip
"""Small sources, enlarged or not; what an enlargement makes is smooth, and compresses far better than most."""


def picture(side: int) -> npt.NDArray[np.uint8]:
    """Something smooth with noise, so that it compresses as photographs do."""
    x = np.arange(side, dtype=np.float32)
    waves = [np.sin(x / (40 + 11 * band))[:, None] * np.cos(x / (60 - 7 * band)) for band in range(3)]
    smooth = (128 + 90 * np.stack(waves, axis=2)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 8, (512, 512, 3), np.uint8)
    times = -(-side // 512)
    pixels: npt.NDArray[np.uint8] = smooth + np.tile(noise, (times, times, 1))[:side, :side]
    return pixels


def made(folder: Path, side: int) -> None:
    """Write the picture in every form that jobs read."""
    import tifffile
    from PIL import Image as Pillow

    pixels = picture(side)
    np.save(folder / f"{side}.npy", pixels)
    image = imgrs.fromarray(pixels)
    for name in ("tif", "png", "zarr", "qoi"):
        image.save(folder / f"{side}.{name}")
    if side < SIDE:
        noise = np.random.default_rng(1).integers(0, 256, pixels.shape, np.uint8)
        imgrs.fromarray(noise).save(folder / f"{side}.noise.tif")
    image.crop((0, 0, side // 3, side // 3)).save(folder / f"{side}.jp2")  # a slow one
    tifffile.imwrite(folder / f"{side}.strips.tif", pixels, photometric="rgb", rowsperstrip=64, compression="zlib")
    tifffile.imwrite(folder / f"{side}.plain.tif", pixels, photometric="rgb")
    tifffile.imwrite(folder / f"{side}.strip.tif", pixels, photometric="rgb", rowsperstrip=side, compression="zlib")
    pillow = Pillow.fromarray(pixels)
    pillow.save(folder / f"{side}.jpg", quality=85)
    pillow.save(folder / f"{side}.restarts.jpg", quality=85, restart_marker_rows=1)
    pillow.save(folder / f"{side}.progressive.jpg", quality=85, progressive=True)


@dataclass(frozen=True)
class Peak:
    """What was forecast and what was measured, in bytes."""

    forecast: int
    measured: int


def resident(what: str) -> int:
    """``VmRSS``, ``VmHWM`` or ``VmData`` of this process, in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what)]
    return int(line.split()[1]) << 10


def measured(name: str, folder: Path) -> Peak:
    """The peak of a job, in a new process."""
    return Peak(*_child(f"measure({name!r}, {str(folder)!r})"))


def limited(name: str, folder: Path, room: int, group: str = "") -> None:
    """Run a job in a new process that gets ``room`` bytes beside what it has after a small run; raises if it ends badly.

    By RLIMIT_DATA; or by joining the control group whose folder is ``group``, where one is given, which has its own limit.
    """
    _child(f"limit({name!r}, {str(folder)!r}, {room}, {group!r})")


def _child(call: str) -> list[int]:
    script = f"from tests.peaks import measure, limit; {call}"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{call} ended with {run.returncode}: {run.stderr[-3000:]}")
    found: list[int] = json.loads(run.stdout.splitlines()[-1])
    return found


def _ready(name: str, folder: Path) -> tuple[Job, Sequence[Image]]:
    """A job in this process, after a small run of it, with what was freed given back to the system."""
    job = (JOBS | SMALL_JOBS)[name]
    compiled.WORTH = 0  # loops are loaded at once, also for little work
    small = replace(job, options={"chunks": (256, 256)})
    for _ in range(2):
        small.run(small.images(folder, SMALL if job.side == SIDE else TINY), folder / "small")
    images = job.images(folder, job.side)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return job, images


def measure(name: str, folder: str) -> None:
    """What ``measured`` runs: prints the forecast and the peak."""
    job, images = _ready(name, Path(folder))
    forecast = job.estimate(images).peak_bytes
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    kept = job.run(images, Path(folder))
    print(json.dumps([forecast, resident("VmHWM") - before]))
    del kept


def limit(name: str, folder: str, room: int, group: str) -> None:
    """What ``limited`` runs."""
    job, images = _ready(name, Path(folder))
    if group:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
    else:
        resource.setrlimit(resource.RLIMIT_DATA, (resident("VmData") + room,) * 2)
    job.run(images, Path(folder))
    print("[]")


def main(folder: str, *names: str) -> None:
    """Print a table of all jobs, or of those named: ``python -m tests.peaks FOLDER``, which is made and filled."""
    where = Path(folder)
    if not where.exists():
        where.mkdir(parents=True)
        for side in SIDES:
            made(where, side)
    for name in names or JOBS | SMALL_JOBS:
        peak = measured(name, where)
        told = [f"{size / 2**20:7.1f} MiB" for size in (peak.forecast, peak.measured)]
        print(
            f"{name:24} forecast {told[0]}, measured {told[1]}, ratio {peak.forecast / peak.measured:.2f}", flush=True
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
