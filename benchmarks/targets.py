"""What is to be reached: ratios of what one run measured, as values beside the workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import peers


@dataclass(frozen=True)
class Measured:
    """The medians of one peer in one workload."""

    seconds: float
    whole: float
    memory: float
    """Bytes at the peak above the same imports and the input array."""
    first: float = 0.0
    cpu: float = 0.0
    predicted: float | None = None
    runs: int = 1


Results = Mapping[str, Mapping[str, Measured]]
"""By workload, then by peer."""


@dataclass(frozen=True)
class Target:
    """Our seconds (or another ``what``) are at most ``most`` times those of another.

    ``of`` is a peer; ``"others"``, the best of those that every workload has to beat; or further workloads of ours, whose
    figures are added up.
    """

    most: float
    of: str | tuple[str, ...]
    what: str = "seconds"

    def __str__(self) -> str:
        what = {"seconds": "", "whole": "whole process ", "memory": "memory "}[self.what]
        return f"{what}{self.most:g} of {self._of}"

    @property
    def _of(self) -> str:
        if isinstance(self.of, str):
            return "the best other" if self.of == "others" else self.of
        return " + ".join(f"our {name}" for name in self.of)

    def ratio(self, workload: str, results: Results) -> float | None:
        """What was reached; None where a side was not measured."""
        ours = results[workload].get(peers.OURS)
        limit = self._limit(results, workload)
        return None if ours is None or not limit else getattr(ours, self.what) / limit

    def _limit(self, results: Results, workload: str) -> float | None:
        if isinstance(self.of, tuple):
            rows: Sequence[Measured | None] = [results.get(name, {}).get(peers.OURS) for name in self.of]
            return sum(getattr(row, self.what) for row in rows if row) if all(rows) else None
        names = peers.OTHERS if self.of == "others" else (self.of,)
        found = [getattr(results[workload][name], self.what) for name in names if name in results[workload]]
        return min(found) if found else None
