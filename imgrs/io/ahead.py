"""Doing the next step of some work while the last one's result is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; each is made in another thread, in this one's context, while the caller uses the one before."""
    context = copy_context()

    def step() -> T | None:
        return next(items, None)

    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(context.run, step)
        while (item := coming.result()) is not None:
            coming = beside.submit(context.run, step)
            yield item
