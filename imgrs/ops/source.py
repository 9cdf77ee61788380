"""Where images come from: a file, a color, an array in memory, a Dask array."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import field, replace
from functools import cached_property
from typing import Any

import numpy as np

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.graph.op import Source, op
from imgrs.graph.parameters import whole
from imgrs.io.format import Reader
from imgrs.io.limits import admitted
from imgrs.types import Pixels, Region, Spec


@op
class Open(Source):
    """The image in a file, decoded at 1/``shrink`` where the format can."""

    reader: Reader
    shrink: int = whole(1, 1 << 20, default=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        spec = self.reader.spec
        if min(spec.width, spec.height, spec.bands) < 1:
            claim = f"{spec.width}x{spec.height} pixels of {spec.bands} bands"
            raise CorruptImageError(f"{self.reader.resource.name}: the header claims {claim}")
        if self.reader.missing is not None:
            raise TruncatedImageError(self.reader.missing)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (pickle.dumps(self.reader), self.shrink)

    @property
    def lasting(self) -> bool:  # type: ignore[override]  # known per file, not per class
        return self.reader.lasting

    @property
    def reads_regions(self) -> bool:  # type: ignore[override]  # known per file, not per class
        return self.reader.reads_regions

    @property
    def unit(self) -> tuple[int, int]:  # type: ignore[override]  # known per file, not per class
        return self.reader.unit_at(self.shrink)

    @property
    def decoding_bytes(self) -> int:  # type: ignore[override]  # known per file, not per class
        return self.reader.decoding_bytes(self.shrink)

    @property
    def lag_bytes(self) -> int:  # type: ignore[override]  # known per file, not per class
        return self.reader.lag_bytes(self.shrink)

    @property
    def keeps_units(self) -> bool:  # type: ignore[override]  # known per file, not per class
        return self.reader.keeps_units

    @property
    def streams(self) -> bool:  # type: ignore[override]  # known per file, not per class
        return self.reader.streams(self.shrink)

    def strips(self) -> Iterator[Pixels]:
        return self.reader.strips(self.shrink)

    def at_size(self, size: tuple[int, int]) -> Source:
        offered = [shrink for shrink in self.reader.shrinks if shrink >= self.shrink and self._covers(shrink, size)]
        return Open(self.reader, max(offered, default=self.shrink))

    def _covers(self, shrink: int, size: tuple[int, int]) -> bool:
        spec = self.reader.shrunk(shrink)
        return spec.width >= size[0] and spec.height >= size[1]

    def decode_into(self, out: Pixels) -> None:
        self.reader.decode_into(out, self.shrink)

    @cached_property
    def encoded(self) -> bytes:
        return f"{self.name} {self.version} {self.reader.key} 1/{self.shrink}".encode()

    def infer(self, *specs: Spec) -> Spec:
        return self.reader.shrunk(self.shrink)

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        return self.reader.converting_bytes(area)

    def read(self, region: Region) -> Pixels:
        return self.reader.read(region, self.shrink)

    def stored_bytes(self, region: Region) -> int:
        return self.reader.stored_bytes(region, self.shrink)

    def __hash__(self) -> int:
        return hash(self.encoded)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Open) and other.encoded == self.encoded


def _opened(reader: bytes, shrink: int) -> Open:
    """An image that was checked against the limits where it was opened; other processes need not know them."""
    with admitted():
        return Open(pickle.loads(reader), shrink)


@op
class New(Source):
    """An image of one color; ``color`` holds one sample per band, in the image's own units."""

    spec: Spec = field(repr=False)
    color: tuple[float, ...]

    def infer(self, *specs: Spec) -> Spec:
        return self.spec

    def at_size(self, size: tuple[int, int]) -> Source:
        return New(replace(self.spec, width=size[0], height=size[1]), self.color)

    def read(self, region: Region) -> Pixels:
        shape = (region.height, region.width, self.spec.bands)
        return np.broadcast_to(np.asarray(self.color, self.spec.dtype), shape).copy()


@op
class FromArray(Source):
    """An array in memory, viewed and not copied; its content is hashed when a key is first asked for."""

    array: Pixels = field(repr=False, compare=False)
    spec: Spec = field(repr=False)
    identity: int = field(repr=False)

    @cached_property
    def encoded(self) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for start in range(0, self.spec.height, 1024):
            digest.update(np.ascontiguousarray(self.array[start : start + 1024]).data)
        return f"{self.name} {self.version} {self.spec} {digest.hexdigest()}".encode()

    def infer(self, *specs: Spec) -> Spec:
        return self.spec

    def read(self, region: Region) -> Pixels:
        rows, columns = region.slices_in(self.spec.region)
        return self.array[rows, columns]


@op
class FromDask(Source):
    """A Dask array with three axes, computed chunk by chunk as tiles need it."""

    lasting = False  # its name may stay while what it reads changes
    array: Any = field(repr=False, compare=False)  # a dask.array.Array, which has no type information
    spec: Spec = field(repr=False)
    dask_name: str

    @cached_property
    def encoded(self) -> bytes:
        return f"{self.name} {self.version} {self.spec} {self.dask_name}".encode()

    def infer(self, *specs: Spec) -> Spec:
        return self.spec

    def read(self, region: Region) -> Pixels:
        rows, columns = region.slices_in(self.spec.region)
        pixels: Pixels = np.ascontiguousarray(self.array[rows, columns].compute())
        return pixels
