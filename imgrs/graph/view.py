"""A graph for other tools: plain values for JSON, networkx, and DOT for Graphviz."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from imgrs.graph.node import Node, walk
from imgrs.graph.text import arguments

if TYPE_CHECKING:
    import networkx


def plain(outputs: Sequence[Node]) -> list[dict[str, Any]]:
    """The nodes as plain values, numbered and with their arguments as the listing has them; ``size`` is (width, height)."""
    order = walk(outputs)
    number = {node: i for i, node in enumerate(order, start=1)}
    return [
        {
            "number": number[node],
            "op": node.op.name,
            "inputs": [number[other] for other in node.inputs],
            "arguments": arguments(node.op),
            "size": list(node.spec.size),
            "mode": node.spec.mode,
            "dtype": node.spec.dtype,
        }
        for node in order
    ]


def to_networkx(outputs: Sequence[Node]) -> networkx.MultiDiGraph[int]:
    """A directed graph numbered as the listing is; edges run from input to use and carry the input's ``position``.

    Each node has ``op`` (its name), ``parameters`` (a dict), ``spec`` and ``key``.
    """
    import networkx

    order = walk(outputs)
    number = {node: i for i, node in enumerate(order, start=1)}
    graph: networkx.MultiDiGraph[int] = networkx.MultiDiGraph()
    for node in order:
        parameters = {f.name: getattr(node.op, f.name) for f in fields(node.op)}  # type: ignore[arg-type]  # ops are
        graph.add_node(number[node], op=node.op.name, parameters=parameters, spec=node.spec, key=node.key)
    for node in order:
        for position, other in enumerate(node.inputs):
            graph.add_edge(number[other], number[node], position=position)
    return graph


def to_dot(outputs: Sequence[Node]) -> str:
    """The graph in the DOT language: ``Path("graph.dot").write_text(img.to_dot())``, then ``dot -Tsvg graph.dot``."""
    order = walk(outputs)
    number = {node: i for i, node in enumerate(order, start=1)}
    lines = ["digraph imgrs {", "  rankdir=TB;", '  node [shape=box, fontname="sans-serif"];']
    for node in order:
        label = f"{node.op.name}({', '.join(arguments(node.op))})\n{node.spec}"
        quoted = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'  n{number[node]} [label="{quoted}"];')
    lines += [f"  n{number[other]} -> n{number[node]};" for node in order for other in node.inputs]
    return "\n".join([*lines, "}"]) + "\n"
