"""Saves an image: tiles are encoded in the tasks that make them, and the old file stays until the new one is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from imgrs.config import Settings
from imgrs.errors import ArgumentTypeError, SaveError
from imgrs.graph.node import Node
from imgrs.io import format_for
from imgrs.io.atomic import replacing
from imgrs.io.format import Encoder, TileEncoder, WholeEncoder
from imgrs.plan.choose import WAITING_PER_WORKER, plan
from imgrs.plan.stages import ANYWHERE, Sink
from imgrs.run.engine import compute, local_names, output_stages, run, scheduler, scratch_folder
from imgrs.run.graph import Builder, Graph, Key
from imgrs.run.pyramid import HALVINGS, EncodeLevels, rest_of, with_levels
from imgrs.run.tasks import Encode, Place
from imgrs.types import Spec


def save(
    node: Node,
    target: Any,
    format: str | None,
    info: Mapping[str, Any],
    options: Mapping[str, Any],
    settings: Settings,
) -> None:
    """Compute ``node`` and write it to ``target``, a path, a URL or a binary file object.

    Raises ``ArgumentError`` for what the format cannot hold, before anything is computed, and ``SaveError``.
    """
    path = _path(target)
    remote = path is not None and "://" in path
    encoder = format_for(path, format).encoder(node.spec, info, options)
    with ExitStack() as stack:
        if path is None or remote:
            folder = tempfile.mkdtemp(prefix="imgrs-save-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            temporary = os.path.join(folder, "image")
        else:
            temporary = stack.enter_context(replacing(path))
        if isinstance(encoder, TileEncoder):
            _save_tiles(node, encoder, temporary, settings)
        else:
            assert isinstance(encoder, WholeEncoder)
            Path(temporary).write_bytes(encoder.encode(compute([node], settings)[0]))
        if path is None:
            _copy(temporary, target)
        elif remote:
            _put(temporary, path)


def sink_of(spec: Spec, format: str | None) -> Sink:
    """How the tiles of an image are made for a file of a format; for an array where it is None."""
    if format is None:
        return ANYWHERE
    return _sink(format_for(None, format).encoder(spec, {}, {}))


def _path(target: Any) -> str | None:
    if isinstance(target, (str, os.PathLike)):
        return os.fspath(target)
    if callable(getattr(target, "write", None)):
        return None
    raise ArgumentTypeError(f"save: target must be a path, a URL or a binary file object, got {type(target).__name__}")


def _save_tiles(node: Node, encoder: TileEncoder, path: str, settings: Settings) -> None:
    """Encode each tile where it is made, and place the tiles in order; at most a window of them waits."""
    made = plan([node], settings, [_sink(encoder)])
    get, shared = scheduler(settings)
    (stage,) = output_stages(made)
    place = Place(encoder, path, encoder.begin(path))
    window = WAITING_PER_WORKER * settings.workers
    columns = 1 if stage.by_rows else stage.grid.columns

    def placed_before(i: int) -> list[Key]:
        return [("place", "encode", *divmod(i - window, columns))] if i >= window else []

    alpha = node.spec.alpha
    then = Encode(encoder) if encoder.levels == 1 else EncodeLevels(encoder, alpha)
    with scratch_folder(made) as scratch:
        builder = Builder(made, local_names(made, shared), shared, scratch)
        keys = builder.outputs(stage, then, lambda row, column: ("encode", row, column), placed_before)
        jobs = {key: builder.graph.pop(key) for key in keys}
        if encoder.levels > 1:
            jobs = with_levels(jobs, stage.grid, encoder, alpha)
        places = _placed(builder.graph, jobs, place, encoder.levels > 1)
        (results,) = run(builder.graph, [places], made, get)
    encoder.finish(path, results[-1][0], [row for _, rows in results for row in rows])


def _placed(graph: Graph, jobs: Graph, place: Place, rests: bool) -> list[Key]:
    """Add jobs to a graph, and after each the task that puts what it made behind what the one before it made.

    Every task comes after what it waits for, so that a plain loop can run them too. Returns the keys of the places.
    """
    places: list[Key] = []
    for key, task in jobs.items():
        graph[key] = task
        if rests:
            name, pick = rest_of(key)
            graph[name] = pick
        graph["place", *key] = (place, key, *places[-1:])
        places.append(("place", *key))
    return places


def _sink(encoder: Encoder) -> Sink:
    if not isinstance(encoder, TileEncoder):
        return ANYWHERE
    width, height = encoder.unit
    larger = HALVINGS if encoder.levels > 1 else 0
    return Sink((width << larger, height << larger), encoder.by_rows)


def _copy(path: str, target: Any) -> None:
    try:
        with open(path, "rb") as file:
            while part := file.read(1 << 22):
                target.write(part)
    except OSError as error:
        raise SaveError(f"the file object could not be written: {error}") from error


def _put(path: str, url: str) -> None:
    from imgrs.io.remote import put

    try:
        put(path, url)
    except Exception as error:  # every file system of fsspec has its own
        raise SaveError(f"{url} could not be written: {error}") from error
