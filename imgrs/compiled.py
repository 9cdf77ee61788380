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
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from imgrs.machine_code import Signature, machine_code, part, signature

__all__ = ["LLVM", "Exact", "Load", "Loop", "loop", "opencv_pays", "part"]

P = ParamSpec("P")
R = TypeVar("R")

WORTH = 1 << 20
"""Samples for which loading machine code, or OpenCV, pays for itself."""


class Load:
    """The load of a library, put off until ``times`` ``WORTH`` samples were done without it: it would have cost no more.

    It is worth it at once where others have loaded ``module``.
    """

    def __init__(self, times: int = 1, module: str = "") -> None:
        self._times = times
        self._module = module
        self._done = 0

    def pays(self, samples: int) -> bool:
        """Whether the library is worth having for ``samples`` more."""
        if not self.paid:
            self._done += samples
        return self.paid

    @property
    def paid(self) -> bool:
        """Whether it was worth having before, so that it is there."""
        return self._module in sys.modules or self._done >= self._times * WORTH


OPENCV, LLVM = "cv2", "llvmlite.binding"
"""Modules whose load is put off."""
_opencv = Load(1, OPENCV)


def opencv_pays(samples: int) -> bool:
    """Whether OpenCV is worth its load (0.02 s) for so many samples more: it is once it is there."""
    return samples > 0 and _opencv.pays(samples)


class Loop(Generic[P]):
    """A function of numbers and arrays that is compiled on first use; the machine code is kept on disk.

    The arrays' samples follow each other in memory. It returns nothing and makes no arrays: what it works in, it is given.
    """

    def __init__(self, function: Callable[P, None]) -> None:
        self.function = function
        self._known: dict[Signature, Callable[..., None]] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        kinds = signature(args)
        if kinds not in self._known:
            with _compiling:
                if kinds not in self._known:
                    self._known[kinds] = machine_code(self.function, kinds)
        self._known[kinds](*args, **kwargs)  # which takes none by name, and says so


_compiling = threading.Lock()


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


def loop(function: Callable[P, None]) -> Loop[P]:
    """Mark ``function`` as the body of a compiled loop."""
    return Loop(function)
