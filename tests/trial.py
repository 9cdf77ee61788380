"""Opens files that are not to be trusted in a process of its own, which may run out of memory, hang or die."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy.typing as npt

SECONDS = 10
"""After which a file counts as one that hangs."""
ROOM = 200 << 20
"""Bytes that a file may make the process allocate at once."""
UNIT = 10 << 20
"""``imgrs.max-decode-bytes`` during a trial: far below the room, so that what ignores it is found out."""


class Trial:
    """A process that opens files one after another; ``tried`` says what became of one.

    It says ``"pixels"`` with their digest, or the name of the error, ours or not; ``"crash"`` and ``"hang"`` where the
    process did not survive, after which another one takes its place.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._folder.cleanup()

    def tried(self, data: bytes, **options: Any) -> Outcome:
        """Open ``data``, read what it says of itself, and compute its pixels; ``options`` are those of ``open``."""
        if self._process is None:
            script = "from tests.trial import serve; serve()"
            self._log = open(os.path.join(self._folder.name, "log"), "w+b")  # noqa: SIM115  # it lives as long as the process
            self._process = subprocess.Popen(
                [sys.executable, "-c", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, "MALLOC_ARENA_MAX": "1"},
                cwd=self._folder.name,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((data, options), self._process.stdin)
            self._process.stdin.flush()
            found: Outcome = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            self._end()
            self._log.seek(0)
            log = self._log.read().decode(errors="replace")
            return Outcome("hang" if "Timeout (" in log else "crash", log[-2_000:])
        return found

    def _end(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(frozen=True)
class Outcome:
    """What became of a file."""

    kind: str
    """``"pixels"``, the name of an error of ours, or what must not be."""
    message: str = ""
    pixels: npt.NDArray[Any] | None = None


def serve() -> None:
    """Try files that come in by standard input, and tell by standard output what became of each."""
    import faulthandler
    import resource
    import warnings

    import dask.config

    warnings.simplefilter("ignore")  # decoders warn of what they repair
    faulthandler.enable()
    dask.config.set({"imgrs.max-decode-bytes": UNIT})
    for number in itertools.count():
        try:
            data, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if number and sys.platform == "linux":  # the first one loads libraries
            with open("/proc/self/statm") as statistics:
                used = int(statistics.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        outcome = _outcome(data, number, options)
        faulthandler.cancel_dump_traceback_later()
        pickle.dump(outcome, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _outcome(data: bytes, number: int, options: dict[str, Any]) -> Outcome:
    import imgrs
    from imgrs.errors import CorruptImageError, ImgrsError

    try:
        source: Any = data
        if number % 2:  # files and bytes are read in different ways
            source = f"{number % 4}.image"
            with open(source, "wb") as file:
                file.write(data)
        img = imgrs.open(source, **options)
        small = img.nbytes <= UNIT // 2
        side = max(1, min(img.width, img.height, math.isqrt((1 << 20) // (img.bands * img.dtype.itemsize))))
        wanted = img if small else img.crop((img.width - side, 0, img.width, side))
        img.metadata  # noqa: B018  # it is made when it is asked for
        if img.n_frames > 1:
            img.page(1).metadata  # noqa: B018
        try:
            pixels = wanted.compute(memory_limit="256MiB", scheduler="sync")
        except CorruptImageError as error:
            if options.get("on_error") != "fill":
                raise
            return Outcome("not filled", str(error))
        assert pixels.shape == wanted.shape
        assert pixels.dtype == wanted.dtype
        return Outcome("pixels", "", pixels if small else None)
    except ImgrsError as error:
        if isinstance(error.__cause__, MemoryError) or "allocate" in str(error):
            return Outcome("out of memory", str(error))
        return Outcome(type(error).__name__ if str(error) else "an error without a message", str(error))
    except BaseException as error:
        import traceback

        return Outcome(f"raw {type(error).__name__}", "".join(traceback.format_exception(error))[-3_000:])
