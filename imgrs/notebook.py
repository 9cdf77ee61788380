"""What a notebook shows of an image: a small picture of it, the facts, and its graph to unfold.

The picture is ``Image.preview``, made only where its own forecast is short: showing an image never computes it. Nothing
here raises what is wrong with a file; it is said where the picture would be.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from imgrs.errors import ImgrsError
from imgrs.forecast import estimate
from imgrs.graph.node import Node, walk
from imgrs.graph.text import listing
from imgrs.image import Image
from imgrs.ops.source import FromArray, FromDask, New, Open
from imgrs.ops.tiles import MapTiles
from imgrs.sizes import size_text

SIDE = 512
"""Pixels of the picture across or down, at most."""
SECONDS = 0.5
"""What making the picture, or a statistic's numbers, may take by its forecast; what would take longer is not begun."""
FETCHED = 8 << 20
"""Bytes that may be fetched from URLs for it: forecasts of seconds know nothing of networks."""
SOURCES = 4
"""Sources that are named."""
NUMBERS = 64
"""Numbers of a statistic above which its middle is left out."""

_BLOCK = "margin:0;padding:0;background:none;color:inherit;font-size:12px;line-height:1.4"
_CELL = "padding:1px 12px 1px 0;border:0;background:none;text-align:left;vertical-align:top"
_CHECKS = "background:repeating-conic-gradient(#80808040 0 25%,transparent 0 50%) 0 0/16px 16px"
"""What lies behind transparent pixels; gray enough for light and dark pages."""


def mimebundle(image: Image, include: Iterable[str] | None, exclude: Iterable[str] | None) -> dict[str, Any]:
    """What ``Image._repr_mimebundle_`` gives: text and HTML, and a PNG where ``include`` asks for it.

    The PNG is left out else, as every notebook would keep it a second time beside the HTML that is shown.
    """
    wanted = {"text/plain", "text/html"} if include is None else set(include)
    wanted -= set(exclude or ())
    bundle: dict[str, Any] = {}
    if "text/plain" in wanted:
        bundle["text/plain"] = repr(image)
    if wanted & {"text/html", "image/png"}:
        shown = _shown(image)
        if "text/html" in wanted:
            bundle["text/html"] = _html(image, shown)
        if "image/png" in wanted and shown.png:
            bundle["image/png"] = base64.b64encode(shown.png).decode()
    return bundle


@dataclass(frozen=True)
class _Shown:
    """A picture or numbers, or why there are none."""

    png: bytes = b""
    numbers: str = ""
    size: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()


def _shown(image: Image) -> _Shown:
    is_picture = image._node.spec.encoding != "statistic"
    what = "preview" if is_picture else "values"
    way = f"img.preview({SIDE}).compute()" if is_picture else "compute()"
    try:
        preview = image.preview(SIDE)
        small, note = _for_screens(preview) if is_picture else (image, "")
        reason = _too_much(small, is_picture)
        if reason:
            return _Shown(notes=(f"No {what}: {reason}. {way} makes {'one' if is_picture else 'them'}.",))
        if not is_picture:
            return _Shown(numbers=np.array2string(small.compute(scheduler="threads"), threshold=NUMBERS))
        file = io.BytesIO()
        small.save(file, "png", metadata=False, scheduler="threads")
    except ImgrsError as error:
        return _Shown(notes=(f"No {what}: {_told(error, image)}",))
    notes = [note] if note else []
    if preview.approximate:
        notes.append(f"Approximate in this preview: {', '.join(preview.approximate)}")
    return _Shown(png=file.getvalue(), size=small.size, notes=tuple(notes))


def _for_screens(preview: Image) -> tuple[Image, str]:
    """A preview as a PNG of 8 bits can hold it, and what was done for that, if it is worth saying."""
    spec = preview._node.spec
    if spec.encoding == "multiband":
        return preview.getchannel(0).astype("uint8"), f"Band 1 of {spec.bands} is shown"
    if spec.encoding == "cmyk":
        preview = preview.convert("RGB")
    return (preview if spec.dtype == "bool" else preview.astype("uint8")), ""


def _too_much(image: Image, is_picture: bool) -> str:
    """Why computing this is more than showing should take; empty where it is not."""
    nodes = walk([image._node])
    if any(isinstance(node.op, FromDask) and not _in_memory(node.op.array) for node in nodes):
        return "it is not known how long its Dask array takes"
    if any(isinstance(node.op, MapTiles) for node in nodes):
        return "it is not known how long the function of map_tiles() takes"
    forecast = estimate(image, sink="png" if is_picture else None, scheduler="threads")
    if forecast.seconds > SECONDS:
        return f"it would take about {forecast.seconds:.2g} s, more than {SECONDS} s"
    if forecast.read_bytes > FETCHED and any("://" in node.op.reader.resource.name for node in _files(nodes)):
        return f"it would fetch {size_text(forecast.read_bytes)}, more than {size_text(FETCHED)}"
    return ""


