"""``calibrate``: what ops and formats cost on one core, measured and written where the planner reads it.

Times are processor time, the least of several calls, on photographs with noise: what other programs do meanwhile counts
little. An op is measured at several reaches where its cost grows with them; every other op by the example of its parameters.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import pkgutil
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SIDE = 1536
"""Pixels of a side of what is measured: above the size from which kernels are compiled, and of tasks."""
TIMES = 5
DTYPES = ("uint8", "uint16", "float32")
SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0, 11.5, 14.0, 40.0)
FACTORS = (2.0, 1.5, 0.75, 0.5, 0.25, 0.1)
"""Of the size, for resizing."""
COMPRESSIONS = ("none", "deflate", "lzw", "zstd", "jpeg", "webp")
"""Of TIFF."""
FORMATS = ("png", "jpg", "bmp", "ppm", "npy", "webp", "qoi", "gif", "jp2", "avif", "zarr")
SHRINKS = (2, 4, 8)
MEASURABLE = 10_000
"""Pixels of a result, at least."""
LEFT = ("auto_contrast", "map_tiles")
"""Ops that take a statistic beside the image, or a user's function that may cost anything: left to their locality."""


def least(work: Callable[[], Any], times: int = TIMES) -> float:
    """Nanoseconds of processor time of the quickest call, after one that loads what loads late."""
    work()
    found = []
    for _ in range(times):
        start = time.process_time_ns()
        work()
        found.append(time.process_time_ns() - start)
    return float(min(found))


def ops() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By op and depth, pairs of reach and nanoseconds for a pixel of output of an RGB image."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for dtype in DTYPES:
        pixels = photograph(SIDE, dtype)
        for op in _examples(dtype):
            measured = _op(op, pixels)
            if measured is not None:
                found.setdefault(op.name, {}).setdefault(dtype, []).append(measured)
    return {name: {dtype: _rising(points) for dtype, points in rows.items()} for name, rows in sorted(found.items())}


