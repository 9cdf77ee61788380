"""A graph as text: one line per node, ``%3 = blur(%2, 2.0)``, the same for equal graphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from imgrs.graph.node import Node, walk
from imgrs.graph.op import Op

LONGEST = 60
"""Lines of a listing before its middle is left out."""


def listing(outputs: Sequence[Node], longest: int = LONGEST) -> str:
    """One line per node, inputs first; each says what it is applied to, its parameters and what comes out."""
    order = walk(outputs)
    number = {node: i for i, node in enumerate(order, start=1)}
    rows = [(f"%{number[node]} = {call(node.op, [number[i] for i in node.inputs])}", str(node.spec)) for node in order]
    if len(rows) > longest:
        half = longest // 2
        left_out = len(rows) - 2 * half
        rows = [*rows[:half], (f"... {left_out} more ...", ""), *rows[-half:]]
    width = max(len(text) for text, _ in rows)
    return "\n".join(f"{text:<{width}}  {spec}".rstrip() for text, spec in rows)


def call(op: Op, inputs: Sequence[int]) -> str:
    """The op as a call on numbered nodes."""
    shown = [f"%{i}" for i in inputs[:4]]
    if len(inputs) > 4:
        shown[3:] = ["...", f"%{inputs[-1]}"]
    return f"{op.name}({', '.join([*shown, *arguments(op)])})"


def arguments(op: Any) -> list[str]:  # a dataclass: ops are
    """The parameters that differ from their defaults; those without a default by position."""
    shown: list[str] = []
    for field in dataclasses.fields(op):
        value = getattr(op, field.name)
        if not field.repr or value is None or value == field.default:
            continue
        text = _value(value)
        shown.append(text if field.default is dataclasses.MISSING else f"{field.name}={text}")
    return shown


def _value(value: Any) -> str:
    if isinstance(value, Op):
        return f"{value.name}({', '.join(arguments(value))})"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})" if len(value) <= 6 else f"({len(value)} values)"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if hasattr(value, "__qualname__"):  # of a function, whose own text says where in memory it is
        return str(value.__qualname__)
    return repr(value) if isinstance(value, str) else str(value)
