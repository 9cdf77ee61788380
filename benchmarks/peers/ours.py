"""The engine itself, by its public interface and its defaults; nothing is chosen for it that a user would not write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.job import Job
from benchmarks.steps import Step

SETTINGS = "defaults; as many workers as cores"
ENGINE = ("chunks", "optimizer", "scheduler", "memory_limit")


def cannot(job: Job) -> str:
    return ""


def prepare(settings: Mapping[str, Any]) -> None:
    import imgrs

    here = Path(__file__).resolve().parents[2]
    if Path(imgrs.__file__).resolve().parents[1] != here:
        raise SystemExit(f"benchmarks: imgrs was imported from {imgrs.__file__}, not from {here}")
    imgrs.set_options(workers=settings["threads"], **{name: settings[name] for name in ENGINE if name in settings})


def versions() -> dict[str, str]:
    from importlib.metadata import version

    import imgrs

    names = ("numpy", "dask", "numba", "opencv-python-headless", "imagecodecs", "isal")
    return {"imgrs": imgrs.__version__, **{name: version(name) for name in names}}


def applied(image: Any, chain: Sequence[Step]) -> Any:
    """The chain as method calls."""
    for name, *args in chain:
        image = getattr(image, name)(*args)
    return image


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import imgrs

    return applied(imgrs.fromarray(array), chain).compute()


def from_file(source: str, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import imgrs

    return applied(imgrs.open(source), chain).compute()


def to_file(
    source: str, chain: Sequence[Step], target: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    import imgrs

    applied(imgrs.open(source), chain).save(target, **saving(target, options))


def saving(target: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a save takes for the options of a job."""
    return {"compress_level": options["level"]} if target.endswith(".png") else dict(options)


def predicted(job: Job) -> float | None:
    """Seconds that the planner expects of a job."""
    import imgrs
    from imgrs import config
    from imgrs.io import format_for
    from imgrs.plan.choose import plan
    from imgrs.run.save import _sink

    if job.kind not in ("memory", "file", "window"):
        return None
    if job.kind == "memory":
        import numpy as np

        image = imgrs.fromarray(np.load(job.source, mmap_mode="r"))
    else:
        image = imgrs.open(job.source)
    chain = job.chain
    if job.kind == "window":
        from benchmarks.steps import window

        chain = (*chain, ("crop", window(job.width, job.height, 1)))
    node = applied(image, chain)._node
    sinks = []
    if job.kind == "file":
        sinks = [_sink(format_for(job.target, None).encoder(node.spec, {}, saving(job.target, job.options)))]
    return plan([node], config.settings(), sinks).forecast.seconds
