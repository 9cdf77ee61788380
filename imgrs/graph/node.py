"""A node is an op applied to nodes: the graph that method calls build. It is immutable and computes nothing.

Everything here iterates; chains of 10,000 ops and nodes with 5,000 inputs are ordinary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

from imgrs.errors import ArgumentError
from imgrs.graph.op import Op
from imgrs.types import Spec


class HasInputs(Protocol):
    """What can be walked: a node, or what stands for one."""

    @property
    def inputs(self) -> tuple[Any, ...]: ...  # of the same kind


N = TypeVar("N", bound=HasInputs)


class Origin(NamedTuple):
    """The user's source line that added a node."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Node:
    """An op and its inputs, with the spec of what comes out. Equal graphs have equal keys."""

    __slots__ = ("__weakref__", "_key", "inputs", "op", "origin", "spec")

    def __init__(self, op: Op, *inputs: Node, origin: Origin | None = None) -> None:
        specs = [node.spec for node in inputs]
        op.check(specs)
        self.op = op
        self.inputs = inputs
        self.spec: Spec = op.infer(*specs)
        self.origin = origin
        self._key: str | None = None
        if self.spec.width < 1 or self.spec.height < 1:
            raise ArgumentError(f"{op.name}: the result would have no pixels ({self.spec.width}x{self.spec.height})")

    @property
    def key(self) -> str:
        """A digest of the op and all that it builds on, equal in every process (32 hexadecimal digits)."""
        if self._key is None:
            for node in walk([self], lambda node: node._key is not None):
                digest = hashlib.blake2b(node.op.encoded, digest_size=16)
                for other in node.inputs:
                    digest.update(bytes.fromhex(other._key or ""))
                node._key = digest.hexdigest()
        assert self._key is not None
        return self._key

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """This op on other inputs; itself if they are the same."""
        if inputs == self.inputs:  # nodes compare by identity
            return self
        if [node.spec for node in inputs] != [node.spec for node in self.inputs]:
            return Node(self.op, *inputs, origin=self.origin)
        node = Node.__new__(Node)  # what was checked and inferred for these specs still holds
        node.op, node.inputs, node.spec, node.origin, node._key = self.op, inputs, self.spec, self.origin, None
        return node

    def __repr__(self) -> str:
        return f"<Node {self.op.name} {self.spec}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        order = walk([self])
        index = {node: i for i, node in enumerate(order)}
        rows = [(node.op, tuple(index[i] for i in node.inputs), node.origin, node._key) for node in order]
        return _from_rows, (rows,)


def _from_rows(rows: list[tuple[Op, tuple[int, ...], Origin | None, str | None]]) -> Node:
    nodes: list[Node] = []
    for op, inputs, origin, key in rows:
        node = Node(op, *(nodes[i] for i in inputs), origin=origin)
        node._key = key
        nodes.append(node)
    return nodes[-1]


def walk(outputs: Iterable[N], skip: Any = None) -> list[N]:
    """All nodes that ``outputs`` are made from, each once, inputs before what uses them.

    Nodes for which ``skip(node)`` is true are left out, with what only they use.
    """
    order: list[N] = []
    seen: set[N] = set()
    for output in outputs:
        stack: list[tuple[N, bool]] = [(output, False)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                order.append(node)
            elif node not in seen and not (skip is not None and skip(node)):
                seen.add(node)
                stack.append((node, True))
                stack.extend((i, False) for i in reversed(node.inputs) if i not in seen)
    return order
