"""How many images of a batch are made at once, with how many workers each, in whose memory.

In this process each image has a thread; while as many images are left as there are workers and memory holds them, each is
made by its thread alone, which costs least. Fewer images, or larger ones, share all workers. In other processes, here or
on a cluster, each worker makes one image in its part of the memory; those that need more are made last, one at a time.
"""

from __future__ import annotations

import contextvars
import pickle
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

from imgrs.batches.work import Job, Made, at_once, failed, work, work_in_part, work_whole
from imgrs.config import Settings
from imgrs.errors import ArgumentTypeError, MemoryBudgetError
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
        chosen = replace(settings, scheduler="sync", workers=1)
        wanted = needed(chosen)
        if min(left, budget.limit // max(1, wanted)) < settings.workers:
            chosen, wanted = settings, needed(settings)
        with budget.share(wanted):
            yield chosen

    context = contextvars.copy_context()  # in which the caller may watch what runs

    def do(job: Job) -> Made:
        nonlocal left
        try:
            return context.copy().run(stoppable, job)
        finally:
            with counting:
                left -= 1

    def stoppable(job: Job) -> Made:
        with stop:
            return work(job, admit)

    with _ended(ThreadPoolExecutor(settings.workers, "imgrs-batch")) as pool:
        try:
            for place, future in _in_window(pool, jobs, settings.workers, do):
                yield place, future.result()
        except BaseException:  # an interrupt, an image that fails, or whoever asked wants no more
            stop.stop(patience=0.0)
            raise


def _by_processes(jobs: Sequence[Job], settings: Settings) -> Finished:
    """Where a process dies, each image that was in the making is made again by a process of its own, to find the one."""
    _check_pickles(jobs[0])
    left = dict(enumerate(jobs))
    while left:
        places, suspects = list(left), AHEAD * settings.workers
        try:
            with _ended(_processes(settings.workers)) as pool:
                for i, done in _apart([left[place] for place in places], settings, pool, settings.workers):
                    del left[places[i]]
                    yield places[i], done
        except BrokenExecutor:
            for place in list(left)[:suspects]:
                with _ended(_processes(1)) as pool:
                    yield place, _outcome(pool.submit(work_whole, _alone(left.pop(place), settings)), jobs[place])


def _check_pickles(job: Job) -> None:
    try:
        pickle.dumps(job)
    except Exception as error:  # what pickling raises depends on what is pickled
        way_out = "use an imgrs.pipeline(), or a function of a module"
        raise ArgumentTypeError(f"batch: the pipeline cannot be sent to processes ({error}); {way_out}") from error


def _processes(workers: int) -> ProcessPoolExecutor:
    import multiprocessing

    # A fork of a process with threads may wait for locks that nobody holds.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def _on_a_cluster(jobs: Sequence[Job], settings: Settings, client: Any) -> Finished:
    pool = client.get_executor(pure=False)
    try:
        yield from _apart(jobs, settings, pool, max(1, sum(client.nthreads().values())))
    finally:
        pool.shutdown(wait=False)  # which cancels what is left


def _alone(job: Job, settings: Settings) -> Job:
    """A job that is made by one worker, with all of the memory."""
    return replace(job, settings=replace(settings, scheduler="sync", workers=1))


def _apart(jobs: Sequence[Job], settings: Settings, pool: Executor, workers: int) -> Finished:
    part = replace(settings, scheduler="sync", workers=1, memory_limit=settings.memory_limit // workers)
    larger: list[int] = []
    for place, future in _in_window(pool, [replace(job, settings=part) for job in jobs], workers, work_in_part):
        try:
            done = _outcome(future, jobs[place], leaves=(BrokenExecutor, MemoryBudgetError))
        except MemoryBudgetError:
            larger.append(place)
        else:
            yield place, done
    for place in larger:
        future = pool.submit(work_whole, _alone(jobs[place], settings))
        yield place, _outcome(future, jobs[place], leaves=(BrokenExecutor,))


def _outcome(future: Future[Made], job: Job, leaves: tuple[type[Exception], ...] = ()) -> Made:
    """What became of a job; that its worker died is told of the image, unless errors are raised."""
    try:
        return future.result()
    except leaves:
        raise
    except Exception as error:  # what pools and clusters raise for a worker that died; a job tells its own failures
        if not job.collects:
            raise
        return failed(job, error)


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
