"""What became of the images of a batch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

STATES = ("saved", "kept", "failed")


@dataclass(frozen=True)
class Result:
    """What became of one image."""

    source: str
    output: str
    status: str
    """``"saved"``; ``"kept"``, where ``resume=True`` found it done; or ``"failed"``."""
    width: int | None = None
    """Of the result, in pixels; None where it is not known."""
    height: int | None = None
    seconds: float = 0.0
    """From opening the source to the result in its place; waiting for memory is not counted."""
    bytes: int | None = None
    """The size of the result on disk; None behind a URL, and for a folder."""
    error: str | None = None
    """The name of the exception's class."""
    message: str | None = None
    op: str | None = None
    """The operation that failed, where one was being computed; ``"open"`` while the source was decoded."""
    tile: tuple[int, int, int, int] | None = None
    """The part of that operation's result that was being made: (left, top, right, bottom) in pixels."""


@dataclass(frozen=True, repr=False)
class Report:
    """What became of a batch: prints as a table, and gives its results one by one."""

    results: tuple[Result, ...]
    """In the order of the sources."""
    seconds: float
    """Of the whole call."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The results as dicts, for a table or a data frame."""
        return [asdict(result) for result in self.results]

    @property
    def saved(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.status == "saved")

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.status == "failed")

    def to_json(self) -> str:
        """The report as JSON: ``{"seconds": ..., "results": [{"source": ..., "status": ...}, ...]}``."""
        return json.dumps({"seconds": self.seconds, "results": self.rows}, indent=2)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        return f"<imgrs batch: {self._told()}>"

    def __str__(self) -> str:
        """A line for each image, of those that failed with the reason, and a line for all."""
        names = [result.source for result in self.results]
        width = max(map(len, names), default=0)
        lines = [f"{name:<{width}}  {_told(result)}" for name, result in zip(names, self.results, strict=True)]
        return "\n".join([*lines, self._told()])

    def _told(self) -> str:
        counts = Counter(result.status for result in self.results)
        told = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
        return f"{told} in {self.seconds:.1f} s"


def _told(result: Result) -> str:
    if result.status == "failed":
        place = f" at {result.op} {result.tile}" if result.op else ""
        return f"failed  {result.error}{place}: {result.message}"
    size = f"{result.width}x{result.height}"
    taken = f"  {result.seconds:.2f} s" if result.status == "saved" else ""
    return f"{result.status:<6}  {size:>13}{taken}  {result.output}"
