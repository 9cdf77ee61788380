"""What makes an image a Dask collection, by Dask's public protocol.

The graph of a collection has one key for each output tile, named by the image's digest, so equal images share work.
Collections that are computed together are planned together: what they share is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imgrs import config
from imgrs.graph.node import Node
from imgrs.types import Pixels

if TYPE_CHECKING:
    import dask.array


class Symbol:
    """What a collection's keys stand for, carried in its graph so that ``optimize`` can plan several together."""

    def __init__(self, node: Node, settings: config.Settings, name: str) -> None:
        self.node = node
        self.settings = settings
        self.name = name


def _node_name(node: Node) -> str:
    return node.key


class Collection:
    """A handle on one node, with the methods that Dask looks for."""

    __slots__ = ("__weakref__", "_node")

    def __init__(self, node: Node) -> None:
        self._node = node

    def __dask_graph__(self) -> Any:
        from dask.highlevelgraph import HighLevelGraph

        name, _, graph = self._planned()
        return HighLevelGraph.from_collections(name, graph, dependencies=[])

    def __dask_keys__(self) -> list[Any]:
        name, stage, _ = self._planned()
        tail = (0,) if len(self._node.spec.shape) == 3 else ()
        head = self._node.spec.shape
        if len(head) == 1:
            return [(name, column) for column in range(stage.grid.columns)]
        return [[(name, row, column, *tail) for column in range(stage.grid.columns)] for row in range(stage.grid.rows)]

    def __dask_layers__(self) -> tuple[str, ...]:
        return (self._planned()[0],)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "imgrs.Image", self._node.key

    @staticmethod
    def __dask_optimize__(graph: Any, keys: Any, **options: Any) -> Any:
        return optimize(graph, keys)

    @staticmethod
    def __dask_scheduler__(graph: Any, keys: Any, **options: Any) -> Any:
        import dask.threaded

        return dask.threaded.get(graph, keys, **options)

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return stitch, (self._node.spec.shape,)

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _persisted, (type(self), self._node.spec, self.__dask_keys__(), self._chunks())

    def to_dask(self) -> dask.array.Array:
        """The image as a real ``dask.array`` of ``shape``, one chunk per tile; nothing is computed."""
        import dask.array

        return dask.array.Array(self.__dask_graph__(), self._planned()[0], self._chunks(), dtype=self._node.spec.dtype)

    def persist(self, **options: Any) -> Any:
        """The same image with its tiles computed and kept in memory (on the cluster, if there is one)."""
        import dask

        return dask.persist(self, **options)[0]

    def _chunks(self) -> tuple[tuple[int, ...], ...]:
        _, stage, _ = self._planned()
        spec = self._node.spec
        rows = tuple(stage.grid.region(row, 0).height for row in range(stage.grid.rows))
        columns = tuple(stage.grid.region(0, column).width for column in range(stage.grid.columns))
        if len(spec.shape) == 1:
            return (columns,)
        return (rows, columns) if len(spec.shape) == 2 else (rows, columns, (spec.bands,))

    def _planned(self) -> tuple[str, Any, dict[Any, Any]]:
        """The name of this image's keys, the stage that makes it, and the graph."""
        from imgrs.plan.choose import plan

        settings = replace(config.settings(), scheduler="distributed", cache=None)  # the graph may go to any
        made = plan([self._node], settings)
        stage = made.stage_of(0)
        name = f"imgrs-{self._node.key}-{settings.optimizer}-{stage.grid.tile[0]}x{stage.grid.tile[1]}"
        graph = _joined(made, [Symbol(self._node, settings, name)])
        return name, stage, graph


