"""The engine's figures: memory, latency, planning, overhead. Each part runs in its own process; nothing is asserted.

    python -m benchmarks figures [--folder FOLDER] [--huge] [part ...]

``--huge`` adds a file nine times as large (30,000 x 30,000) to ``memory`` and ``window``; it needs 2 GB of disk.
The machine's state shows in the control: the same busy loop, timed alone and in two processes at once.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import overheads
from benchmarks.controls import busy
from benchmarks.measure import environment
from benchmarks.overheads import best


def peak_mib() -> float:
    """The most memory that this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def photograph(folder: Path, side: int) -> Path:
    """A deflate TIFF of ``side`` squared, made once."""
    path = folder / f"photograph-{side}.tif"
    if not path.exists():
        from imgrs.demo import photograph as make

        make(side).save(path)
    return path


def make(folder: Path, side: int) -> None:
    """Make the file, in a process of its own."""
    photograph(folder, side)


def control(folder: Path, side: int) -> None:
    """A busy loop alone, and two at once: 1.0 means that two cores are there."""
    print(f"control: two loops at once take {busy():.2f} times one alone")


def memory(folder: Path, side: int) -> None:
    """Deflate TIFF to deflate TIFF through a tone chain."""
    import imgrs

    imgrs.fromarray(__import__("numpy").zeros((9, 9, 3), "uint8")).saturate(1.1).save(folder / "small.tif")
    libraries = peak_mib()
    target = folder / "memory.tif"
    start = time.perf_counter()
    imgrs.open(photograph(folder, side)).brightness(20).contrast(1.2).saturate(1.1).save(target, compression="deflate")
    seconds = time.perf_counter() - start
    target.unlink()
    print(f"memory {side}: peak {peak_mib():.0f} MiB ({libraries:.0f} MiB libraries), {seconds:.1f} s")


def window(folder: Path, side: int) -> None:
    """A 512 x 512 window of the grade chain, after open."""
    import imgrs
    from imgrs.demo import grade

    img = imgrs.open(photograph(folder, side))
    corners = itertools.count(side // 3, 701)

    def one() -> None:
        left = next(corners)
        grade(img).crop((left, left, left + 512, left + 512)).compute()

    start = time.perf_counter()
    one()
    first = time.perf_counter() - start
    print(f"window {side}: {best(one, 3) * 1e3:.0f} ms, the first {first * 1e3:.0f} ms (loads libraries)")


def imports(folder: Path, side: int) -> None:
    """Start Python and import the package, above starting Python."""
    bare = best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    ours = best(lambda: subprocess.run([sys.executable, "-c", "import imgrs"], check=True))
    numpy = best(lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True))
    print(f"import: {(ours - bare) * 1e3:.0f} ms, of them NumPy {(numpy - bare) * 1e3:.0f} ms")


def planning(folder: Path, side: int) -> None:
    """Build a node, optimize and plan a long chain, and run a tile."""
    for name, seconds in overheads.figures().items():
        print(f"planning: {name}: {seconds * 1e3:.3f} ms")


def overhead(folder: Path, side: int) -> None:
    """The share of a save's time that is neither in an op's compute nor in the encoder."""
    import imgrs
    from imgrs.demo import grade
    from imgrs.graph.op import Op
    from imgrs.io.tiff.write import TiffEncoder

    inside = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                inside[0] += time.perf_counter() - start

        return call

    waiting: list[Any] = [Op]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if "compute" in cls.__dict__:
            cls.compute = timed(cls.compute)
    for name in ("encode", "place", "begin", "finish"):
        setattr(TiffEncoder, name, timed(getattr(TiffEncoder, name)))
    img = grade(imgrs.open(photograph(folder, side)))
    target = folder / "overhead.tif"
    for _ in range(2):  # the first loads libraries
        inside[0] = 0.0
        start = time.perf_counter()
        img.save(target, scheduler="sync", chunks=(2048, 2048))
        seconds = time.perf_counter() - start
    target.unlink()
    share = (1 - inside[0] / seconds) * 100
    print(f"overhead: {share:.1f} % of {seconds:.1f} s outside kernels and codecs, tiles of 2,048")


PARTS = {f.__name__: f for f in (control, memory, window, imports, planning, overhead)}


def main(arguments: Sequence[str]) -> None:
    """Run parts, each in a process of its own."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks figures", description=__doc__, formatter_class=formatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "imgrs-figures")
    parser.add_argument("--huge", action="store_true")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.inside:
        {**PARTS, "make": make}[given.parts[0]](given.folder, given.inside)
        return
    for part in ["make", *(given.parts or PARTS), "control"]:
        for side in (10_000, 30_000) if given.huge and part in ("make", "memory", "window") else (10_000,):
            command = [
                sys.executable,
                "-m",
                "benchmarks",
                "figures",
                part,
                "--folder",
                str(given.folder),
                "--inside",
                str(side),
            ]
            subprocess.run(command, check=True, env=environment("ours"))
