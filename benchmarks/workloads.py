"""The work that is measured, as a table: what is done to what, by whom else, how close their results are, and the target.

Each workload is a chain of steps that every peer does in its own best way. Sizes follow the side of the image, so that the
same table serves a quick run; the figures of the documentation are for 10,000 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.peers import COPY, OURS, PEERS, VIPS
from benchmarks.steps import AFFINE, CURVES, MATRICES, Chain
from benchmarks.targets import Target

Builder = Callable[[int, int], Chain]
"""The chain for an image of a width and a height."""
SIDE = 10_000
"""Pixels of a side of the image that the targets speak of."""
DEFLATE: Mapping[str, Any] = {"compression": "deflate", "level": 1, "tile": 512}
JPEG: Mapping[str, Any] = {"quality": 85}
PNG: Mapping[str, Any] = {"level": 1}
BEST = Target(0.5, "others")
"""Everything is at most half of the best of these."""
LEAN = Target(1.5, VIPS, "memory")
"""What is streamed takes at most so much memory."""


@dataclass(frozen=True)
class Workload:
    """One row: a chain, on what, and what is to be reached."""

    name: str
    group: str
    chain: Builder
    kind: str = "memory"
    dtype: str = "uint8"
    source: str = "npy"
    """What is read: ``npy``, or a file by its ending; ``plain.tif`` is a TIFF without compression."""
    target: str = "tif"
    options: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    tolerance: float = 0.5
    """The mean difference, in 255ths, by which the result of another library may differ from ours."""
    looser: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """Peers whose difference is larger, with the reason."""
    further: tuple[str, ...] = ()
    """Forms of peers that are shown and that no target is measured by."""
    only: tuple[str, ...] = ()
    """The peers that are measured, where that is not all."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of ours."""
    scale: float = 1.0
    """The side of the image, in sides of the run."""
    size: tuple[int, int] | None = None
    """The size of the image, where it does not follow the run."""
    count: int = 1
    tile: int = 512
    """The tile of the source file."""

    def size_at(self, side: int) -> tuple[int, int]:
        return self.size or (round(side * self.scale),) * 2

    @property
    def peers(self) -> tuple[str, ...]:
        copied = any(target.of == COPY for target in self.targets)
        return self.only or (*(name for name in PEERS if copied or name != COPY), *self.further)


def fixed(*steps: Any) -> Builder:
    """A chain that is the same at every size."""
    return lambda width, height: steps


def resized(factor: float) -> Builder:
    return lambda width, height: (("resize", (round(width * factor), round(height * factor)), "lanczos"),)


TONE = (("brightness", 20), ("contrast", 1.2), ("saturate", 1.1))
SAMPLES_3 = (("brightness", 20), ("contrast", 1.2), ("invert", 0.1))
SAMPLES_20 = tuple(
    step
    for i in range(5)
    for step in (("brightness", 7 - 2 * i), ("contrast", 1.02), ("gamma", 1.05 - 0.02 * i), ("invert", 0.03))
)
TONE_20 = tuple(("saturate", 1.05) if i % 5 == 4 else step for i, step in enumerate(SAMPLES_20))
"""The same with four matrices between."""
MATRICES_OF_20 = sum(step[0] not in CURVES for step in TONE_20)
BLOCK = [[-1, -1, -1], [-1, 16, -1], [-1, -1, -1]]
"""The mask of libvips's own benchmark, over 8."""
GRADE = (
    ("blur", 2.0), ("sharpen", 1.5), ("brightness", 20), ("contrast", 1.3), ("saturate", 1.2), ("sepia", 0.3),
    ("hue_rotate", 15), ("invert", 0.1), ("brightness", -10), ("contrast", 0.9), ("blur", 0.5),
)  # fmt: skip
SIX = (("brightness", 20), ("contrast", 1.2), ("saturate", 1.1), ("sharpen", 1.0), ("blur", 1.0), ("invert", 0.1))


def heavy(width: int, height: int) -> Chain:
    """The guide's ``heavy_processing``: 1,920 x 1,080 of an image of 10,000 pixels a side."""
    size = (max(1, round(width * 0.192)), max(1, round(height * 0.108)))
    return (("resize", size, "lanczos"), ("blur", 3.0), ("sharpen", 2.0), ("brightness", 30), ("contrast", 1.3))


def vips_benchmark(width: int, height: int) -> Chain:
    """libvips's own: crop 100 pixels, shrink by a tenth with a triangle filter, sharpen with a 3 x 3 mask."""
    box = (100, 100, width - 100, height - 100)
    size = (round((width - 200) * 0.9), round((height - 200) * 0.9))
    return (("crop", box), ("resize", size, "bilinear"), ("convolve", BLOCK, 8))


def thumbnail(width: int, height: int) -> Chain:
    return (("thumbnail", (256, 256)),)


