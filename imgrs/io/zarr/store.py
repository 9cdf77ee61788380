"""Zarr's documents and stored chunks: read from a folder, and looked at before zarr-python works on them."""

from __future__ import annotations

import asyncio
import functools
import json
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from imgrs.errors import CorruptImageError, ImgrsError, UnsupportedFormatError
from imgrs.io import inflate
from imgrs.io.folder import Folder
from imgrs.io.limits import check_metadata, limit_of

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

FILTERS = {
    "bytes",
    "endian",
    "transpose",
    "shuffle",
    "delta",
    "bitround",
    "quantize",
    "fixedscaleoffset",
    "astype",
    "packbits",
}
CHECKSUMS = {"crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3"}
"""Codecs that keep the size of what they decode, about. Others are refused: some of numcodecs's run code from the file."""
GROWTH = 8
"""How many times larger than a chunk's pixels its decompressed bytes may be, for the filters' sake."""


def document(folder: Folder, name: str) -> dict[str, Any] | None:
    """A JSON document of a folder; None where it has none. Raises ``CorruptImageError`` or ``LimitError``."""
    data = _document(folder, name)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptImageError(f"{folder.name}: {name} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CorruptImageError(f"{folder.name}: {name} must hold a dictionary, not {type(found).__name__}")
    return found


@functools.lru_cache(maxsize=128)
def _document(folder: Folder, name: str) -> bytes | None:
    most = limit_of("metadata")
    data = folder.file(name, 0, most + 1)
    if data is None or len(data) <= most:
        return data
    check_metadata(folder.name, f"{name}, as far as it was read,", len(data))
    return folder.file(name)  # it was let in where it was opened


@dataclass(frozen=True)
class Coding:
    """How the chunks of an array are stored, as far as must be known before they are decoded."""

    compression: str | None
    trailer: int
    """Bytes of checksums behind the compressed data."""
    nbytes: int
    """Bytes of a decoded chunk: the inner one where chunks are put together in shards."""
    shard: tuple[int, bool] | None
    """The number of inner chunks, and whether the index is at the end; None where chunks are files of their own."""

    def check(self, data: bytes, where: str, whole: bool) -> None:
        """Raise where stored ``data``, of a ``whole`` file or a part of it, would decode to more than it may."""
        if self.compression is None:
            return
        if self.shard is None or not whole:
            self._check(data, where)
            return
        count, at_end = self.shard
        index = data[-16 * count - 4 : -4] if at_end else data[: 16 * count]
        if len(index) != 16 * count:
            raise CorruptImageError(f"{where}: the shard of {len(data):,} bytes is shorter than its index")
        for offset, length in np.frombuffer(index, "<u8").reshape(-1, 2).tolist():
            if offset + length <= len(data):
                self._check(data[offset : offset + length], where)

    def _check(self, data: bytes, where: str) -> None:
        most = GROWTH * self.nbytes + (1 << 16)
        size = inflate.inflated(self.compression or "", data[: len(data) - self.trailer], most)
        if size is None:
            raise CorruptImageError(f"{where}: the {self.compression} data of a chunk is damaged")
        if size > most:
            raise CorruptImageError(
                f"{where}: a chunk of {self.nbytes:,} bytes decompresses to {size:,} or more; its metadata or its data is wrong"
            )


def coding(found: Mapping[str, Any], name: str) -> Coding:
    """How an array's document says that its chunks are stored.

    Raises ``UnsupportedFormatError`` for codecs that are not known to be safe, and ``CorruptImageError``.
    """
    try:
        if found.get("zarr_format") == 2:
            itemsize = _itemsize(np.dtype(found["dtype"]).newbyteorder("=").name, name)
            compressor, filters = found.get("compressor"), found.get("filters") or []
            codecs = [_named(codec) for codec in [*filters, *([compressor] if compressor else [])]]
            return _coding(codecs, _samples(found["chunks"]) * itemsize, None, name)
        itemsize = _itemsize(found["data_type"], name)
        if found["chunk_grid"]["name"] != "regular":
            raise UnsupportedFormatError(f"{name}: chunks of different sizes are not supported")
        shape, codecs = found["chunk_grid"]["configuration"]["chunk_shape"], found["codecs"]
        if "sharding_indexed" not in map(_named, codecs):
            return _coding([_named(codec) for codec in codecs], _samples(shape) * itemsize, None, name)
        configuration = codecs[0]["configuration"]
        inner, (order, checksum) = configuration["chunk_shape"], configuration["index_codecs"]
        if len(codecs) != 1 or (_named(order), _named(checksum)) != ("bytes", "crc32c"):
            raise UnsupportedFormatError(
                f"{name}: shards in further codecs, or an index without crc32c, are not supported"
            )
        if order["configuration"]["endian"] != "little":
            raise UnsupportedFormatError(f"{name}: an index of shards that is not little-endian is not supported")
        count = _samples(shape) // _samples(inner)
        check_metadata(name, "the index of a shard", 16 * count)
        at_end = configuration.get("index_location", "end") == "end"
        names = [_named(codec) for codec in configuration["codecs"]]
        return _coding(names, _samples(inner) * itemsize, (count, at_end), name)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        raise CorruptImageError(f"{name}: the array's metadata is damaged: {type(error).__name__}: {error}") from None


def _samples(shape: Any) -> int:
    """The samples in a chunk."""
    if not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f"chunks of {shape}")
    return math.prod(shape)


