"""Saves images: tiles are encoded in the tasks that make them, and the old file stays until the new one is whole.

Several images are saved in one run: they are planned together, and what they share is made once.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from imgrs.config import Settings
from imgrs.errors import ArgumentError, said_by
from imgrs.graph.node import Node
from imgrs.io import formats, xmp
from imgrs.io.format import Encoder, Format, Placed, TileEncoder, WholeEncoder
from imgrs.io.metadata import fitting
from imgrs.plan.choose import plan
from imgrs.plan.stages import ANYWHERE, HALVINGS, WAITING_PER_WORKER, Forecast, Plan, Sink
from imgrs.run.engine import Arrays, check_shared, local_names, run, scratch_folder
from imgrs.run.graph import Builder, Key
from imgrs.run.journal import Entry, Journal
from imgrs.run.landing import landing, path_of, resumable
from imgrs.run.progress import shown
from imgrs.run.pyramid import Encode, Encoded, Place, job_of, jobs_of, rest_key
from imgrs.run.watch import recording
from imgrs.types import Pixels

LEAST_HELD = 1 << 20
"""Bytes of an encoded tile that stay in memory in any case until its turn comes."""


@dataclass(frozen=True)
class Output:
    """An image to be saved, and where; what its format cannot hold was refused."""

    node: Node
    target: Any
    encoder: Encoder

    @classmethod
    def of(
        cls,
        node: Node,
        target: Any,
        format: Format,
        info: Mapping[str, Any],
        options: Mapping[str, Any],
        recipe: str | None = None,
    ) -> Output:
        """Check a save, with a recipe in its metadata if there is one. Raises ``ArgumentError`` for what cannot be held."""
        carried = fitting(info, node.spec)
        if recipe is not None:
            options = {**options, "xmp": _with_recipe(format, carried, options, recipe)}
        return cls(node, target, format.encoder(node.spec, carried, options))


def check_resumable(output: Output) -> None:
    """Raise ``ArgumentError`` for a format of which no part can be kept, without the caller's name."""
    if not isinstance(output.encoder, TileEncoder):
        raise ArgumentError("resume=True needs a format that is written tile by tile, such as TIFF")


def _with_recipe(format: Format, info: Mapping[str, Any], options: Mapping[str, Any], recipe: str) -> Any:
    if "xmp" not in format.options:
        known = ", ".join(format.name for format in formats() if format.is_written and "xmp" in format.options)
        raise ArgumentError(
            f"{format.name} keeps no XMP, where a recipe goes; save as {known}, or write img.recipe().to_json() "
            "beside it"
        )
    packet = options.get("xmp", info.get("xmp"))
    return xmp.with_recipe(packet or b"", recipe) if packet is None or isinstance(packet, bytes) else packet


def save(
    outputs: Sequence[Output], settings: Settings, statistics: Sequence[Node] = (), resume: bool = False
) -> list[Pixels]:
    """Compute images and write each to its target; returns the pixels of ``statistics``, made on the way.

    With ``resume`` a save (of one image) that its process did not live to finish is gone on with. Raises ``SaveError``.
    """
    start = time.perf_counter()
    for output in outputs:
        if settings.scheduler == "processes" and output.encoder.folder:
            check_shared(path_of(output.target) or "")
    with ExitStack() as stack:
        bar = stack.enter_context(shown(settings.progress, "save"))
        journal = None
        if resume:
            with said_by("save"):
                check_resumable(outputs[0])
            journal = stack.enter_context(resumable(outputs[0].target, outputs[0].encoder))
            settings = replace(settings, chunks=settings.chunks or journal.tile())
            paths = [journal.image]
        else:
            paths = [stack.enter_context(landing(output.target, output.encoder)) for output in outputs]
        sinks = [*(_sink(output.encoder) for output in outputs), *(ANYWHERE for _ in statistics)]
        made = plan([*(output.node for output in outputs), *statistics], settings, sinks)
        record = stack.enter_context(recording(made, "save", start))
        scratch = stack.enter_context(scratch_folder(made))
        builder = stack.enter_context(closing(Builder(made, local_names(made), scratch)))
        files: list[_TiledFile | _WholeFile] = []
        for place, (output, path) in enumerate(zip(outputs, paths, strict=True)):
            if isinstance(output.encoder, TileEncoder):
                files.append(_TiledFile(builder, made, place, output.encoder, path, journal))
            else:
                assert isinstance(output.encoder, WholeEncoder)
                files.append(_WholeFile(made.after[place], output.encoder, path))
        arrays = Arrays(builder, made)
        results = run(builder, [*(file.keys for file in files), *arrays.keys], record, bar)
        arrays.fill(results[len(files) :])
        for file, result in zip(files, results, strict=False):
            with nullcontext() if record is None else record.part(file.in_end):
                file.finish(result, arrays)
        return [arrays.pixels[node] for node in made.after[len(outputs) :]]


def forecast(outputs: Sequence[Output], settings: Settings) -> Forecast:
    """What a save of ``outputs`` will take."""
    return plan([output.node for output in outputs], settings, [_sink(output.encoder) for output in outputs]).forecast


