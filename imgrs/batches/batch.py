"""``imgrs.batch``: many files through one pipeline."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from imgrs import config
from imgrs.batches.done import Done
from imgrs.batches.report import Report, Result
from imgrs.batches.sources import found, targets
from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.image import Image

if TYPE_CHECKING:
    from imgrs.batches.work import Pipeline


def batch(
    sources: str | PathLike[str] | Iterable[str | PathLike[str]],
    pipeline: Pipeline = Image.copy,
    out: str | PathLike[str] = "out/{name}",
    *,
    on_error: str = "collect",
    resume: bool = False,
    **options: Any,
) -> Report:
    """Open each source, put it through ``pipeline``, and save the result; one bad file does not stop the others.

    ``sources`` are paths, URLs, patterns (``"in/**/*.jpg"``) and folders, or several of them. ``pipeline`` is an
    ``imgrs.pipeline()``, or any function that makes an image of an image. ``out`` names the results: ``{stem}`` is the
    source's name without its extension ``{ext}``, ``{name}`` both, ``{parent}`` its folder below the one that all sources
    are in, ``{index}`` its number from 0; the extension decides the format. Folders are made as needed.

    What fails is told in the report, with the operation and the tile; ``on_error="raise"`` raises the first such error
    instead. With ``resume=True`` a batch that was killed makes only what is missing when it is called again with
    ``resume=True``: what is there is made again where its source, the pipeline or an option is another than it was.

    Other keywords are the formats' (as in ``Image.save``) and the engine's (as in ``imgrs.options``). ``workers`` and
    ``memory_limit`` are those of the whole batch: an image is begun when the forecast of its memory fits beside those that
    are being made, and is made by one worker, or by several where fewer images than workers are left or memory holds
    fewer. With ``scheduler="processes"`` or a ``distributed.Client`` each worker makes one image at a time; the pipeline
    then has to pickle, and files have to be where the workers see them.

    Raises ``ArgumentError`` before anything is made: for sources that are not there to be found by a pattern, and results
    that would be the same file, or would replace a source.

    >>> import imgrs, tempfile, os
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("a", "b"):
    ...     imgrs.new("L", (40, 30), 7).save(f"{folder}/{name}.tif")
    >>> report = imgrs.batch(f"{folder}/*.tif", lambda img: img.resize((20, 15)), f"{folder}/small/{{stem}}.png")
    >>> [row["status"] for row in report.rows], sorted(os.listdir(f"{folder}/small"))
    (['saved', 'saved'], ['a.png', 'b.png'])
    """
    from imgrs.batches.crew import made
    from imgrs.batches.work import Job
    from imgrs.run.progress import shown

    start = time.perf_counter()
    if not callable(pipeline):
        raise ArgumentTypeError(f"batch: pipeline must take an image and return one, got {type(pipeline).__name__}")
    if on_error not in ("collect", "raise"):
        raise ArgumentError(f'batch: on_error must be "collect" or "raise", got {on_error!r}')
    settings = config.settings(**{name: options.pop(name) for name in config.NAMES if name in options})
    each = replace(settings, progress=False)  # there is one bar, for all
    names = found(sources)
    outputs = targets(names, out)
    done = Done.of(str(out)) if resume else None
    jobs = [
        Job(name, output, pipeline, options, each, on_error == "collect", done.key(output) if done else None)
        for name, output in zip(names, outputs, strict=True)
    ]
    results: list[Result | None] = [None] * len(jobs)
    with shown(settings.progress, "batch") as bar, closing(made(jobs, each)) as finished:
        if bar is not None:
            bar.images(len(jobs))
        for place, one in finished:
            results[place] = one.result
            if bar is not None:
                bar.image((one.result.width or 0) * (one.result.height or 0))
            if done and one.key and one.result.status == "saved":
                done.add(one.result.output, one.key)
    return Report(tuple(result for result in results if result is not None), time.perf_counter() - start)
