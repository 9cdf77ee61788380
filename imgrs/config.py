"""Options of the engine: where they come from, and one frozen record of what holds for a run.

An option is, in this order: the keyword of ``compute`` or ``save``; the innermost ``with options(...)``; ``dask.config``
under ``imgrs`` (which ``set_options``, a YAML file of Dask's, or an environment variable such as
``DASK_IMGRS__MEMORY_LIMIT=512MiB`` sets); the default. It is read once, in the calling thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.sizes import bytes_of

if TYPE_CHECKING:
    from imgrs.cache import Cache

NAMES = ("chunks", "scheduler", "workers", "memory_limit", "optimizer", "cache", "progress")
_NAMED_SCHEDULERS = {
    "threads": "threads",
    "threading": "threads",
    "sync": "sync",
    "synchronous": "sync",
    "single-threaded": "sync",
    "processes": "processes",
    "multiprocessing": "processes",
    "distributed": "distributed",
}
_MODULES = {"dask.threaded": "threads", "dask.local": "sync", "dask.multiprocessing": "processes"}
"""The schedulers of Dask that have names here, by where they are."""
_OPTIMIZERS = {True: "exact", False: "off", "exact": "exact", "off": "off", "fast": "fast"}

_local: ContextVar[Mapping[str, Any]] = ContextVar("imgrs_options", default=MappingProxyType({}))


@dataclass(frozen=True)
class Settings:
    """The options of one run. ``None`` is "choose": tile size, scheduler and workers are then the engine's choice."""

    chunks: tuple[int, int] | None
    scheduler: Any  # a name, a distributed.Client, a callable as Dask takes it, or None where not even Dask was told
    workers: int
    memory_limit: int
    optimizer: str
    progress: bool | None = None
    """Whether a call shows how far it has come; None for a terminal only, and after half a second."""
    cache: Cache | None = None
    """Where results are kept between runs, as it was asked for; ``cache_in_use`` is where they are."""

    @property
    def shares_memory(self) -> bool:
        """Whether tasks run in this process."""
        return self.scheduler in (None, "threads", "sync")

    @property
    def cache_in_use(self) -> Cache | None:
        """The cache that a run looks up and fills: one in memory serves tasks of this process only."""
        return self.cache if self.cache is None or self.shares_memory or self.cache.folder is not None else None

    @property
    def on_this_host(self) -> bool:
        """Whether all tasks run on this host, and may share files."""
        return self.shares_memory or self.scheduler == "processes"


@contextmanager
def options(**values: Any) -> Iterator[None]:
    """Set options for the calls inside the ``with`` block, in this thread or task only.

    Parameters: ``chunks=(width, height)``, the compute tile in pixels (the engine's choice unless given);
    ``scheduler="threads"`` (the default), ``"sync"``, ``"processes"``, ``"distributed"`` (for which a
    ``distributed.Client`` must be started first) or a ``distributed.Client``; ``workers``, a number (default: the
    processors that this process may use; 1 in a process that ``multiprocessing`` started, as there are more of them);
    ``memory_limit``, bytes or text such as ``"512MiB"`` (default: a quarter of what is free); ``optimizer="exact"`` (the
    default), ``"off"`` or ``"fast"``; ``cache``, an ``imgrs.Cache``, or bytes or text such as ``"64MiB"`` for one in
    memory that all calls of this process with that limit share, or ``False`` (the default); ``progress``, True or False for
    a bar on standard error or none (default: in a terminal, for calls of more than half a second). Raises
    ``ArgumentError`` for others.

    ``memory_limit`` is for the arrays of one run, all its workers together. Python and the libraries that are loaded come
    on top, 100 to 150 MB for each process, as do arrays that the caller holds or is handed, what a cache in memory holds,
    and at most 16 MiB for threads, Dask's graph and codecs.

    >>> import imgrs
    >>> with imgrs.options(chunks=(256, 256), scheduler="sync"):
    ...     array = imgrs.new("L", (64, 64), 7).compute()
    """
    token = _local.set({**_local.get(), **_checked(values)})
    try:
        yield
    finally:
        _local.reset(token)


