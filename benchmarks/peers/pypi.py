"""The package ``imgrs`` 0.3.8 from PyPI, which has our import name and its own environment.

Its names are the guide's, its meanings are its own in places: ``blur(r)`` is a Gaussian of about r / 2.15, ``hue_rotate`` and
``sepia`` have other formulas, ``rotate`` turns clockwise and adds alpha, ``crop`` takes a size. It holds 8 bits only, and
writes files with its own quality and compression.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.job import Job
from benchmarks.steps import Step

VERSION = "0.3.8"
SETTINGS = "its defaults; blur(2.15 sigma)"


def interpreter(folder: Path) -> Path:
    """The Python of an environment below ``folder`` that has the package; made when it is not there.

    Raises ``RuntimeError`` where pip cannot get it.
    """
    place = folder / f"imgrs-{VERSION}"
    python = place / "bin" / "python"
    ready = place / "ready"
    if not ready.exists():
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=False, capture_output=True)
        command = [str(python), "-m", "pip", "install", "-q", f"imgrs=={VERSION}", "numpy"]
        if made.returncode or subprocess.run(command, check=False, capture_output=True).returncode:
            raise RuntimeError(f"imgrs {VERSION} could not be installed into {place}")
        ready.touch()
    return python


def cannot(job: Job) -> str:
    if any(step[0] in ("gamma", "convolve") for step in job.chain):
        return "no gamma, no convolution"
    if any(step[0] == "resize" and step[2] != "lanczos" for step in job.chain):
        return "no antialiased triangle"
    if job.options.get("compression") == "none" or job.kind == "window":
        return "chooses the compression itself; reads whole files"
    return "" if job.dtype == "uint8" else "8 bits only"


def prepare(settings: Mapping[str, Any]) -> None:
    import imgrs

    if not Path(imgrs.__file__).is_relative_to(sys.prefix) or imgrs.__version__ != VERSION:
        raise SystemExit(f"benchmarks: {imgrs.__file__} is not the package from PyPI")


def versions() -> dict[str, str]:
    return {"imgrs from PyPI": VERSION}


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import imgrs

    return _array(_applied(imgrs.fromarray(array), chain))


def from_file(source: str, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import imgrs

    return _array(_applied(imgrs.open(source), chain))


def to_file(
    source: str, chain: Sequence[Step], target: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    import imgrs

    _applied(imgrs.open(source), chain).save(target)


def _array(image: Any) -> Any:
    import numpy as np

    pixels = np.frombuffer(image.to_bytes(), np.uint8).reshape(image.height, image.width, -1)
    return np.ascontiguousarray(pixels[..., :3])


def _applied(image: Any, chain: Sequence[Step]) -> Any:
    for name, *args in chain:
        if name == "blur":
            image = image.blur(2.15 * args[0])
        elif name == "rotate":
            image = image.rotate(-args[0])
        elif name == "crop":
            left, top, right, bottom = args[0]
            image = image.crop((left, top, right - left, bottom - top))
        elif name == "resize":
            image = image.resize(tuple(args[0]), "LANCZOS")
        elif name == "thumbnail":
            image.thumbnail(tuple(args[0]))
        else:
            image = getattr(image, name)(*args)
    return image