def _rising(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points in order of their reach, the cheaper where two have one."""
    best: dict[float, float] = {}
    for reach, cost in points:
        best[reach] = min(cost, best.get(reach, cost))
    return sorted(best.items())


def _op(op: Any, pixels: Any) -> tuple[float, float] | None:
    """The reach and the cost of one op; None where it does not take such images, or makes too few pixels to measure."""
    from imgrs.errors import ImgrsError
    from imgrs.graph.op import Fold, spec_of
    from imgrs.plan import cost
    from imgrs.types import Tile

    spec = spec_of(pixels)
    tile = Tile(spec.region, pixels, spec)
    for count in (1, 2):
        specs = [spec] * count
        try:
            op.check(specs)
            result = op.infer(*specs)
            op.demand(result.region, *specs)
        except (ImgrsError, ValueError, IndexError):  # other inputs, or another number of them
            continue
        if op.does_nothing(*specs):
            return None
        if isinstance(op, Fold):
            return 0.0, round(least(lambda: op.partial(tile)) / spec.region.area, 3)
        if result.region.area < MEASURABLE:
            return None
        return cost.reach(op, result, *specs), round(_computed(op, [tile] * count, result), 3)
    return None


def _computed(op: Any, tiles: list[Any], result: Any) -> float:
    """Nanoseconds for a pixel of what a task makes: a region with room for halos around it."""
    specs = [tile.spec for tile in tiles]
    prepared = op.prepare(*specs)
    inner = result.region.grow(-64, -64) if result.size == specs[0].size else result.region
    return least(lambda: op.compute(inner, tiles, result, prepared)) / inner.area


def _examples(dtype: str) -> Iterator[Any]:
    """Every op of the package by the examples of its parameters, and some at several reaches."""
    import numpy as np

    import imgrs.ops
    from imgrs.graph.op import Op, Source
    from imgrs.ops.filter import Blur, BoxBlur, UnsharpMask
    from imgrs.ops.geometry import Crop, Pad, Transpose
    from imgrs.ops.resample import Resize
    from imgrs.ops.tone import Invert, Table
    from imgrs.ops.verbs import Rotate
    from imgrs.ops.warp import Affine

    yield from (Blur(sigma) for sigma in SIGMAS)
    yield from (BoxBlur(radius) for radius in (1, 4, 16))
    yield from (UnsharpMask(sigma) for sigma in (1.0, 4.0, 14.0))
    for factor in FACTORS:
        yield Resize((round(SIDE * factor),) * 2)
    if dtype != "float32":
        top = np.iinfo(dtype).max
        yield Table(np.arange(top, -1, -1, dtype=dtype).tobytes(), dtype, ("invert",))
    yield Invert(0.3)
    yield Crop((100, 100, SIDE - 100, SIDE - 100))
    yield Pad((16, 16, 16, 16))
    yield from (Transpose(turn) for turn in ("rotate_90", "rotate_180"))
    size, matrix = Rotate(7.0).of((SIDE, SIDE))
    yield Affine(size, matrix)
    for module in pkgutil.iter_modules(imgrs.ops.__path__):
        importlib.import_module(f"imgrs.ops.{module.name}")
    waiting: list[Any] = Op.__subclasses__()
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        concrete = "__dataclass_fields__" in cls.__dict__ and not cls.__name__.startswith("_")
        if (
            concrete
            and cls.__module__.startswith("imgrs.ops.")
            and not issubclass(cls, Source)
            and cls.name not in LEFT
        ):
            fields = {f.name: f for f in dataclasses.fields(cls)}
            needed = [n for n, f in fields.items() if f.default is dataclasses.MISSING and "example" not in f.metadata]
            if not needed:
                given = {n: f.metadata["example"] for n, f in fields.items() if f.metadata.get("example") is not None}
                yield cls(**given)


def formats(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Nanoseconds to decode and to encode a byte of pixels, by codec."""
    import imgrs
    from imgrs.io import format_for, open_source, segments

    pixels = photograph(SIDE)
    image = imgrs.fromarray(pixels)
    spec = image._node.spec
    decode: dict[str, float] = {}
    encode: dict[str, float] = {}
    wanted = [*((f"{c}.tif", {"compression": c}) for c in COMPRESSIONS), *((f"a.{ending}", {}) for ending in FORMATS)]
    for name, options in wanted:
        path = folder / name
        image.save(path, **options)
        encoder = format_for(str(path), None).encoder(spec, {}, options)
        reader = open_source(path)

        def forget() -> None:
            segments._shared = segments.Shared(segments.LIMIT)  # decoded tiles, which a second read would find

        for shrink in (1, *(s for s in SHRINKS if s in reader.shrinks)):
            small = reader.shrunk(shrink)

            def read(reader: Any = reader, shrink: int = shrink) -> None:
                forget()
                if reader.reads_regions:
                    reader.read(reader.shrunk(shrink).region, shrink)
                else:
                    for _ in reader.strips(shrink):
                        pass

            codec = reader.codec if shrink == 1 else f"{reader.codec} 1/{shrink}"
            decode[codec] = round(least(read, 3) / small.nbytes, 3)
        encode[encoder.codec] = round(least(lambda encoder=encoder: _encoded(encoder, pixels), 3) / spec.nbytes, 3)
    return dict(sorted(decode.items())), dict(sorted(encode.items()))


def _encoded(encoder: Any, pixels: Any) -> None:
    from imgrs.io.format import TileEncoder
    from imgrs.types import Region

    if isinstance(encoder, TileEncoder):
        encoder.encode(Region(0, 0, pixels.shape[1], pixels.shape[0]), pixels)
    else:
        encoder.encode(pixels)


def photograph(side: int, dtype: str = "uint8") -> Any:
    from benchmarks.images import photograph as made

    return made(side, side, dtype).compute()


def measured() -> dict[str, Any]:
    """The whole table."""
    with tempfile.TemporaryDirectory(prefix="imgrs-calibrate-") as folder:
        decode, encode = formats(Path(folder))
    machine = f"{platform.machine()}, one core, Python {platform.python_version()}"
    return {"machine": machine, "ops": ops(), "decode": decode, "encode": encode}


def text(table: dict[str, Any]) -> str:
    """The table as JSON that reads well: a line for each op and codec."""
    lines = ["{", f'  "machine": {json.dumps(table["machine"])},']
    for part in ("ops", "decode", "encode"):
        rows = [f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in table[part].items()]
        lines += [f'  "{part}": {{', ",\n".join(rows), "  }" + ("" if part == "encode" else ",")]
    return "\n".join([*lines, "}"]) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the planner's table."""
    from benchmarks.measure import ROOT

    parser = argparse.ArgumentParser("python -m benchmarks calibrate", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "imgrs" / "plan" / "costs.json")
    given = parser.parse_args(arguments)
    given.to.write_text(text(measured()), encoding="utf-8")
    print(given.to.read_text(encoding="utf-8"))