def set_options(**values: Any) -> None:
    """Set options for the whole process, as ``dask.config`` keeps them; the parameters are those of ``options``."""
    import dask.config

    dask.config.set({f"imgrs.{name}": value for name, value in _checked(values).items()})


def parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those keywords of a call that are the engine's, and those that are a format's."""
    engine = {name: value for name, value in options.items() if name in NAMES}
    return engine, {name: value for name, value in options.items() if name not in NAMES}


def settings(**values: Any) -> Settings:
    """What holds now for a call with these keywords; ``None`` stands for "not given"."""
    import dask.config

    found = {name: dask.config.get(f"imgrs.{name}", None) for name in NAMES}
    found = _checked({name: value for name, value in found.items() if value is not None})
    found |= _local.get()
    found |= _checked({name: value for name, value in values.items() if value is not None})
    workers = found.get("workers") or dask.config.get("num_workers", None) or (1 if _is_pooled() else available_cpus())
    limit = found.get("memory_limit")
    return Settings(
        chunks=found.get("chunks"),
        scheduler=found.get("scheduler") or _scheduler_of_dask(),
        workers=int(workers),
        memory_limit=available_memory() // 4 if limit is None else limit,
        optimizer=found.get("optimizer", "exact"),
        progress=found.get("progress"),
        cache=found.get("cache"),
    )


def _scheduler_of_dask() -> Any:
    """What ``dask.config`` or an active client says; None, without loading ``distributed`` (0.2 s), where neither does."""
    import dask.config

    if "distributed" not in sys.modules and not dask.config.get("scheduler", None):
        return None
    import dask.base

    get = dask.base.get_scheduler()
    return _MODULES.get(getattr(get, "__module__", ""), get)


def _is_pooled() -> bool:
    """Whether this process was started by ``multiprocessing``, and so, as a rule, is one of several at work."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def available_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that could be used now: what the machine has free, or the control group allows, whichever is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit_file, usage_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            with open(limit_file) as limit, open(usage_file) as usage:
                text = limit.read().strip()
                if text != "max":
                    free = min(free, max(int(text) - int(usage.read()), 0))
        except (OSError, ValueError):
            continue
    return free


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    for name in values:
        if name not in NAMES:
            raise ArgumentTypeError(f"options: {name!r} is not an option; the options are {', '.join(NAMES)}")
    return {name: _CHECKS[name](value) for name, value in values.items() if value is not None}


def _chunks(value: Any) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ArgumentError(f"options: chunks must be (width, height) in pixels, each at least 1, got {value!r}")
    return int(sides[0]), int(sides[1])


def _scheduler(value: Any) -> Any:
    if isinstance(value, str):
        if value.lower() not in _NAMED_SCHEDULERS:
            raise ArgumentError(
                f"options: scheduler must be threads, sync, processes, distributed or a distributed.Client, got {value!r}"
            )
        return _NAMED_SCHEDULERS[value.lower()]
    if callable(value) or callable(getattr(value, "get", None)):
        return value
    raise ArgumentTypeError(f"options: scheduler must be a name or a distributed.Client, got {type(value).__name__}")


def _workers(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"options: workers must be a whole number of at least 1, got {value!r}")
    return value


def _memory(value: Any) -> int:
    return bytes_of("options: memory_limit", value)


def _cache(value: Any) -> Any:
    from imgrs.cache import checked

    return checked(value)


def _optimizer(value: Any) -> str:
    if not isinstance(value, (str, bool)) or value not in _OPTIMIZERS:
        raise ArgumentError(f'options: optimizer must be "exact", "off" or "fast", got {value!r}')
    return _OPTIMIZERS[value]


def _progress(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"options: progress must be True or False, got {value!r}")
    return value


_CHECKS = {
    "chunks": _chunks,
    "scheduler": _scheduler,
    "workers": _workers,
    "memory_limit": _memory,
    "optimizer": _optimizer,
    "progress": _progress,
    "cache": _cache,
}
