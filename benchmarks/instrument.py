"""Counts the seconds that functions take for themselves, without what they call of others that are counted too.

Functions are replaced where they are found, for the life of the process; each thread has a clock of its own.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Clock:
    """Seconds by name. What a counted function calls is taken from its own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inside = threading.local()
        self._lock = threading.Lock()

    def counted(self, name: str | Callable[[Any], str], function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted under a name, or under what a function says of its first argument."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            stack = self._inside.__dict__.setdefault("stack", [])
            stack.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - start
                own = took - stack.pop()
                if stack:
                    stack[-1] += took
                with self._lock:
                    label = name if isinstance(name, str) else name(args[0])
                    self.seconds[label] += own
                    self.calls[label] += 1

        return call

    def replace(self, name: str | Callable[[Any], str], owner: Any, attribute: str) -> None:
        """Count a function of a module or class; modules of the engine that took it by name get the counted one too."""
        old = owner.__dict__[attribute]
        new = self.counted(name, old)
        setattr(owner, attribute, new)
        if not isinstance(owner, type):
            for module in list(sys.modules.values()):
                if getattr(module, "__name__", "").startswith("imgrs") and getattr(module, attribute, None) is old:
                    setattr(module, attribute, new)

    def clear(self) -> None:
        self.seconds.clear()
        self.calls.clear()


def subclasses(cls: type) -> list[type]:
    """A class and all below it."""
    found, waiting = [], [cls]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return list(dict.fromkeys(found))
