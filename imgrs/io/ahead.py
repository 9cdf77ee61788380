"""Doing the next step of some work while the last one's result is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def one_ahead(items: Iterator[T]) -> Generator[T]:
    """The same items; each is made in another thread, in this one's context, while the caller uses the one before.

    Closing it early does not wait for the item in the making, for it is the garbage collector that may close it: in any
    thread, with any lock of Python's own held that ending a thread takes.
    """
    context = copy_context()

    def step() -> T | None:
        return next(items, None)

    beside = ThreadPoolExecutor(1)
    try:
        coming = beside.submit(context.run, step)
        while (item := coming.result()) is not None:
            coming = beside.submit(context.run, step)
            yield item
    finally:
        beside.shutdown(wait=False)
