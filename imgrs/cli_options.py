"""Arguments that commands share: how they are asked for, and which keywords of imgrs's functions they become."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from imgrs.cli_errors import CalledWrongly, asked
from imgrs.errors import ArgumentError

if TYPE_CHECKING:
    from imgrs.io.format import Format
    from imgrs.pipelines import Pipeline

PIPE = "-"
"""The standard input, or output."""


def _sides(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        width, height = map(int, value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not two whole numbers, such as 1024,512") from None
    return width, height


def with_engine(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the engine, for commands that compute."""
    for option in (
        click.option("--workers", type=click.IntRange(1), help="Processors to use; all unless given."),
        click.option("--memory-limit", metavar="SIZE", help='Memory for pixels: "512MiB"; a quarter of what is free.'),
        click.option("--scheduler", type=click.Choice(["threads", "sync", "processes"]), help="Where tasks run."),
        click.option("--optimizer", type=click.Choice(["exact", "fast", "off"]), help="Which rules may rewrite."),
        click.option("--chunks", callback=_sides, metavar="W,H", help="Pixels of a tile; what fits unless given."),
    ):
        command = option(command)
    return command


PAGE = click.option(
    "--page", type=click.IntRange(0), default=0, show_default=True, help="Which image of the file, from 0."
)
ORIENT = click.option("--orient", is_flag=True, help="Set photographs upright first, as their EXIF says.")


def with_opening(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of ``open``, for commands that read the pixels of one file."""
    on_error = click.option(
        "--on-error",
        type=click.Choice(["raise", "fill"]),
        default="raise",
        show_default=True,
        help="Fail where a file is damaged, or read it as far as it goes, with 0 there.",
    )
    return PAGE(ORIENT(on_error(command)))


def with_many(command: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments and options of commands that make many images."""
    for option in (
        click.argument("sources", nargs=-1, required=True),
        click.option("-o", "--out", required=True, help="Names of the results: 'out/{stem}_web.{ext}'."),
        click.option("--resume", is_flag=True, help="Make only what an earlier run with the same arguments left undone."),
        click.option(
            "--on-error", type=click.Choice(["collect", "raise"]), default="collect", show_default=True,
            help="Go on when a file fails, or stop.",
        ),
        ORIENT,
    ):  # fmt: skip
        command = option(command)
    return command


def with_saving(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of formats, for commands that save."""
    return click.option("--format", help="The output's format, where its name does not say so.")(
        FORMAT_OPTIONS(command)
    )


FORMAT_OPTIONS = click.option(
    "-O",
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the format, as in save(): -O quality=80. May be repeated.",
)
PROGRESS = click.option("--progress/--no-progress", default=None, help="A bar, or none; one in terminals unless given.")
CACHE = click.option("--cache", metavar="SIZE", help='Keep results in memory while the command runs: "256MiB".')
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
STEPS = click.argument("steps")
SOURCE = click.argument("source")


def opening_options(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords of ``open``, taken out of a command's."""
    return {name: options.pop(name) for name in ("page", "orient", "on_error")}


def pipeline_from(steps: str) -> Pipeline:
    from imgrs.expression import pipeline_of

    if steps.lower().endswith(".json") or os.path.isfile(steps):
        raise CalledWrongly(f"{steps!r} is a file, and no verbs; imgrs run takes recipes")
    with asked():
        return pipeline_of(steps)


def engine_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of the engine, checked before anything is opened."""
    from imgrs import config

    given = {name: value for name, value in options.items() if value is not None}
    with asked():
        config.settings(**{name: value for name, value in given.items() if name in config.NAMES})
    return given


def sink_options(options: Mapping[str, Any], sink: str | None) -> dict[str, Any]:
    """Keywords of a method that takes ``sink``."""
    if options["options"] and sink is None:
        raise CalledWrongly("-O needs --sink, such as --sink tiff")
    given = save_options(options)
    if sink is not None:
        _check_options(format_of(None, sink), values_of("-O", options["options"]))
    return given


def save_options(options: Mapping[str, Any], target: str | None = None) -> dict[str, Any]:
    """Keywords of ``save``: those of the engine, and those that were given as ``NAME=VALUE``."""
    options = dict(options)
    values = values_of("-O", options.pop("options"))
    given = {**engine_options({**options, **values}), **values}  # None, too
    if target is not None or given.get("format") is not None:
        _check_options(format_of(target, given.get("format")), values)
    return given


def of_format(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those keywords that are for a format: neither the engine's, nor a command's own."""
    from imgrs import config

    own = {*config.NAMES, "orient", "on_error", "resume"}
    return {name: value for name, value in keywords.items() if name not in own}


def _check_options(format: Format, values: Mapping[str, Any]) -> None:
    from imgrs.io.options import check_options

    given = {name: value for name, value in of_format(values).items() if name not in ("format", "metadata", "recipe")}
    with asked():
        check_options(format.name, given, format.options)
        format.check({name: value for name, value in given.items() if value is not None})


def format_of(target: str | None, format: str | None) -> Format:
    from imgrs.io import format_for

    if target == PIPE and format is None:
        raise CalledWrongly("saving to the standard output needs --format, such as --format png")
    try:
        return format_for(None if target == PIPE else target, format)
    except ArgumentError as error:
        raise CalledWrongly(str(error).replace("give format=", "give --format")) from error


def values_of(option: str, texts: tuple[str, ...]) -> dict[str, Any]:
    """Of each ``NAME=VALUE`` what the value means in Python, or else its text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"{option} needs NAME=VALUE, got {text!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            found[name] = value
    return found
