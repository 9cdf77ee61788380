"""Which images a batch is of, and what each is saved as."""

from __future__ import annotations

import glob
import itertools
import os
import string
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.io import extensions, holds_image

FIELDS = ("stem", "name", "ext", "parent", "index")
"""What a template may name."""


def found(sources: Any) -> list[str]:
    """The paths and URLs that ``sources`` names, each once: paths, patterns and folders in the order of their names.

    Raises ``ArgumentError`` for a pattern or folder without an image; a path that is not there is found out later.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    if not isinstance(given, Iterable):
        raise ArgumentTypeError(f"batch: sources must be paths, patterns or URLs, got {type(sources).__name__}")
    names: dict[str, None] = {}
    for one in given:
        if not isinstance(one, (str, os.PathLike)):
            raise ArgumentTypeError(f"batch: a source must be a path, a pattern or a URL, got {type(one).__name__}")
        names.update(dict.fromkeys(_of(os.fspath(one))))
    if not names:
        raise ArgumentError("batch: there are no sources")
    return list(names)


def _of(name: str) -> Sequence[str]:
    if "://" in name:
        return _of_url(name)
    if os.path.isdir(name) and not holds_image(name):
        known = extensions()
        there = sorted(entry.path for entry in os.scandir(name) if entry.name.lower().endswith(known))
        if not there:
            raise ArgumentError(f"batch: the folder {name} holds no images; give a pattern such as {name}/**/*.jpg")
        return there
    if glob.has_magic(name) and not os.path.exists(name):
        there = sorted(path for path in glob.iglob(name, recursive=True) if os.path.isfile(path) or holds_image(path))
        if not there:
            raise ArgumentError(f"batch: nothing matches {name!r}")
        return there
    return [name]


def _of_url(url: str) -> Sequence[str]:
    """A star makes a pattern of a URL; ``?`` and ``[`` may be part of one."""
    if "*" not in url:
        return [url]
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    there = sorted(system.unstrip_protocol(name) for name in system.glob(path))
    if not there:
        raise ArgumentError(f"batch: nothing matches {url!r}")
    return there


def template_of(out: Any) -> str:
    """The template that ``out`` is; a folder, which is there or ends with a slash, stands for ``"folder/{name}"``."""
    if not isinstance(out, (str, os.PathLike)):
        raise ArgumentTypeError(
            f"batch: out must be a template such as 'out/{{stem}}.{{ext}}', got {type(out).__name__}"
        )
    template = os.fspath(out)
    if template.endswith(("/", os.sep)) or (os.path.isdir(template) and not holds_image(template)):
        template = f"{template.rstrip('/' + os.sep)}/{{name}}"
    _check(template)
    return template


def targets(sources: Sequence[str], template: str) -> list[str]:
    """What each source is saved as: a checked template with its fields filled in.

    Raises ``ArgumentError`` where two would be one file, or a result would replace a source.
    """
    around = _common(sources)
    made = [_filled(template, name, around, i) for i, name in enumerate(sources)]
    owners = {_real(name): name for name in sources}
    taken: dict[str, str] = {}
    for name, target in zip(sources, made, strict=True):
        real = _real(target)
        if real in owners:
            raise ArgumentError(f"batch: {target} would replace the source {owners[real]}; save elsewhere")
        if real in taken:
            way_out = "use {stem}, with {parent} or {index} where names are alike, in out"
            raise ArgumentError(f"batch: {taken[real]} and {name} would both be saved as {target}; {way_out}")
        taken[real] = name
    return made


def _check(template: str) -> None:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ArgumentError(f"batch: out {template!r} is not a template: {error}") from None
    for field in fields:
        if field not in FIELDS:
            raise ArgumentError(f"batch: out may name {', '.join(FIELDS)}, got {{{field}}}")


def _filled(template: str, name: str, around: Sequence[str], index: int) -> str:
    stem, ext = _split(name)
    parent = "/".join(_folders(name)[len(around) :]) or "."
    fields = {"stem": stem, "name": f"{stem}.{ext}" if ext else stem, "ext": ext, "parent": parent, "index": index}
    try:
        filled = template.format_map(fields)
    except (ValueError, TypeError) as error:  # a format that does not fit, such as {stem:04d}
        raise ArgumentError(f"batch: out {template!r} cannot be filled in: {error}") from None
    if "://" in filled:
        return filled.replace("/./", "/")
    return os.path.normpath(filled)


def _split(name: str) -> tuple[str, str]:
    """The name of a file without its extension, and that: ``"a.ome.tif"`` is ``("a", "ome.tif")``."""
    last = name.partition("?")[0].partition("::")[0] if "://" in name else name
    last = PurePosixPath(last.replace(os.sep, "/")).name
    known = [extension for extension in extensions() if last.lower().endswith(extension)]
    ext = max(known, key=len) if known else os.path.splitext(last)[1]
    return last[: len(last) - len(ext)], last[len(last) - len(ext) :].removeprefix(".")


def _folders(name: str) -> list[str]:
    """The folders that a source is in, from the outermost; of a URL from its file system on."""
    if "://" in name:
        system, _, path = name.partition("://")
        return [f"{system}://", *path.split("/")[:-1]]
    return os.path.abspath(name).replace(os.sep, "/").split("/")[:-1]


def _common(sources: Sequence[str]) -> list[str]:
    """The folders that all sources are in. Raises ``ArgumentError`` where they have none in common."""
    shared = _folders(sources[0])
    for name in sources[1:]:
        pairs = zip(shared, _folders(name), strict=False)
        shared = [one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
        if not shared:
            raise ArgumentError(f"batch: {sources[0]} and {name} are on different systems; make a batch of each")
    return shared


def _real(name: str) -> str:
    return name if "://" in name else os.path.realpath(name)
