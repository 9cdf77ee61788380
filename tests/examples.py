"""Every op of the package, found by itself, with an example of its parameters and the images that it takes."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import pkgutil
from collections.abc import Iterator
from typing import Any

import imgrs.ops
from imgrs.errors import ArgumentError
from imgrs.graph.node import Node
from imgrs.graph.op import Op, Source
from imgrs.ops.filter import Blur
from imgrs.ops.fused import PointRun
from imgrs.ops.resample import Resize
from imgrs.ops.source import FromArray
from imgrs.ops.stats import AutoContrast, Histogram
from imgrs.ops.tone import Brightness, Contrast, Table
from imgrs.ops.warp import Affine
from imgrs.types import Spec
from tests.oracle import picture

KINDS = [
    Spec(0, 0, 1, False, "uint8", "gray"),
    Spec(0, 0, 2, True, "uint8", "gray"),
    Spec(0, 0, 3, False, "uint8", "srgb"),
    Spec(0, 0, 4, True, "uint8", "srgb"),
    Spec(0, 0, 4, False, "uint8", "cmyk"),
    Spec(0, 0, 1, False, "bool", "gray"),
    Spec(0, 0, 1, False, "uint16", "gray"),
    Spec(0, 0, 1, False, "float32", "gray"),
    Spec(0, 0, 3, False, "uint16", "srgb"),
    Spec(0, 0, 4, True, "uint16", "srgb"),
    Spec(0, 0, 3, False, "float32", "srgb"),
    Spec(0, 0, 4, True, "float32", "srgb"),
    Spec(0, 0, 5, False, "uint8", "multiband"),
]
SIZE = (53, 41)
OTHERS: dict[type[Op], tuple[Op, ...]] = {
    Blur: (Blur(14.0),),
    Resize: (Resize((90, 70), "bicubic"), Resize((20, 60), "nearest")),
    Affine: (Affine((60, 50), (0.8, 0.5, -9.25, -0.6, 0.7, 14.5), "nearest"),),
}
"""Further examples, where parameters choose between algorithms."""


def op_classes() -> list[type[Op]]:
    """Every concrete op of ``imgrs.ops`` that has inputs, by name."""
    for module in pkgutil.iter_modules(imgrs.ops.__path__):
        importlib.import_module(f"imgrs.ops.{module.name}")
    found: list[type[Op]] = []
    waiting: list[type[Op]] = Op.__subclasses__()
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        declared = "__dataclass_fields__" in cls.__dict__ and not cls.__name__.startswith("_")
        if declared and cls.__module__.startswith("imgrs.ops.") and not issubclass(cls, Source):
            found.append(cls)
    return sorted(found, key=lambda cls: cls.name)


def example(cls: type[Op]) -> Op:
    """An instance with the example, else the default, of each parameter. Fails where an op declares neither."""
    if cls is PointRun:
        return PointRun((Brightness(30), Contrast(1.4)))
    if cls is Table:
        return Table(bytes(range(255, -1, -1)), "uint8", ("invert",))
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # op_classes gives dataclasses only
        value = field.metadata.get("example")
        if value is None and field.default is dataclasses.MISSING:
            raise AssertionError(f"{cls.__name__}.{field.name} declares neither a default nor an example")
        if value is not None:
            arguments[field.name] = value
    return cls(**arguments)


def image(kind: Spec, seed: int = 0, size: tuple[int, int] = SIZE) -> Node:
    """A picture of a kind as a node."""
    spec = dataclasses.replace(kind, width=size[0], height=size[1])
    return Node(FromArray(picture(spec, seed), spec, 1_000_000 + hash((spec, seed)) % 1_000_000))


def applications(cls: type[Op]) -> Iterator[Node]:
    """The op's examples applied to each kind of image that it takes, with as many inputs as it needs."""
    for op, kind in itertools.product([example(cls), *OTHERS.get(cls, ())], KINDS):
        first = image(kind)
        for inputs in _inputs(op, kind, first):
            try:
                yield Node(op, *inputs)
            except ArgumentError:
                continue
            break


def _inputs(op: Op, kind: Spec, first: Node) -> Iterator[tuple[Node, ...]]:
    if isinstance(op, AutoContrast):
        if first.spec in op.takes:
            yield (first, Node(Histogram(256 if kind.dtype == "uint8" else 65_536), first))
        return
    for count in (1, 2, 3):
        try:
            op.infer(*[first.spec] * count)
        except (ValueError, IndexError):  # too few or too many inputs for this op
            continue
        yield (first, *(image(kind, seed) for seed in range(1, count)))