def batch(width: int, height: int) -> Chain:
    """The guide's ``batch_process_threaded``."""
    size = (max(1, width // 5), max(1, height // 5))
    return (
        ("resize", size, "lanczos"), ("brightness", 10), ("contrast", 1.1), ("saturate", 1.05), ("sharpen", 1.1),
    )  # fmt: skip


def tone_targets(*more: Target) -> tuple[Target, ...]:
    return Target(0.15, VIPS), Target(0.10, "Pillow"), Target(3.5, COPY), *more, BEST


PILLOW_BLUR = (1.0, "its GaussianBlur is three box passes")
PYPI_BLUR = (2.0, "its blur is a Gaussian of about another width")
PYPI_CUT = {"imgrs 0.3.8": (1.5, "it cuts fractions off")}
SHARPENED = 6.0
"""Where blurring is sharpened nine times and then stretched, small differences between blurs show."""
PYPI_OWN = (8.0, "sepia, hue_rotate and blur are its own, and sharpening shows it")
CUBIC = (1.5, "another cubic, with a = -0.75")

MEMORY = (
    Workload("tone", "memory", fixed(*TONE), targets=tone_targets(), looser=PYPI_CUT, further=("copy in place",)),
    Workload("matrix", "memory", fixed(("saturate", 1.1)), targets=tone_targets(), looser=PYPI_CUT),
    Workload("3 samples", "memory", fixed(*SAMPLES_3), targets=tone_targets(), looser=PYPI_CUT),
    Workload("20 samples", "memory", fixed(*SAMPLES_20), targets=tone_targets(Target(1.2, ("3 samples",)))),
    Workload(
        "20 tone", "memory", fixed(*TONE_20),
        targets=tone_targets(Target(1.0, ("20 samples", *("matrix",) * MATRICES_OF_20))), tolerance=1.0,
    ),
    Workload(
        "blur 2", "memory", fixed(("blur", 2.0)), targets=(Target(0.75, VIPS), BEST),
        looser={"Pillow": PILLOW_BLUR, "imgrs 0.3.8": PYPI_BLUR}, further=("libvips float", "libvips defaults"),
    ),
    Workload(
        "blur 20", "memory", fixed(("blur", 20.0)), targets=(Target(0.5, VIPS), BEST), tolerance=0.6,
        looser={"Pillow": PILLOW_BLUR, "imgrs 0.3.8": PYPI_BLUR}, further=("libvips float", "libvips defaults"),
    ),
    Workload("half", "memory", resized(0.5), targets=(Target(1.0, VIPS), BEST), further=("libvips defaults",)),
    Workload(
        "tenth", "memory", resized(0.1), targets=(Target(1.0, VIPS), BEST), tolerance=1.0,
        further=("libvips defaults",),
    ),
    Workload(
        "1.5 times", "memory", resized(1.5), targets=(Target(1.0, VIPS), BEST),
        looser={"libvips": (1.5, "bicubic: it has no Lanczos to enlarge")},
    ),
    Workload("sharpen", "memory", fixed(("sharpen", 1.0)), targets=(Target(0.75, VIPS), BEST)),
    Workload("convolve", "memory", fixed(("convolve", BLOCK, 8)), targets=(Target(0.75, VIPS), BEST)),
    Workload(
        "rotate 7", "memory", fixed(("rotate", 7)), targets=(Target(1.0, VIPS), BEST),
        looser={"OpenCV": CUBIC, "Pillow": (2.5, "its cubic has a = -0.5 in 8-bit steps"), "imgrs 0.3.8": (3.0, "bilinear")},
    ),
    Workload(
        "heavy", "memory", heavy, targets=(Target(1.0, VIPS), BEST), tolerance=SHARPENED,
    ),
    Workload(
        "grade", "memory", fixed(*GRADE), targets=(Target(0.4, VIPS), BEST), tolerance=3.0,
        looser={"Pillow": (4.0, PILLOW_BLUR[1]), "imgrs 0.3.8": PYPI_OWN},
    ),
)  # fmt: skip


def _at(dtype: str, row: Workload) -> Workload:
    """The same row at another depth, where the targets of tone are not set.

    Floats go without tone steps that are no ``a x + b``, which not everyone has.
    """

    def chain(width: int, height: int) -> Chain:
        steps = row.chain(width, height)
        return tuple(s for s in steps if dtype != "float32" or s[0] not in CURVES or s[0] in AFFINE)

    tone = all(name in CURVES or name in MATRICES for name, *_ in row.chain(100, 100))
    further = tuple(name for name in row.further if name != "libvips float")
    name = {"uint16": "16-bit", "float32": "float"}[dtype]
    return replace(
        row,
        name=f"{row.name}, {name}",
        group=f"memory {name}",
        dtype=dtype,
        targets=(BEST,) if tone else row.targets,
        tolerance=min(row.tolerance, 1.0),
        further=further,
        chain=chain,
    )


FILES = (
    Workload(
        "libvips's own", "files", vips_benchmark, "file", source="plain.tif", options={"compression": "none"},
        targets=(Target(1.0, VIPS, "whole"), LEAN, BEST), tolerance=1.0,
    ),
    Workload(
        "tone, TIFF", "files", fixed(*TONE), "file", source="tif", options=DEFLATE,
        targets=(Target(0.4, VIPS), LEAN, BEST), looser=PYPI_CUT,
    ),
    Workload(
        "heavy, TIFF", "files", heavy, "file", source="tif", options=DEFLATE,
        targets=(Target(1.0, VIPS), LEAN, BEST), tolerance=SHARPENED,
    ),
    Workload(
        "grade, TIFF", "files", fixed(*GRADE), "file", source="tif", options=DEFLATE,
        targets=(Target(0.4, VIPS), LEAN, BEST), tolerance=3.0,
        looser={"Pillow": (4.0, PILLOW_BLUR[1]), "imgrs 0.3.8": PYPI_OWN},
    ),
    Workload(
        "heavy, JPEG", "files", heavy, "file", source="jpg", target="jpg", options=JPEG,
        targets=(Target(1.1, VIPS), LEAN, BEST), tolerance=SHARPENED, further=("libvips shrink-on-load",),
    ),
    Workload(
        "heavy, JPEG, fast", "files", heavy, "file", source="jpg", target="jpg", options=JPEG,
        targets=(Target(0.5, VIPS), BEST), settings={"optimizer": "fast"},
        tolerance=SHARPENED, further=("libvips shrink-on-load",),
    ),
    Workload(
        "JPEG to JPEG", "files", fixed(*TONE), "file", source="jpg", target="jpg", options=JPEG,
        targets=(Target(1.1, VIPS), LEAN, BEST), tolerance=3.0,
        looser={"imgrs 0.3.8": (6.0, "its quality is its own")},
    ),
    Workload(
        "PNG to PNG", "files", fixed(*TONE), "file", source="png", target="png", options=PNG,
        targets=(Target(1.0, VIPS), LEAN, BEST), looser=PYPI_CUT,
    ),
    Workload(
        "thumbnail", "files", thumbnail, "file", source="jpg", target="png", options=PNG,
        targets=(Target(1.1, VIPS), LEAN, BEST), tolerance=4.0,
    ),
)  # fmt: skip
WINDOWS = tuple(
    Workload(
        f"window{label}", "windows", fixed(*GRADE), "window", source="tif", count=5, scale=scale,
        targets=(Target(1.0, VIPS), *growth, BEST), tolerance=3.0,
        looser={"Pillow": (4.0, PILLOW_BLUR[1])}, only=() if scale == 1 else (OURS, VIPS),
    )
    for label, scale, growth in (
        ("", 1.0, ()),
        (" of a quarter", 0.5, ()),
        (" of 4 times", 2.0, (Target(1.25, ("window",)), Target(1.25, ("window",), "memory"))),
    )
)  # fmt: skip
BATCH = (
    Workload(
        "batch",
        "batch",
        batch,
        "batch",
        source="jpg",
        target="jpg",
        options=JPEG,
        size=(4_000, 3_000),
        count=50,
        targets=(Target(1.1, VIPS), BEST),
        tolerance=4.0,
    ),
)
SMALL = (
    Workload(
        "small", "small", fixed(*SIX), size=(256, 256), targets=(Target(1.5, "Pillow"),), tolerance=1.5,
        looser={"imgrs 0.3.8": (3.0, PYPI_BLUR[1])},
    ),
)  # fmt: skip
GROWTH = tuple(
    Workload(
        f"growth {scale * scale:g}",
        "growth",
        fixed(*TONE),
        "file",
        source="tif",
        options=DEFLATE,
        scale=scale,
        only=(OURS, VIPS),
        targets=(Target(0.4, VIPS), LEAN, *flat),
    )
    for scale, flat in (
        (0.5, ()),
        (1.0, ()),
        (2.0, (Target(1.1, ("growth 1",), "memory"),)),
        (4.0, (Target(1.1, ("growth 1",), "memory"),)),
    )
)
WORKLOADS = {
    row.name: row
    for row in (
        *MEMORY,
        *(_at("uint16", row) for row in MEMORY),
        *(_at("float32", row) for row in MEMORY),
        *FILES,
        *WINDOWS,
        *BATCH,
        *SMALL,
        *GROWTH,
    )
}
GROUPS = tuple(dict.fromkeys(row.group for row in WORKLOADS.values()))
THREADED = {"tone": "copy", "blur 2": "arithmetic", "grade": "arithmetic"}
"""Workloads whose gain by a second thread is measured, and what that of the machine is measured by."""
