"""What one process is asked to do, and what it found: plain values that travel as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.steps import Chain


@dataclass(frozen=True)
class Job:
    """One piece of work for one peer, in a process of its own."""

    peer: str
    """The module of ``benchmarks.peers`` that does it."""
    kind: str
    """``memory`` (array in, array out), ``file`` (file in, file out), ``window`` (file in, small arrays out), ``batch`` (many
    files in and out), ``result`` (the array, into a file), ``imports`` (only the modules), ``overheads`` (of
    ours)."""
    source: str = ""
    target: str = ""
    width: int = 0
    height: int = 0
    dtype: str = "uint8"
    chain: Chain = ()
    options: dict[str, Any] = field(default_factory=dict)
    """How the target is written: ``compression`` (none, deflate), ``level``, ``tile``, ``quality``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``threads``, and what a peer knows of its own."""
    modules: tuple[str, ...] = ()
    count: int = 1
    """Files of a batch; windows of a window."""
    budget: float = 1.0
    """Seconds of calls after the first, about."""

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Job:
        given = json.loads(text)
        return cls(**{**given, "chain": tuple(map(tuple, given["chain"])), "modules": tuple(given["modules"])})


@dataclass(frozen=True)
class Sample:
    """What one process found."""

    seconds: float
    """Of one piece of the work: the median of the calls after the first, or the only call."""
    first: float = 0.0
    """Of the first call, which loads what is loaded late."""
    calls: int = 1
    cpu: float = 0.0
    """Processor seconds of one piece of the work."""
    loading: float = 0.0
    """Seconds to import."""
    peak: int = 0
    """The most bytes that the process held."""
    whole: float = 0.0
    """Seconds from the start of the process to its end."""
    predicted: float | None = None
    """What the planner said, for ours."""
    versions: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    """Named figures, of ``overheads``."""
    baseline: int = 0
    """The most bytes of a process that imports the same modules and does nothing."""

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Sample:
        given = json.loads(text)
        return cls(**{**given, "modules": tuple(given["modules"])})