def _joined(made: Any, symbols: list[Symbol]) -> dict[Any, Any]:
    """One graph for the outputs of a plan, each under its own name."""
    from imgrs.run.engine import named_tiles, no_wait
    from imgrs.run.graph import Builder
    from imgrs.run.tasks import Shaped

    builder = Builder(made, _node_name, None)
    wanted = dict(zip(symbols, made.after, strict=True))
    for stage in made.stages:
        if stage.kind != "output":
            continue
        here = [(symbol, node) for symbol, node in wanted.items() if node in stage.nodes]
        base = builder.stage_name(stage)
        shaped = Shaped(tuple(len(node.spec.shape) for node in stage.nodes))
        if len(stage.nodes) == 1 and len(here) == 1:
            symbol = here[0][0]
            builder.outputs(stage, shaped, _keys_of(symbol), no_wait)
            continue
        wholes = builder.outputs(stage, shaped, named_tiles(base), no_wait)
        for symbol, node in here:
            for cell, whole in zip(stage.grid.cells, wholes, strict=True):
                if len(stage.nodes) == 1:
                    builder.graph[_keys_of(symbol)(*cell)] = whole
                else:
                    builder.picked(whole, stage.nodes.index(node), _keys_of(symbol)(*cell))
    builder.graph.update({f"{symbol.name}-symbol": symbol for symbol in symbols})
    return builder.graph


def _keys_of(symbol: Symbol) -> Callable[[int, int], Any]:
    dimensions = len(symbol.node.spec.shape)
    if dimensions == 1:
        return lambda row, column: (symbol.name, column)
    tail = (0,) if dimensions == 3 else ()
    return lambda row, column: (symbol.name, row, column, *tail)


def optimize(graph: Any, keys: Any) -> Any:
    """Dask's hook: images that are computed together become one plan; everything else in the graph stays."""
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

    tasks = dict(graph)
    found = [symbol for symbol in map(_symbol, tasks.values()) if symbol is not None]
    symbols = list({symbol.name: symbol for symbol in found}.values())
    if len(symbols) < 2:
        return graph
    joined = _plan_together(symbols)
    if joined is None:
        return graph
    joined.update({key: task for key, task in tasks.items() if key not in joined and not _is_ours(key)})
    annotations: dict[str, Any] = {}
    for layer in getattr(graph, "layers", {}).values():
        annotations.update(layer.annotations or {})
    layers = {"imgrs-together": MaterializedLayer(joined, annotations=annotations or None)}
    return HighLevelGraph(layers, {"imgrs-together": set()})


def _symbol(task: Any) -> Symbol | None:
    value = getattr(task, "value", task)  # Dask may have wrapped it as data
    return value if isinstance(value, Symbol) else None


def _is_ours(key: Any) -> bool:
    name = key[0] if isinstance(key, tuple) else key
    return isinstance(name, str) and name.startswith("imgrs-")


def _plan_together(symbols: list[Symbol]) -> dict[Any, Any] | None:
    """One graph for several images, where their tiles are of one size; None where they are not."""
    from imgrs.plan.choose import plan

    sizes = {symbol.name.rpartition("-")[2] for symbol in symbols}
    if len(sizes) != 1:
        return None
    width, _, height = sizes.pop().partition("x")
    settings = replace(symbols[0].settings, chunks=(int(width), int(height)))
    return _joined(plan([symbol.node for symbol in symbols], settings), symbols)


def stitch(tiles: Any, shape: tuple[int, ...]) -> Pixels:
    """Tiles (nested as the keys are) as one array."""
    import numpy as np

    if len(shape) == 1:
        return np.concatenate(tiles)
    return np.concatenate([np.concatenate(row, axis=1) for row in tiles], axis=0)


def _persisted(
    graph: Mapping[Any, Any],
    kind: type[Collection],
    spec: Any,
    keys: Any,
    chunks: tuple[tuple[int, ...], ...],
    *,
    rename: Mapping[str, str] | None = None,
) -> Collection:
    """An image on tiles that are there already."""
    import dask.array

    from imgrs.ops.source import FromDask

    first = keys
    while isinstance(first, list):
        first = first[0]
    name = (rename or {}).get(first[0], first[0])
    array = dask.array.Array(graph, name, chunks, dtype=spec.dtype)
    if array.ndim == 1:
        array = array[None]  # a source has rows
    return kind(Node(FromDask(array, spec, array.name)))
