"""One image of a batch: opened, put through the pipeline, and saved."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from imgrs.batches.report import Result
from imgrs.cache import versions
from imgrs.config import Settings
from imgrs.create import open as open_image
from imgrs.errors import ImgrsError, MemoryBudgetError, SaveError
from imgrs.image import Image
from imgrs.pipelines import Pipeline, recipe_behind
from imgrs.run.save import Output, forecast, save
from imgrs.together import Saved, image_and_options

Admit: TypeAlias = Callable[[Settings, Callable[[Settings], int]], AbstractContextManager[Settings]]
"""From the settings of the batch, and the memory that an image takes under some settings, those that it is made under, once
there is room for it."""


@dataclass(frozen=True)
class Job:
    """One image to be made; it pickles if the pipeline does."""

    source: str
    output: str
    pipeline: Callable[[Image], Saved]
    options: Mapping[str, Any]
    """Those of the format, for all images of the batch."""
    settings: Settings
    orient: bool
    """Whether the source is set upright."""
    collects: bool
    """Whether what fails is told in the result, and not raised."""
    done: str | None = None
    """The key under which the journal has this output, where it is whole."""


@dataclass(frozen=True)
class Made:
    """What became of a job, and the key of what the output was made from."""

    result: Result
    key: str | None = None


def work(job: Job, admit: Admit, leaves: type[Exception] | tuple[()] = ()) -> Made:
    """Do a job, when ``admit`` has found room for it; errors that it ``leaves`` are raised in any case."""
    start = time.perf_counter()
    waited = 0.0
    try:
        source = open_image(job.source, orient=job.orient)
        image, own = image_and_options(job.pipeline(source), "batch: the pipeline must return")
        options = {**job.options, **own}
        if isinstance(job.pipeline, Pipeline) and options.get("recipe") is True:
            options["recipe"] = recipe_behind(source, job.pipeline)
        key = _key(image, options, job)
        if key == job.done:
            return Made(Result(job.source, job.output, "kept", *image.size, bytes=_bytes(job.output)), key)
        output = _output(image, options, job)
        asked = time.perf_counter()
        with admit(job.settings, lambda settings: forecast([output], settings).peak_bytes) as settings:
            waited = time.perf_counter() - asked
            save([output], settings)
        seconds = time.perf_counter() - start - waited
        return Made(Result(job.source, job.output, "saved", *image.size, seconds, bytes=_bytes(job.output)), key)
    except leaves:
        raise
    except Exception as error:  # the user's pipeline may raise anything, and one image must not stop the others
        if not job.collects:
            error.add_note(f"while batch made {job.output} of {job.source}")
            raise
        return failed(job, error, time.perf_counter() - start - waited)


def failed(job: Job, error: Exception, seconds: float = 0.0) -> Made:
    """What is told of a job that raised ``error``."""
    made = Result(job.source, job.output, "failed", seconds=seconds, error=type(error).__name__, message=str(error))
    return Made(replace(made, op=error.op, tile=error.tile) if isinstance(error, ImgrsError) else made)


@contextmanager
def at_once(settings: Settings, needed: Callable[[Settings], int]) -> Iterator[Settings]:
    """Admit an image without a look at what else is being made."""
    yield settings


def work_whole(job: Job) -> Made:
    """Do a job, in another process that has the memory to itself."""
    return work(job, at_once)


def work_in_part(job: Job) -> Made:
    """Do a job in a part of the memory. Raises ``MemoryBudgetError`` where that is too little."""
    return work(job, at_once, leaves=MemoryBudgetError)


def _key(image: Image, given: Mapping[str, Any], job: Job) -> str:
    """A digest of all that decides about the bytes of a result: the graph, options, rules with a tolerance, and versions."""
    options = sorted((name, repr(value)) for name, value in given.items())
    text = f"{versions()} {image.key} {options} {job.settings.optimizer == 'fast'}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _output(image: Image, options: Mapping[str, Any], job: Job) -> Output:
    given = dict(options)
    output = image._output(job.output, given.pop("format", None), given)
    if "://" not in job.output:
        folder = os.path.dirname(job.output)
        try:
            os.makedirs(folder or ".", exist_ok=True)
        except OSError as error:
            raise SaveError(f"{folder} could not be made: {error}") from error
    return output


def _bytes(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None
