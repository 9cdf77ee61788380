"""The command line: ``imgrs info``, ``convert``, ``apply``, ``run``, ``batch``, ``explain``, ``estimate``, ``profile``, ...

A thin layer: each command parses its arguments, calls the function of that name, and prints what it returns. Results go to
the standard output, everything else to the standard error, warnings and errors in one line each. Exit codes: 0 done,
1 failed, 2 called wrongly, which is found before an image is opened, 130 interrupted.
"""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

import click

from imgrs.errors import ArgumentError, ImgrsError, LimitError, UnsupportedFormatError

if TYPE_CHECKING:
    from imgrs.image import Image
    from imgrs.io.format import Format
    from imgrs.pipelines import Pipeline

FAILED, CALLED_WRONGLY, INTERRUPTED = 1, 2, 130
PIPE = "-"
STATUS = "The exit status is 1 where a file failed, and 2 where an argument is wrong."


class CalledWrongly(click.ClickException):
    """An argument is wrong: one line, as for other errors."""

    exit_code = CALLED_WRONGLY

    def show(self, file: IO[Any] | None = None) -> None:
        _complain(self)


@contextmanager
def _asked() -> Iterator[None]:
    """Inside, arguments are checked, and nothing is opened."""
    try:
        yield
    except (ArgumentError, LimitError) as error:
        raise CalledWrongly(str(error)) from error


@contextmanager
def _one_line() -> Iterator[None]:
    """Inside, what click finds wrong with a call is one line, too, which says where help is."""
    try:
        yield
    except click.UsageError as error:
        if type(error).show is not click.UsageError.show:  # that is the help itself, where no command was given
            raise
        told = error.format_message().removesuffix(".")
        command = error.ctx.command_path if error.ctx else "imgrs"
        raise CalledWrongly(f"{told[:1].lower()}{told[1:]}; see {command} --help") from error


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Inside, warnings are one line, as errors are, and do not say where in the program they came from."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        _complain(message)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _complain(error: object) -> None:
    click.echo(f"imgrs: {' '.join(str(error).split())}", err=True)


class Commands(click.Group):
    """The commands, whose errors are one line unless ``--traceback`` asks for more."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _one_line(), nullcontext() if ctx.params.get("traceback") else _short_warnings():
                return super().invoke(ctx)
        except CalledWrongly as error:
            if ctx.params.get("traceback") and error.__cause__ is not None:
                raise error.__cause__ from None
            raise
        except (ImgrsError, OSError) as error:
            if ctx.params.get("traceback"):
                raise
            if isinstance(error.__cause__, BrokenPipeError):
                raise error.__cause__ from None  # with which click ends quietly: whoever read has had enough
            if isinstance(error, BrokenPipeError):
                raise
            _complain(error)
            ctx.exit(FAILED)
        except KeyboardInterrupt as interrupt:
            if ctx.params.get("traceback"):
                raise
            click.echo(": ".join(["imgrs: interrupted", *map(str, interrupt.args)]), err=True)
            ctx.exit(INTERRUPTED)


@click.group("imgrs", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="imgrs-lazy")
@click.option("--traceback", is_flag=True, help="Show where in the program an error came from.")
def main(traceback: bool) -> None:
    """Images as lazy dataflow graphs, run in tiles through Dask."""


def _sides(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        width, height = map(int, value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not two whole numbers, such as 1024,512") from None
    return width, height


def _engine(command: Callable[..., Any]) -> Callable[..., Any]:
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


_page = click.option(
    "--page", type=click.IntRange(0), default=0, show_default=True, help="Which image of the file, from 0."
)
_orient = click.option("--orient", is_flag=True, help="Set photographs upright first, as their EXIF says.")


def _opening(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of ``open``, for commands that read the pixels of one file."""
    on_error = click.option(
        "--on-error",
        type=click.Choice(["raise", "fill"]),
        default="raise",
        show_default=True,
        help="Fail where a file is damaged, or read it as far as it goes, with 0 there.",
    )
    return _page(_orient(on_error(command)))


