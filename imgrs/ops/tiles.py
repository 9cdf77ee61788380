"""A user's own function as an op."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import cached_property
from types import CodeType
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.errors import ArgumentTypeError, ComputeError
from imgrs.graph.op import ANY, Window, op
from imgrs.graph.parameters import checked, checked_by, choice, whole
from imgrs.types import Pixels, Region, Spec

MODES = {"l": "L", "la": "LA", "rgb": "RGB", "rgba": "RGBA"}
_BANDS = {"L": (1, False, "gray"), "LA": (2, True, "gray"), "RGB": (3, False, "srgb"), "RGBA": (4, True, "srgb")}


def _function(value: Any) -> Any:
    if not callable(value):
        raise TypeError("must be a function of one array")
    return value


def identity(tile: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The tile as it is: the example of a function."""
    return tile


def _body(code: CodeType) -> str:
    """A digest of what a function does, but for what the names in it stand for."""
    parts = [code.co_code, code.co_names]
    for constant in code.co_consts:
        known = sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant)
        parts.append(_body(constant) if isinstance(constant, CodeType) else known)
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


@op
class MapTiles(Window):
    """Call ``function`` on each padded tile, as a public array; ``mode`` is the result's, None the input's."""

    takes = ANY
    function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = checked(_function, example=identity)
    reach: int = whole(0, 10_000, default=0)
    mode: str | None = checked(lambda v: v if v is None else checked_by(choice(MODES), v), default=None)

    @cached_property
    def encoded(self) -> bytes:
        """By Dask's deterministic token of the function, and its code; without one, by what holds in this process only."""
        token = self._token
        if token is None:
            token = f"process-{id(self.function)}"
            warnings.warn(
                f"map_tiles: {self._label()} has no deterministic token; its results are known in this process only",
                stacklevel=2,
            )
        code = getattr(self.function, "__code__", None)  # the token of what can be imported is its name
        return f"{self.name} {self.version} {token} {code and _body(code)} {self.reach} {self.mode}".encode()

    @property
    def lasting(self) -> bool:  # type: ignore[override]  # known per function, not per class
        return self._token is not None

    @cached_property
    def _token(self) -> str | None:
        from dask.base import tokenize
        from dask.tokenize import TokenizationError

        try:
            return str(tokenize(self.function, ensure_deterministic=True))
        except TokenizationError:
            return None

    @property
    def margin(self) -> tuple[int, int]:
        return self.reach, self.reach

    def _label(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        if self.mode is None:
            return spec
        if spec.dtype == "bool":
            raise ArgumentTypeError('map_tiles: convert("L") first')
        return Spec(*spec.size, *_BANDS[self.mode][:2], spec.dtype, _BANDS[self.mode][2])

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        return 2 * taken * sources[0].pixel_bytes + area * spec.pixel_bytes  # the function may keep as much as it makes

    def compute(self, out: Region, tiles: Any, spec: Spec, prepared: Any) -> Pixels:
        from imgrs.graph.op import replicate

        padded = replicate(tiles[0], out.grow(self.reach)).copy()
        given = padded[..., 0] if padded.shape[2] == 1 else padded
        result = np.asarray(self.function(given))
        shape = (out.height, out.width) if spec.bands == 1 else (out.height, out.width, spec.bands)
        if result.shape not in (shape, (*shape[:2], spec.bands)) or result.dtype != spec.dtype:
            raise ComputeError(
                f"map_tiles: {self._label()} gave {result.dtype} of shape {result.shape} on tile {out}; "
                f"it must give {spec.dtype} of shape {shape}"
            )
        return np.ascontiguousarray(result.reshape(out.height, out.width, spec.bands))

    def apply(self, padded: Pixels, at: Region, prepared: Any) -> Pixels:
        raise NotImplementedError("MapTiles computes whole tiles, alpha included")