def sink_of(output: Output | None) -> Sink:
    """How the tiles of an image are made for a save; for an array where it is None."""
    return ANYWHERE if output is None else _sink(output.encoder)


def _sink(encoder: Encoder) -> Sink:
    if not isinstance(encoder, TileEncoder):
        return Sink(codec=encoder.codec, whole=True, encoding_bytes=encoder.encoding_bytes)
    width, height = encoder.unit
    larger = HALVINGS if encoder.levels > 1 else 0
    unit = (width << larger, height << larger)
    return Sink(
        unit,
        encoder.by_rows,
        encoder.codec,
        encoding_bytes=encoder.encoding_bytes,
        share=encoder.share,
        scattered=encoder.scattered,
        levels=encoder.levels,
    )


class _WholeFile:
    """A file that is made at once from all pixels of an image."""

    keys: ClassVar[list[Key]] = []
    in_end: ClassVar[str] = "encode"

    def __init__(self, node: Node, encoder: WholeEncoder, path: str) -> None:
        self._node, self._encoder, self._path = node, encoder, path

    def finish(self, results: Any, arrays: Arrays) -> None:
        Path(self._path).write_bytes(self._encoder.encode(arrays.pixels[self._node]))


class _TiledFile:
    """A file whose tiles are encoded by tasks: adds those to a graph, and completes the file when they have run.

    Tiles are put in their places in order, and at most a window of them waits; or anywhere at any time, where the format
    has a place for each. What a journal says is done is not done again.
    """

    in_end: ClassVar[str] = "write"

    def __init__(
        self,
        builder: Builder,
        made: Plan,
        place: int,
        encoder: TileEncoder,
        path: str,
        journal: Journal | None,
    ) -> None:
        self._encoder, self._path = encoder, path
        spec, stage = made.after[place].spec, made.stage_of(place)
        done = _done(made, place, encoder, stage.grid.tile, journal)
        self._offset = done[-1].offset if done else encoder.begin(path)
        self._done = [row for entry in done for row in entry.placed]
        if done and not encoder.scattered:
            os.truncate(path, self._offset)
        put = Place(encoder, path, self._offset, journal)
        encode = Encode(encoder, spec.alpha, put if encoder.scattered else None)
        if made.settings.shares_memory and not encoder.scattered:
            encode = replace(encode, most=max(stage.encoded_bytes, LEAST_HELD), folder=os.path.dirname(path))
        name = f"imgrs-save-{uuid.uuid4().hex}"
        finished = {(name, entry.job) for entry in done}
        workers = 1 if made.settings.scheduler == "sync" else made.settings.workers
        here = made.settings.shares_memory
        window = WAITING_PER_WORKER * workers
        order = [(name, job_of(0, region)) for region in stage.regions]

        def key(row: int, column: int) -> Key:
            return name, job_of(0, stage.grid.region(row, column))

        def waits_for(i: int) -> list[Key]:
            """What was placed a window before; and here, what each worker made last, or Dask would begin far ahead."""
            placed = [("place", *order[i - window])] if i >= window and not encoder.scattered else []
            made = [order[i - workers]] if i >= workers and here else []
            return [wanted for wanted in (*placed, *made) if wanted[-2:] not in finished]

        keys = builder.outputs(stage, encode, key, waits_for)
        jobs, joined = jobs_of({key: builder.graph.pop(key) for key in keys}, stage.grid, encode)
        rests = {member for key, members in joined.items() if key not in finished for member in members}
        self.keys: list[Key] = []
        for job, task in jobs.items():
            if job not in finished:
                builder.graph[job] = task
                rest = [rest_key(job)] if job in rests else []
                builder.graph.update(dict.fromkeys(rest, (_rest, job)))
                before = [] if encoder.scattered else self.keys[-1:]
                self.keys.append(("place", *job))
                # It waits for the rest, too, or Dask would keep what was encoded until somebody needs the rest.
                builder.graph[self.keys[-1]] = (_placed if encoder.scattered else put, job, *before, *rest)
            elif job in rests and journal is not None:
                builder.graph[rest_key(job)] = (_Rest(journal, job[1]),)

    def finish(self, results: Sequence[tuple[int, list[Placed]]], arrays: Arrays) -> None:
        placed = [*self._done, *(row for _, rows in results for row in rows)]
        self._encoder.finish(self._path, results[-1][0] if results else self._offset, placed)


def _done(made: Plan, place: int, encoder: TileEncoder, tile: tuple[int, int], journal: Journal | None) -> list[Entry]:
    """What an earlier process has done of this save."""
    what = f"{made.before[place].key} {made.settings.optimizer} {encoder!r}"
    return journal.entries(encoder) if journal is not None and journal.begin(what, tile) else []


@dataclass(frozen=True)
class _Rest:
    """The smallest copy that an earlier process had made."""

    journal: Journal
    job: str

    def __call__(self) -> Pixels:
        return self.journal.rest(self.job)


def _rest(made: Encoded) -> Pixels | None:
    """The smallest copy alone, so that what was encoded can be forgotten."""
    return made.rest


def _placed(made: Encoded, rest: Pixels | None = None) -> tuple[int, list[Placed]]:
    return 0, made.placed