def _many(command: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments and options of commands that make many images."""
    for option in (
        click.argument("sources", nargs=-1, required=True),
        click.option("-o", "--out", required=True, help="Names of the results: 'out/{stem}_web.{ext}'."),
        click.option("--resume", is_flag=True, help="Make only what an earlier run with the same arguments left undone."),
        click.option(
            "--on-error", type=click.Choice(["collect", "raise"]), default="collect", show_default=True,
            help="Go on when a file fails, or stop.",
        ),
        _orient,
    ):  # fmt: skip
        command = option(command)
    return command


def _saving(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of formats, for commands that save."""
    return click.option("--format", help="The output's format, where its name does not say so.")(
        _format_options(command)
    )


_format_options = click.option(
    "-O",
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the format, as in save(): -O quality=80. May be repeated.",
)
_progress = click.option(
    "--progress/--no-progress", default=None, help="A bar, or none; one in terminals unless given."
)
_cache = click.option("--cache", metavar="SIZE", help='Keep results in memory while the command runs: "256MiB".')
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_steps = click.argument("steps")
_source = click.argument("source")


@main.command()
@click.argument("sources", nargs=-1, required=True)
@_page
@_orient
@_json
def info(sources: tuple[str, ...], page: int, orient: bool, as_json: bool) -> None:
    """Tell what images are, from their headers alone."""
    rows: list[dict[str, Any]] = []
    for source in sources:
        try:
            rows.append(_facts(source, page=page, orient=orient))
        except (ImgrsError, OSError) as error:
            if _wants_traceback():
                raise
            rows.append({"source": source, "error": str(error)})
            if not as_json:
                _complain(error)
            continue
        if not as_json:
            click.echo(_described(rows[-1]))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    if any("error" in row for row in rows):
        sys.exit(FAILED)


@main.command()
@_source
@click.argument("target")
@_opening
@_saving
@_engine
@_progress
def convert(source: str, target: str, **options: Any) -> None:
    """Save an image in another format.

    The format is that of TARGET's name; "-" stands for the standard input and output.
    """
    opening = _opening_options(options)
    keywords = _save_options(options, target)
    _opened(source, opening).save(target, **keywords)


@main.command()
@_steps
@_source
@click.argument("target")
@_opening
@_saving
@_engine
@_progress
def apply(steps: str, source: str, target: str, **options: Any) -> None:
    """Put an image through steps and save it.

    STEPS are verbs, such as 'resize(800,600).sharpen(1.1)'; "-" stands for the standard input and output.
    """
    opening = _opening_options(options)
    pipeline, keywords = _pipeline(steps), _save_options(options, target)
    pipeline.save(_opened(source, opening), target, **keywords)


@main.command(epilog=STATUS)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@_many
@click.option("--edited", is_flag=True, help="Take a recipe that was edited by hand since it was written.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another parameter of a step: --param sharpen_1__strength=2. May be repeated.",
)
@_json
@_saving
@_engine
@_progress
@_cache
def run(
    recipe: str,
    sources: tuple[str, ...],
    out: str,
    edited: bool,
    params: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Put many images through a recipe.

    RECIPE is a JSON file that to_json() made, or an image that was saved with its recipe; "-" stands for the standard input.
    SOURCES are files, folders and patterns.

    In --out, {stem}, {ext}, {name}, {parent} and {index} stand for parts of the source's name.
    """
    from imgrs.pipelines import Pipeline

    found = sys.stdin.buffer.read() if recipe == PIPE else recipe
    try:
        with _asked():
            pipeline = Pipeline.from_file(found, edited=edited).with_params(**_values("--param", params))
    except UnsupportedFormatError as error:
        raise CalledWrongly(f"{recipe!r} is neither JSON nor an image with a recipe") from error
    _batch("run", pipeline, sources, out, as_json, options)


@main.command(epilog=STATUS)
@_steps
@_many
@_json
@_saving
@_engine
@_progress
@_cache
def batch(steps: str, sources: tuple[str, ...], out: str, as_json: bool, **options: Any) -> None:
    """Put many images through steps.

    STEPS are verbs, such as 'resize(800,600)'; SOURCES are files, folders and patterns.

    In --out, {stem}, {ext}, {name}, {parent} and {index} stand for parts of the source's name.
    """
    _batch("batch", _pipeline(steps), sources, out, as_json, options)


@main.command()
@_steps
@_source
@_opening
@click.option("--sink", metavar="FORMAT", help="Explain saving in a format, and not an array.")
@_format_options
@_json
@_engine
def explain(steps: str, source: str, sink: str | None, as_json: bool, **options: Any) -> None:
    """Tell what will be done, without doing it."""
    opening = _opening_options(options)
    pipeline, keywords = _pipeline(steps), _sink_options(options, sink)
    click.echo(pipeline(_opened(source, opening)).explain(sink, as_json=as_json, **keywords))


@main.command()
@_steps
@_source
@_opening
@click.option("--sink", metavar="FORMAT", help="Estimate saving in a format, and not an array.")
@_format_options
@_json
@_engine
def estimate(steps: str, source: str, sink: str | None, as_json: bool, **options: Any) -> None:
    """Forecast memory, reads and time."""
    import imgrs

    opening = _opening_options(options)
    pipeline, keywords = _pipeline(steps), _sink_options(options, sink)
    found = dataclasses.asdict(imgrs.estimate(pipeline(_opened(source, opening)), sink=sink, **keywords))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, value in found.items():
        click.echo(f"{name:<{width}}  {value:,.3g}" if isinstance(value, float) else f"{name:<{width}}  {value:,}")


@main.command()
@_steps
@_source
@_opening
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="How often, after a first time.")
@_json
@_engine
@_progress
@_cache
def bench(steps: str, source: str, runs: int, as_json: bool, **options: Any) -> None:
    """Compute several times and tell how long it took."""
    import imgrs

    opening = _opening_options(options)
    pipeline, keywords = _pipeline(steps), _engine_options(options)
    made = imgrs.benchmark(pipeline(_opened(source, opening)), runs, **keywords)
    click.echo(json.dumps(made.as_dict(), indent=2) if as_json else str(made))


@main.command()
@_steps
@_source
@_opening
@click.option("--sink", metavar="FORMAT", help="Measure saving in a format, to a temporary file, and not an array.")
@_format_options
@click.option("--heat-map", metavar="FILE", help="Save where the time went as an image, a box for each tile.")
@_json
@_engine
@_progress
def profile(steps: str, source: str, sink: str | None, heat_map: str | None, as_json: bool, **options: Any) -> None:
    """Compute, and tell what each step took."""
    opening = _opening_options(options)
    pipeline, keywords = _pipeline(steps), _sink_options(options, sink)
    if heat_map is not None:
        _check_format(heat_map, None)
    made = pipeline(_opened(source, opening)).profile(sink, **keywords)
    click.echo(json.dumps(made.as_dict(), indent=2) if as_json else str(made))
    if heat_map is not None:
        made.heat_map().save(heat_map, progress=False)


@main.command()
@click.option("--side", default=10_000, show_default=True, type=click.IntRange(256), help="Pixels a side of the image.")
@click.option("--folder", default="imgrs-demo", show_default=True, type=click.Path(path_type=Path), help="For results.")
def demo(side: int, folder: Path) -> None:
    """Grade and shrink a large photograph.

    It is made here, and what was done, and how fast, is told.
    """
    from imgrs.demo import run

    run(side, folder)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for completion in a shell.

    Use it as eval "$(imgrs completion bash)".
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None  # click has these three
    click.echo(made(main, {}, "imgrs", "_IMGRS_COMPLETE").source())


def _opened(source: str, opening: Mapping[str, Any]) -> Image:
    import imgrs

    return imgrs.open(_StandardInput(sys.stdin.buffer.read()) if source == PIPE else source, **opening)


class _StandardInput(io.BytesIO):
    """What was read there, under the name that errors have for it."""

    name = "the standard input"


def _opening_options(options: dict[str, Any]) -> dict[str, Any]:
    """Keywords of ``open``, taken out of a command's."""
    return {name: options.pop(name) for name in ("page", "orient", "on_error")}


def _pipeline(steps: str) -> Pipeline:
    from imgrs.expression import pipeline_of

    if steps.lower().endswith(".json") or os.path.isfile(steps):
        raise CalledWrongly(f"{steps!r} is a file, and no verbs; imgrs run takes recipes")
    with _asked():
        return pipeline_of(steps)


def _facts(source: str, **opening: Any) -> dict[str, Any]:
    image = _opened(source, opening)
    return {
        "source": source,
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "mode": image.mode,
        "bands": image.bands,
        "dtype": str(image.dtype),
        "frames": image.n_frames,
        "metadata": image.metadata,
    }


def _described(facts: Mapping[str, Any]) -> str:
    frames = f", {facts['frames']} frames" if facts["frames"] > 1 else ""
    what = f"{facts['width']}x{facts['height']} {facts['mode']} {facts['dtype']}"
    return f"{facts['source']}: {facts['format']} {what}{frames}"


def _batch(
    command: str, pipeline: Pipeline, sources: tuple[str, ...], out: str, as_json: bool, options: Mapping[str, Any]
) -> None:
    import imgrs
    from imgrs.batches.batch import checked_targets
    from imgrs.batches.sources import found, template_of

    if PIPE in sources:
        raise CalledWrongly(f"{command}: '-' is no source of many images; imgrs apply reads the standard input")
    with _asked():
        template = template_of(out)
    keywords = _save_options(options)
    names = found(sources)
    with _asked():
        checked_targets(names, template, _of_format(keywords))
    report = imgrs.batch(names, pipeline, out, **keywords)
    click.echo(report.to_json() if as_json else str(report))
    if report.failed:
        sys.exit(FAILED)


def _wants_traceback() -> bool:
    return bool(click.get_current_context().find_root().params.get("traceback"))


def _engine_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of the engine, checked before anything is opened."""
    from imgrs import config

    given = {name: value for name, value in options.items() if value is not None}
    with _asked():
        config.settings(**{name: value for name, value in given.items() if name in config.NAMES})
    return given


def _sink_options(options: Mapping[str, Any], sink: str | None) -> dict[str, Any]:
    """Keywords of a method that takes ``sink``."""
    if options["options"] and sink is None:
        raise CalledWrongly("-O needs --sink, such as --sink tiff")
    given = _save_options(options)
    if sink is not None:
        _check_options(_check_format(None, sink), _values("-O", options["options"]))
    return given


def _save_options(options: Mapping[str, Any], target: str | None = None) -> dict[str, Any]:
    """Keywords of ``save``: those of the engine, and those that were given as ``NAME=VALUE``."""
    options = dict(options)
    values = _values("-O", options.pop("options"))
    given = {**_engine_options({**options, **values}), **values}  # None, too
    if target is not None or given.get("format") is not None:
        _check_options(_check_format(target, given.get("format")), values)
    return given


def _of_format(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those keywords that are for a format: neither the engine's, nor a command's own."""
    from imgrs import config

    own = {*config.NAMES, "orient", "on_error", "resume"}
    return {name: value for name, value in keywords.items() if name not in own}


def _check_options(format: Format, values: Mapping[str, Any]) -> None:
    from imgrs.io.options import check_allowed, check_options

    given = {name: value for name, value in _of_format(values).items() if name not in ("metadata", "recipe")}
    with _asked():
        check_options(format.name, given, format.options)
        for name, value in given.items():
            allowed = format.options[name]
            if isinstance(allowed, tuple) and value is not None:
                check_allowed(format.name, name, value, allowed)


def _check_format(target: str | None, format: str | None) -> Format:
    from imgrs.io import format_for

    if target == PIPE and format is None:
        raise CalledWrongly("saving to the standard output needs --format, such as --format png")
    try:
        return format_for(None if target == PIPE else target, format)
    except ArgumentError as error:
        raise CalledWrongly(str(error).replace("give format=", "give --format")) from error


def _values(option: str, texts: tuple[str, ...]) -> dict[str, Any]:
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


if __name__ == "__main__":
    main()
