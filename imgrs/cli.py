"""The command line: ``imgrs info``, ``convert``, ``apply``, ``run``, ``batch``, ``explain``, ``estimate``, ``profile``, ...

A thin layer: each command parses its arguments, calls the function of that name, and prints what it returns. Results go to
the standard output, everything else to the standard error, warnings and errors in one line each. Exit codes: 0 done,
1 failed, 2 called wrongly, which is found before an image is opened, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgrs.cli_errors import FAILED, CalledWrongly, Commands, asked, complain
from imgrs.cli_options import (
    AS_JSON,
    CACHE,
    FORMAT_OPTIONS,
    ORIENT,
    PAGE,
    PIPE,
    PROGRESS,
    SOURCE,
    STEPS,
    engine_options,
    format_of,
    of_format,
    opening_options,
    pipeline_from,
    save_options,
    sink_options,
    values_of,
    with_engine,
    with_many,
    with_opening,
    with_saving,
)
from imgrs.errors import ImgrsError, UnsupportedFormatError

if TYPE_CHECKING:
    from imgrs.image import Image
    from imgrs.pipelines import Pipeline

STATUS = "The exit status is 1 where a file failed, and 2 where an argument is wrong."


@click.group("imgrs", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="imgrs-lazy")
@click.option("--traceback", is_flag=True, help="Show where in the program an error came from.")
def main(traceback: bool) -> None:
    """Images as lazy dataflow graphs, run in tiles through Dask."""


@main.command()
@click.argument("sources", nargs=-1, required=True)
@PAGE
@ORIENT
@AS_JSON
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
                complain(error)
            continue
        if not as_json:
            click.echo(_described(rows[-1]))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    if any("error" in row for row in rows):
        sys.exit(FAILED)


@main.command()
@SOURCE
@click.argument("target")
@with_opening
@with_saving
@with_engine
@PROGRESS
def convert(source: str, target: str, **options: Any) -> None:
    """Save an image in another format.

    The format is that of TARGET's name; "-" stands for the standard input and output.
    """
    opening = opening_options(options)
    keywords = save_options(options, target)
    _opened(source, opening).save(target, **keywords)


@main.command()
@STEPS
@SOURCE
@click.argument("target")
@with_opening
@with_saving
@with_engine
@PROGRESS
def apply(steps: str, source: str, target: str, **options: Any) -> None:
    """Put an image through steps and save it.

    STEPS are verbs, such as 'resize(800,600).sharpen(1.1)'; "-" stands for the standard input and output.
    """
    opening = opening_options(options)
    pipeline, keywords = pipeline_from(steps), save_options(options, target)
    pipeline.save(_opened(source, opening), target, **keywords)


@main.command(epilog=STATUS)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@with_many
@click.option("--edited", is_flag=True, help="Take a recipe that was edited by hand since it was written.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another parameter of a step: --param sharpen_1__strength=2. May be repeated.",
)
@AS_JSON
@with_saving
@with_engine
@PROGRESS
@CACHE
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
        with asked():
            pipeline = Pipeline.from_file(found, edited=edited).with_params(**values_of("--param", params))
    except UnsupportedFormatError as error:
        raise CalledWrongly(f"{recipe!r} is neither JSON nor an image with a recipe") from error
    _batch("run", pipeline, sources, out, as_json, options)


@main.command(epilog=STATUS)
@STEPS
@with_many
@AS_JSON
@with_saving
@with_engine
@PROGRESS
@CACHE
def batch(steps: str, sources: tuple[str, ...], out: str, as_json: bool, **options: Any) -> None:
    """Put many images through steps.

    STEPS are verbs, such as 'resize(800,600)'; SOURCES are files, folders and patterns.

    In --out, {stem}, {ext}, {name}, {parent} and {index} stand for parts of the source's name.
    """
    _batch("batch", pipeline_from(steps), sources, out, as_json, options)


@main.command()
@STEPS
@SOURCE
@with_opening
@click.option("--sink", metavar="FORMAT", help="Explain saving in a format, and not an array.")
@FORMAT_OPTIONS
@AS_JSON
@with_engine
def explain(steps: str, source: str, sink: str | None, as_json: bool, **options: Any) -> None:
    """Tell what will be done, without doing it."""
    opening = opening_options(options)
    pipeline, keywords = pipeline_from(steps), sink_options(options, sink)
    click.echo(pipeline(_opened(source, opening)).explain(sink, as_json=as_json, **keywords))


@main.command()
@STEPS
@SOURCE
@with_opening
@click.option("--sink", metavar="FORMAT", help="Estimate saving in a format, and not an array.")
@FORMAT_OPTIONS
@AS_JSON
@with_engine
def estimate(steps: str, source: str, sink: str | None, as_json: bool, **options: Any) -> None:
    """Forecast memory, reads and time."""
    import imgrs

    opening = opening_options(options)
    pipeline, keywords = pipeline_from(steps), sink_options(options, sink)
    found = dataclasses.asdict(imgrs.estimate(pipeline(_opened(source, opening)), sink=sink, **keywords))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, value in found.items():
        click.echo(f"{name:<{width}}  {value:,.3g}" if isinstance(value, float) else f"{name:<{width}}  {value:,}")


@main.command()
@STEPS
@SOURCE
@with_opening
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="How often, after a first time.")
@AS_JSON
@with_engine
@PROGRESS
@CACHE
def bench(steps: str, source: str, runs: int, as_json: bool, **options: Any) -> None:
    """Compute several times and tell how long it took."""
    import imgrs

    opening = opening_options(options)
    pipeline, keywords = pipeline_from(steps), engine_options(options)
    made = imgrs.benchmark(pipeline(_opened(source, opening)), runs, **keywords)
    click.echo(json.dumps(made.as_dict(), indent=2) if as_json else str(made))


@main.command()
@STEPS
@SOURCE
@with_opening
@click.option("--sink", metavar="FORMAT", help="Measure saving in a format, to a temporary file, and not an array.")
@FORMAT_OPTIONS
@click.option("--heat-map", metavar="FILE", help="Save where the time went as an image, a box for each tile.")
@AS_JSON
@with_engine
@PROGRESS
def profile(steps: str, source: str, sink: str | None, heat_map: str | None, as_json: bool, **options: Any) -> None:
    """Compute, and tell what each step took."""
    opening = opening_options(options)
    pipeline, keywords = pipeline_from(steps), sink_options(options, sink)
    if heat_map is not None:
        format_of(heat_map, None)
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
    with asked():
        template = template_of(out)
    keywords = save_options(options)
    names = found(sources)
    with asked():
        checked_targets(names, template, of_format(keywords))
    report = imgrs.batch(names, pipeline, out, **keywords)
    click.echo(report.to_json() if as_json else str(report))
    if report.failed:
        sys.exit(FAILED)


def _wants_traceback() -> bool:
    return bool(click.get_current_context().find_root().params.get("traceback"))


if __name__ == "__main__":
    main()
