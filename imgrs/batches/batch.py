"""``imgrs.batch``: many files through one pipeline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from typing import Any

from imgrs import config
from imgrs.batches.done import Done
from imgrs.batches.report import Report, Result
from imgrs.batches.sources import found, targets, template_of
from imgrs.errors import ArgumentError, ArgumentTypeError, said_by
from imgrs.image import Image
from imgrs.pipelines import Pipeline
from imgrs.together import Saved


def batch(
    sources: str | PathLike[str] | Iterable[str | PathLike[str]],
    pipeline: Callable[[Image], Saved] | None = None,
    out: str | PathLike[str] = "out/{name}",
    *,
    orient: bool = False,
    on_error: str = "collect",
    resume: bool = False,
    **options: Any,
) -> Report:
    """Open each source, put it through ``pipeline``, and save the result; one bad file does not stop the others.

    ``sources`` are paths, URLs, patterns (``"in/**/*.jpg"``) and folders, of which the files count that are named as images
    are, or several of them. ``pipeline`` is an ``imgrs.pipeline()``, or any function that makes an image of an image; None
    converts. ``out`` names the results: ``{stem}`` is the source's name without its extension ``{ext}``, ``{name}`` both,
    ``{parent}`` its folder below the one that all sources are in, ``{index}`` its number from 0; the extension decides the
    format. Folders are made as needed, and ``out`` may be one. ``orient=True`` sets photographs upright first.

    What fails is told in the report, with the operation and the tile; ``on_error="raise"`` raises the first such error
    instead. A batch notes what is done, in a file beside its results: with ``resume=True`` one that was stopped makes only
    what is missing. What is there is made again where its source, the pipeline or an option is another than it was.

    Other keywords are the formats' (as in ``Image.save``) and the engine's (as in ``imgrs.options``), for all images. What
    an image has of its own the function returns beside it, as in ``save_all``: ``(img, {"quality": 80})``. ``workers`` and
    ``memory_limit`` are those of the whole batch: an image is begun when the forecast of its memory fits beside those that
    are being made, and is made by one worker, or by several where fewer images than workers are left or memory holds
    fewer. With ``scheduler="processes"`` or a ``distributed.Client`` each worker makes one image at a time; the pipeline
    then has to pickle, and files have to be where the workers see them.

    Raises ``ArgumentError`` before anything is made: for a pattern that nothing matches, results that would be the same
    file or replace a source, and options that the engine and the formats do not have.

    >>> import imgrs, tempfile, os
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("a", "b"):
    ...     imgrs.new("L", (40, 30), 7).save(f"{folder}/{name}.tif")
    >>> report = imgrs.batch(f"{folder}/*.tif", lambda img: img.resize((20, 15)), f"{folder}/small/{{stem}}.png")
    >>> [result.status for result in report], os.path.exists(f"{folder}/small/b.png")
    (['saved', 'saved'], True)
    """
    from imgrs.batches.crew import made
    from imgrs.batches.work import Job
    from imgrs.run.progress import shown

    start = time.perf_counter()
    pipeline = Image.copy if pipeline is None else pipeline
    _check_pipeline(pipeline)
    if on_error not in ("collect", "raise"):
        raise ArgumentError(f'batch: on_error must be "collect" or "raise", got {on_error!r}')
    settings = config.settings(**{name: options.pop(name) for name in config.NAMES if name in options})
    each = replace(settings, progress=False)  # there is one bar, for all
    template = template_of(out)
    names = found(sources)
    outputs = checked_targets(names, template, options)
    if resume and "://" in template:
        raise ArgumentError("batch: resume=True needs results on this host, whose files tell whether they are whole")
    done = Done.of(template) if "://" not in template else None
    known = done if resume else None
    jobs = [
        Job(name, output, pipeline, options, each, orient, on_error == "collect", known.key(output) if known else None)
        for name, output in zip(names, outputs, strict=True)
    ]
    results: list[Result | None] = [None] * len(jobs)
    try:
        with shown(settings.progress, "batch") as bar, closing(made(jobs, each)) as finished:
            if bar is not None:
                bar.images(len(jobs))
            for place, one in finished:
                results[place] = one.result
                if bar is not None:
                    bar.image((one.result.width or 0) * (one.result.height or 0))
                if done and one.key and one.result.status == "saved":
                    done.add(one.result.output, one.key)
    except KeyboardInterrupt as interrupt:
        count = sum(result is not None for result in results)
        told = f"{count:,} of {len(jobs):,} images were done; resume=True makes the others"
        raise KeyboardInterrupt(told) from interrupt
    return Report(tuple(result for result in results if result is not None), time.perf_counter() - start)


def checked_targets(names: Sequence[str], template: str, options: Mapping[str, Any]) -> list[str]:
    """What each source is saved as. Raises ``ArgumentError`` as ``targets`` does, and for options that no format has."""
    outputs = targets(names, template)
    _check_options(outputs, options)
    return outputs


def _check_pipeline(pipeline: Any) -> None:
    if not callable(pipeline):
        raise ArgumentTypeError(f"batch: pipeline must take an image and return one, got {type(pipeline).__name__}")
    if isinstance(pipeline, Pipeline) and len(pipeline.inputs) > 1:
        others = ", ".join(pipeline.inputs[1:])
        raise ArgumentError(
            f"batch: the pipeline needs more images than one ({others}); give it a function that has them"
        )


def _check_options(outputs: Sequence[str], options: Mapping[str, Any]) -> None:
    """Raise ``ArgumentError`` for an extension without a format, and for an option that a format does not have."""
    from imgrs.io import format_for
    from imgrs.io.options import meant

    given = {name: value for name, value in options.items() if name not in ("format", "metadata", "recipe")}
    for output in {os.path.splitext(output)[1].lower(): output for output in outputs}.values():
        with said_by("batch"):
            format = format_for(output, options.get("format"))
        for name in given:
            if name not in format.options:
                has = f"{format.name} has {', '.join(sorted(format.options)) or 'none'}"
                raise ArgumentError(
                    f"batch: there is no option {name!r}{meant(name, format.options)}; {has}, "
                    f"and the engine {', '.join(config.NAMES)}"
                )
        with said_by("batch"):
            format.check(given)
