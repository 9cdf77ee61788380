"""How many images of a batch are made at once, with how many workers each, in whose memory.

In this process each image has a thread; while as many images are left as there are workers and memory holds them, each is
made by its thread alone, which costs least. Fewer images, or larger ones, share all workers. In other processes, here or
on a cluster, each worker makes one image in its part of the memory; those that need more are made last, one at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

from imgrs.batches.work import Job, Made, at_once, work, work_in_part, work_whole
from imgrs.config import Settings
from imgrs.errors import MemoryBudgetError
from imgrs.run.engine import client_of
from imgrs.run.tasks import Stop

Finished: TypeAlias = Generator[tuple[int, Made], None, None]

AHEAD = 2
"""Jobs that are handed to each worker before the first of them is done."""


class Budget:
    """Memory that jobs take and give back; who asks first gets it first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def share(self, wanted: int) -> Iterator[None]:
        """Hold ``wanted`` bytes, or all that there is, while the block runs."""
        wanted = min(wanted, self.limit)
        me = object()
        with self._changed:
            self._line.append(me)
            try:
                self._changed.wait_for(lambda: self._line[0] is me and wanted <= self._free)
            finally:
                self._line.remove(me)
                self._changed.notify_all()
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


def made(jobs: Sequence[Job], settings: Settings) -> Finished:
    """Do all jobs; each comes with its place among them as it is done. Closing this stops those that have not begun."""
    if settings.scheduler in (None, "threads"):
        return _by_threads(jobs, settings)
    if settings.scheduler == "processes":
        return _by_processes(jobs, settings)
    client = client_of(settings)
    return _here(jobs, settings) if client is None else _on_a_cluster(jobs, settings, client)


def _here(jobs: Sequence[Job], settings: Settings) -> Finished:
    """One after another, each by the scheduler that was asked for."""
    for place, job in enumerate(jobs):
        yield place, work(job, at_once)


def _by_threads(jobs: Sequence[Job], settings: Settings) -> Finished:
    budget, left, counting, stop = Budget(settings.memory_limit), len(jobs), threading.Lock(), Stop()

    @contextmanager
    def admit(settings: Settings, needed: Callable[[Settings], int]) -> Iterator[Settings]:
        alone = replace(settings, scheduler="sync", workers=1)
        most = min(left, budget.limit // max(1, needed(alone)))
        chosen = alone if most >= settings.workers else settings
        with budget.share(needed(chosen)):
            yield chosen

    def do(job: Job) -> Made:
        nonlocal left
        try:
            with stop:
                return work(job, admit)
        finally:
            with counting:
                left -= 1

    with _ended(ThreadPoolExecutor(settings.workers, "imgrs-batch")) as pool:
        try:
            for place, future in _in_window(pool, jobs, settings.workers, do):
                yield place, future.result()
        except BaseException:  # an interrupt, an image that fails, or whoever asked wants no more
            stop.stop(patience=0.0)
            raise


def _by_processes(jobs: Sequence[Job], settings: Settings) -> Finished:
    import multiprocessing

    # A fork of a process with threads may wait for locks that nobody holds.
    with _ended(ProcessPoolExecutor(settings.workers, multiprocessing.get_context("spawn"))) as pool:
        yield from _apart(jobs, settings, pool, settings.workers)


def _on_a_cluster(jobs: Sequence[Job], settings: Settings, client: Any) -> Finished:
    pool = client.get_executor(pure=False)
    try:
        yield from _apart(jobs, settings, pool, max(1, sum(client.nthreads().values())))
    finally:
        pool.shutdown(wait=False)  # which cancels what is left


def _apart(jobs: Sequence[Job], settings: Settings, pool: Executor, workers: int) -> Finished:
    whole = replace(settings, scheduler="sync", workers=1)
    part = replace(whole, memory_limit=settings.memory_limit // workers)
    larger: list[int] = []
    for place, future in _in_window(pool, [replace(job, settings=part) for job in jobs], workers, work_in_part):
        try:
            done = future.result()
        except MemoryBudgetError:
            larger.append(place)
        else:
            yield place, done
    for place in larger:
        yield place, pool.submit(work_whole, replace(jobs[place], settings=whole)).result()


def _in_window(
    pool: Executor, jobs: Sequence[Job], workers: int, do: Callable[[Job], Made]
) -> Iterator[tuple[int, Future[Made]]]:
    """Do jobs in a pool, a few of them for each worker at a time."""
    running: dict[Future[Made], int] = {}
    waiting = iter(enumerate(jobs))
    while True:
        for place, job in waiting:
            running[pool.submit(do, job)] = place
            if len(running) >= AHEAD * workers:
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future


@contextmanager
def _ended(pool: Any) -> Iterator[Executor]:
    """A pool whose jobs that have not begun are dropped when the block ends, however it does."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
