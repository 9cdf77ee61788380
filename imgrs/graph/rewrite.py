"""How rules rewrite a graph: to a fixed point, with a bound, each firing checked and recorded.

A rule looks at one node and returns another that means the same, or None. It never sees more than the node, what is
below it, and whether other nodes use it too. Which rules exist is not known here.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from imgrs.graph.node import Node, walk

ROUNDS = 8
"""Times that all passes run, at most; a set of rules that needs more does not converge."""


@dataclass(frozen=True)
class View:
    """What a rule may ask about the graph around its node."""

    uses: dict[Node, int]

    def shared(self, node: Node) -> bool:
        """Whether more than one consumer needs ``node``, so that changing it for one would compute it twice."""
        return self.uses.get(node, 1) > 1

    def run(self, node: Node, belongs: Callable[[Node], bool]) -> list[Node]:
        """The longest row of nodes that ``belongs`` accepts, each made for the next one only, with ``node`` its last."""
        row: list[Node] = []
        while belongs(node) and not (row and self.shared(node)):
            row.append(node)
            if not node.inputs:
                break
            node = node.inputs[0]
        return row[::-1]


Match: TypeAlias = Callable[[Node, View], Node | None]


@dataclass(frozen=True)
class Rule:
    """A law of the optimizer. ``tolerance`` is None where the law is exact, else the difference it allows."""

    name: str
    law: str
    match: Match
    tolerance: str | None = None

    @property
    def promise(self) -> str:
        return "exact" if self.tolerance is None else self.tolerance


def rule(function: Match) -> Rule:
    """Declare an exact rule: its name and the first line of its docstring are its name and law."""
    return _declare(function, None)


def approximate(tolerance: str) -> Callable[[Match], Rule]:
    """Declare a rule that changes pixels within ``tolerance``; it runs only with ``optimizer="fast"``."""
    return lambda function: _declare(function, tolerance)


def _declare(function: Match, tolerance: str | None) -> Rule:
    law = (function.__doc__ or "").strip().splitlines()[0]
    return Rule(getattr(function, "__name__", "rule"), law, function, tolerance)


@dataclass(frozen=True)
class Firing:
    """One use of a rule."""

    rule: str
    promise: str
    before: str
    after: str


class RewriteError(AssertionError):
    """A rule is wrong: it changed what the image is, or the rules never end."""


def rewrite(outputs: Sequence[Node], passes: Sequence[Sequence[Rule]]) -> tuple[tuple[Node, ...], tuple[Firing, ...]]:
    """Apply ``passes`` in order, over and over until none fires; returns the new outputs and the trace.

    Equal sub-graphs become one node on the way. Raises ``RewriteError`` where a rule changes an image's spec or the
    bound is reached.
    """
    current = tuple(outputs)
    trace: list[Firing] = []
    settled = 0  # passes in a row, up to the last one, after which nothing has fired
    for rules in itertools.chain.from_iterable(itertools.repeat(passes, ROUNDS)):
        fired = len(trace)
        current = _sweep(current, rules, trace)
        settled = settled + 1 if len(trace) == fired else 1  # a sweep leaves nothing to do for its own rules
        if settled == len(passes):
            return current, tuple(trace)
    raise RewriteError(f"no fixed point after {ROUNDS} rounds; last firing: {trace[-1]}")


def _sweep(outputs: tuple[Node, ...], rules: Sequence[Rule], trace: list[Firing]) -> tuple[Node, ...]:
    """One pass over the graph from the sources up; what a rule returns is itself swept before it is used."""
    order = walk(outputs)
    uses = Counter(i for node in order for i in node.inputs)
    uses.update(outputs)
    view = View(uses)
    final: dict[Node, Node] = {}
    becomes: dict[Node, Node] = {}
    interned: dict[tuple[object, ...], Node] = {}
    bound = len(trace) + 50 * len(order) + 1000
    visits = 100 * (len(order) + sum(len(node.inputs) for node in order) + 1000)
    stack = order[::-1]
    while stack:
        visits -= 1
        if len(trace) > bound or visits < 0:  # a rule that builds on the node it replaces never gets any further
            raise RewriteError(f"the rules do not end; last firing: {trace[-1]}")
        node = stack[-1]
        if node in final:
            stack.pop()
            continue
        if node in becomes:
            if becomes[node] in final:
                final[node] = final[becomes[node]]
            else:
                stack.append(becomes[node])
            continue
        waiting = [i for i in node.inputs if i not in final]
        if waiting:
            stack.extend(waiting)
            continue
        rebuilt = node.with_inputs(tuple(final[i] for i in node.inputs))
        rebuilt = interned.setdefault((rebuilt.op, *map(id, rebuilt.inputs)), rebuilt)
        if rebuilt is not node:
            uses[rebuilt] = max(uses[rebuilt], uses[node])
        after = _fire(rebuilt, rules, view, trace)
        if after is rebuilt:
            final[node] = final[rebuilt] = rebuilt
        else:
            uses[after] = max(uses[after], uses[node])
            becomes[node] = after
    return tuple(final[output] for output in outputs)


def _fire(node: Node, rules: Sequence[Rule], view: View, trace: list[Firing]) -> Node:
    for law in rules:
        after = law.match(node, view)
        if after is None or after is node:
            continue
        if after.spec != node.spec:
            raise RewriteError(f"{law.name} changed {node!r} to {after!r}")
        trace.append(Firing(law.name, law.promise, node.op.name, after.op.name))
        return after
    return node
