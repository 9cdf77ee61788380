"""What the machine can do at most: a copy of the array, and a loop of arithmetic, by as many threads as the others have.

``copy`` writes into a new array, as everybody who hands one out must; ``in_place`` writes into one that is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.job import Job
from benchmarks.steps import Step

SETTINGS = "threads = cores"
PIECES = 64
_kept: list[Any] = []
"""The array of ``in_place``, made by the first call."""


def cannot(job: Job) -> str:
    return "" if job.kind == "memory" else "only in memory"


def prepare(settings: Mapping[str, Any]) -> None:
    import numpy  # noqa: F401  # so that it is loaded before the clock starts


def versions() -> dict[str, str]:
    import numpy as np

    return {"numpy": np.__version__}


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    with ThreadPoolExecutor(settings["threads"]) as pool:
        if settings.get("arithmetic"):
            return list(pool.map(_hashed, [bytes(1 << 16)] * PIECES))
        return _copied(array, pool, bool(settings.get("in_place")))


def _copied(array: Any, pool: ThreadPoolExecutor, in_place: bool) -> Any:
    import numpy as np

    out = _kept[0] if in_place and _kept else np.empty_like(array)
    if in_place and not _kept:
        _kept.append(out)
    rows = -(-len(array) // PIECES)

    def part(top: int) -> None:
        np.copyto(out[top : top + rows], array[top : top + rows])

    list(pool.map(part, range(0, len(array), rows)))
    return out


def _hashed(data: bytes) -> str:
    """Arithmetic that lets other threads run: 50 rounds over what fits in the cache."""
    digest = hashlib.blake2b()
    for _ in range(50):
        digest.update(data)
    return digest.hexdigest()