def _itemsize(dtype: Any, name: str) -> int:
    if dtype not in ("uint8", "uint16", "float32", "bool"):
        raise UnsupportedFormatError(
            f"{name}: samples of {dtype} are not supported; uint8, uint16, float32 and bool are"
        )
    return int(np.dtype(dtype).itemsize)


def _coding(codecs: Sequence[str], nbytes: int, shard: tuple[int, bool] | None, name: str) -> Coding:
    compressions = [codec for codec in codecs if codec in inflate.CODECS]
    unknown = set(codecs) - FILTERS - CHECKSUMS - inflate.CODECS
    if unknown:
        raise UnsupportedFormatError(f"{name}: the codec {', '.join(sorted(unknown))} is not supported")
    if len(compressions) > 1:
        raise UnsupportedFormatError(f"{name}: chunks that are compressed by {' and '.join(compressions)}")
    behind = codecs[codecs.index(compressions[0]) + 1 :] if compressions else []
    if set(behind) - {"crc32c"}:
        raise UnsupportedFormatError(f"{name}: {', '.join(behind)} behind a compression is not supported")
    return Coding(compressions[0] if compressions else None, 4 * len(behind), nbytes, shard)


def _named(codec: Any) -> str:
    """The name of a codec: version 3 has ``name``, or the name alone; version 2 has ``id``."""
    name = codec if isinstance(codec, str) else codec.get("name") or codec["id"]
    return str(name).removeprefix("numcodecs.")


class FolderStore(Store):
    """What zarr-python reads an array of a folder through."""

    supports_writes = supports_deletes = supports_listing = False

    def __init__(self, folder: Folder, coding: Coding) -> None:
        super().__init__(read_only=True)
        self._folder, self._coding = folder, coding

    def __eq__(self, value: object) -> bool:
        return isinstance(value, FolderStore) and value._folder == self._folder

    __hash__ = None  # type: ignore[assignment]  # as zarr-python's own stores

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        data = await asyncio.to_thread(self._get, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    def _get(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        if key.rpartition("/")[2] in ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"):
            return _document(self._folder, key)
        data = self._folder.file(key, *_ends(byte_range))
        is_index = isinstance(byte_range, SuffixByteRequest) or (
            isinstance(byte_range, RangeByteRequest)
            and self._coding.shard == (byte_range.end // 16, False)
            and not byte_range.start
        )
        if data is not None and not is_index:
            self._coding.check(data, f"{self._folder.name}: {key}", byte_range is None)
        return data

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return await asyncio.to_thread(self._folder.file, key, 0, 1) is not None

    async def set(self, key: str, value: Buffer) -> None:
        raise PermissionError(f"{self._folder.name} is open for reading")

    async def delete(self, key: str) -> None:
        raise PermissionError(f"{self._folder.name} is open for reading")

    def list(self) -> AsyncIterator[str]:
        raise PermissionError(f"{self._folder.name} is not listed")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        return self.list()


def _ends(byte_range: ByteRequest | None) -> tuple[int | None, int | None]:
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, None
    if isinstance(byte_range, SuffixByteRequest):
        return -byte_range.suffix, None
    return None, None


@functools.lru_cache(maxsize=64)
def array(folder: Folder, path: str) -> zarr.Array[Any]:
    """The array at ``path`` of a folder, as zarr-python reads it; a process keeps those that it used last.

    Raises ``UnsupportedFormatError`` or ``CorruptImageError``.
    """
    where = f"{folder.name}: array {path or '/'}"
    prefix = f"{path}/" if path else ""
    version: Literal[2, 3] = 3 if document(folder, f"{prefix}zarr.json") is not None else 2
    found = document(folder, f"{prefix}zarr.json" if version == 3 else f"{prefix}.zarray")
    if found is None or (version == 3 and found.get("node_type") != "array"):
        raise CorruptImageError(f"{where} is not there")
    store = FolderStore(folder, coding(found, where))
    try:
        return zarr.open_array(store, path=path, mode="r", zarr_format=version)
    except ImgrsError:
        raise
    except Exception as error:  # zarr-python raises many kinds; each means that the metadata is bad or unknown to it
        raise CorruptImageError(f"{where}: its metadata cannot be read: {type(error).__name__}: {error}") from error
