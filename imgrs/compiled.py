"""Loops that numba compiles, each beside a NumPy form that gives the same bits.

A kernel of this package has two forms. The *plain* form is a few lines of NumPy that sum in a fixed order; it is the
definition, and it needs nothing compiled. The *loop* form is the same sums written as scalar loops for numba, without
fastmath, so that no multiply and add are fused and every CPU gives the same bits. ``Exact`` pairs them and picks:
it runs plain until that has taken as long as loading the loop would have.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

WORTH = 1 << 20
"""Samples for which loading numba and its cached machine code (0.3 s), or OpenCV, pays for itself."""


class Load:
    """The load of a library, put off until the work done without it comes to what the load would have cost."""

    def __init__(self) -> None:
        self._done = 0

    def pays(self, samples: int) -> bool:
        """Whether the library is worth having for ``samples`` more."""
        if not self.paid:
            self._done += samples
        return self.paid

    @property
    def paid(self) -> bool:
        """Whether it was worth having before, so that it is there."""
        return self._done >= WORTH


_opencv = Load()


def opencv_pays(samples: int) -> bool:
    """Whether OpenCV is worth its load (0.02 s) for so many samples more: it is once it is there."""
    return samples > 0 and ("cv2" in sys.modules or _opencv.pays(samples))


class Loop(Generic[P, R]):
    """A function of scalars and flat arrays that numba compiles on first use and keeps on disk."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        self._compiled: Callable[P, R] | None = None
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.compiled()(*args, **kwargs)

    def compiled(self) -> Callable[P, R]:
        """The function as numba has it; loops that it calls are compiled with it."""
        if self._compiled is None:
            with _compiling:
                self._compiled = self._compiled or _jit(self.function)
        return self._compiled


_compiling = threading.RLock()


def _jit(function: Callable[P, R]) -> Callable[P, R]:
    import numba

    known = function.__globals__
    called = {name: known[name].compiled() for name in function.__code__.co_names if isinstance(known.get(name), Loop)}
    if called:
        function = types.FunctionType(function.__code__, {**known, **called}, function.__name__)
    options = {"nogil": True, "cache": True, "fastmath": False, "boundscheck": False, "error_model": "numpy"}
    jitted: Callable[P, R] = numba.njit(**options)(function)
    return jitted


class Exact(Generic[P, R]):
    """A kernel in two forms that give the same bits; calling it picks the one that is quicker to start.

    ``samples`` says how much work a call is, where that is not the size of its first array: in samples of a filter of
    some ten taps.
    """

    def __init__(
        self,
        plain: Callable[P, R],
        fast: Callable[P, R],
        samples: Callable[P, int] | None = None,
    ) -> None:
        self.plain = plain
        self.fast = fast
        self.load = Load()
        self._samples = samples or _first_size
        functools.update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return (self.fast if self.load.pays(self._samples(*args, **kwargs)) else self.plain)(*args, **kwargs)


def _first_size(*args: Any, **kwargs: Any) -> int:
    return next((a.size for a in args if isinstance(a, np.ndarray)), 0)


def loop(function: Callable[P, R]) -> Loop[P, R]:
    """Mark ``function`` as the body of a compiled loop; numba is imported when it is first called."""
    return Loop(function)