def _files(nodes: list[Node]) -> list[Any]:
    return [node for node in nodes if isinstance(node.op, Open)]


def _in_memory(array: Any) -> bool:
    """Whether all chunks of a Dask array are there, as ``persist`` leaves them: arrays, or a cluster's futures."""
    values = [getattr(task, "value", task) for task in dict(array.__dask_graph__()).values()]
    return all(isinstance(value, np.ndarray) or type(value).__name__ == "Future" for value in values)


# The page


def _html(image: Image, shown: _Shown) -> str:
    """Plain HTML with styles in place: it works without scripts, and takes colors from the page."""
    parts = []
    if shown.png:
        data = base64.b64encode(shown.png).decode()
        width, height = shown.size
        checks = f";{_CHECKS}" if image._node.spec.alpha else ""
        parts.append(
            f'<img width="{width}" height="{height}" alt="preview" style="max-width:100%;height:auto{checks}" '
            f'src="data:image/png;base64,{data}">'
        )
    if shown.numbers:
        parts.append(f'<pre style="{_BLOCK}">{escape(shown.numbers)}</pre>')
    rows = "".join(
        f'<tr style="background:none"><th style="{_CELL};font-weight:normal;opacity:.7">{escape(name)}</th>'
        f'<td style="{_CELL}">{escape(value)}</td></tr>'
        for name, value in _facts(image)
    )
    notes = "".join(f'<div style="max-width:40em;padding-top:6px">{escape(note)}</div>' for note in shown.notes)
    table = f'<table style="border:0;border-collapse:collapse;margin:0;font-size:13px">{rows}</table>'
    parts.append(f"<div>{table}{notes}</div>")
    count = len(walk([image._node]))
    graph = (
        f'<details style="padding-top:6px"><summary style="cursor:pointer">Graph of {count} '
        f'node{"s" if count > 1 else ""}</summary><pre style="{_BLOCK};overflow-x:auto">'
        f"{escape(listing([image._node]))}</pre></details>"
    )
    row = f'<div style="display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start">{"".join(parts)}</div>'
    return f'<div class="imgrs-image" style="color:inherit;font-size:13px">{row}{graph}</div>'


def _facts(image: Image) -> Iterator[tuple[str, str]]:
    spec = image._node.spec
    if spec.encoding == "statistic":
        yield "shape", str(image.shape)
        yield "samples", spec.dtype
    else:
        yield "size", f"{image.width:,} x {image.height:,} pixels"
        yield "mode", image.mode
        yield "samples", f"{spec.dtype}, {size_text(image.nbytes)} in all"
    sources = list(dict.fromkeys(_source(node) for node in walk([image._node]) if not node.inputs))
    more = [f"and {len(sources) - SOURCES:,} more"] if len(sources) > SOURCES else []
    yield "source" if len(sources) == 1 else "sources", ", ".join(sources[:SOURCES] + more)
    try:
        forecast = estimate(image)
    except ImgrsError as error:
        yield "computing", _told(error, image)
        return
    memory, read = size_text(forecast.peak_bytes), size_text(forecast.read_bytes)
    seconds = f"about {forecast.seconds:.2g} s" if forecast.seconds >= 0.01 else "below 0.01 s"
    yield "computing", f"{seconds}, {memory} of memory" + (f", {read} read from files" if forecast.read_bytes else "")


def _source(node: Node) -> str:
    op = node.op
    if isinstance(op, Open):
        return f"{_without_secrets(op.reader.resource.name)} ({op.reader.format})"
    kinds = {New: "one color", FromArray: "an array in memory", FromDask: "a Dask array"}
    return kinds.get(type(op), op.name)


def _told(error: ImgrsError, image: Image) -> str:
    """What an error says, without the secrets of URLs that it names."""
    text = str(error)
    for node in _files(walk([image._node])):
        text = text.replace(node.op.reader.resource.name, _without_secrets(node.op.reader.resource.name))
    return text


def _without_secrets(name: str) -> str:
    """A path as it is; a URL without its user, query and fragment, which may be keys: notebooks are passed around."""
    if "://" not in name:
        return name
    url = urlsplit(name)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
