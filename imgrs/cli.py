"""The command line: ``imgrs info``, ``convert``, ``apply``, ``run``, ``batch``, ``explain``, ``estimate``, ``bench``, ``demo``.

A thin layer: each command parses its arguments, calls the function of that name, and prints what it returns. Results go to
the standard output, everything else to the standard error. Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgrs.errors import ImgrsError

if TYPE_CHECKING:
    from imgrs.image import Image
    from imgrs.pipelines import Pipeline

FAILED, INTERRUPTED = 1, 130
PIPE = "-"


class Commands(click.Group):
    """The commands, whose errors are one line unless ``--traceback`` asks for more."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ImgrsError, OSError) as error:
            if ctx.params.get("traceback"):
                raise
            click.echo(f"imgrs: {' '.join(str(error).split())}", err=True)
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            if ctx.params.get("traceback"):
                raise
            click.echo("imgrs: interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="imgrs-lazy")
@click.option("--traceback", is_flag=True, help="Show where in the program an error came from.")
def main(traceback: bool) -> None:
    """Images as lazy dataflow graphs, run in tiles through Dask."""


def _engine(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the engine, for commands that compute."""
    for option in (
        click.option("--workers", type=click.IntRange(1), help="Processors to use; all unless given."),
        click.option("--memory-limit", metavar="SIZE", help='Memory for pixels: "512MiB"; a quarter of what is free.'),
        click.option("--scheduler", type=click.Choice(["threads", "sync", "processes"]), help="Where tasks run."),
        click.option("--optimizer", type=click.Choice(["exact", "fast", "off"]), help="Which rules may rewrite."),
    ):
        command = option(command)
    return command


def _saving(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of formats, for commands that save."""
    for option in (
        click.option("--format", help="The output's format, where its name does not say so."),
        click.option(
            "-O", "--option", "options", multiple=True, metavar="NAME=VALUE",
            help="An option of the format, as in save(): -O quality=80. May be repeated.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_steps = click.argument("steps")
_source = click.argument("source")


@main.command()
@click.argument("sources", nargs=-1, required=True)
@_json
def info(sources: tuple[str, ...], as_json: bool) -> None:
    """Tell what images are, from their headers alone."""
    found = [_facts(source) for source in sources]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for facts in found:
        frames = f", {facts['frames']} frames" if facts["frames"] > 1 else ""
        what = f"{facts['width']}x{facts['height']} {facts['mode']} {facts['dtype']}"
        click.echo(f"{facts['source']}: {facts['format']} {what}{frames}")


@main.command()
@_source
@click.argument("target")
@_saving
@_engine
def convert(source: str, target: str, **options: Any) -> None:
    """Save an image in another format.

    The format is that of TARGET's name; "-" stands for the standard input and output.
    """
    _opened(source).save(target, **_save_options(options))


@main.command()
@_steps
@_source
@click.argument("target")
@_saving
@_engine
def apply(steps: str, source: str, target: str, **options: Any) -> None:
    """Put an image through steps and save it.

    STEPS are verbs, such as 'resize(800,600).sharpen(1.1)'; "-" stands for the standard input and output.
    """
    _pipeline(steps)(_opened(source)).save(target, **_save_options(options))


@main.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("sources", nargs=-1, required=True)
@click.option("-o", "--out", required=True, help="Names of the results: 'out/{stem}.png'.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@_json
@_saving
@_engine
def run(recipe: Path, sources: tuple[str, ...], out: str, resume: bool, as_json: bool, **options: Any) -> None:
    """Put many images through a recipe.

    RECIPE is a JSON file that to_json() made; SOURCES are files, folders and patterns.
    """
    from imgrs.pipelines import Pipeline

    _batch(Pipeline.from_json(recipe.read_text(encoding="utf-8")), sources, out, resume, as_json, options)


@main.command()
@_steps
@click.argument("sources", nargs=-1, required=True)
@click.option("-o", "--out", required=True, help="Names of the results: 'out/{stem}_web.{ext}'.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@_json
@_saving
@_engine
def batch(steps: str, sources: tuple[str, ...], out: str, resume: bool, as_json: bool, **options: Any) -> None:
    """Put many images through steps.

    STEPS are verbs, such as 'resize(800,600)'; SOURCES are files, folders and patterns.

    In --out, {stem}, {ext}, {name}, {parent} and {index} stand for parts of the source's name.
    """
    _batch(_pipeline(steps), sources, out, resume, as_json, options)


@main.command()
@_steps
@_source
@click.option("--sink", metavar="FORMAT", help="Explain saving in a format, and not an array.")
@_engine
def explain(steps: str, source: str, sink: str | None, **options: Any) -> None:
    """Tell what will be done, without doing it."""
    click.echo(_pipeline(steps)(_opened(source)).explain(sink, **_given(options)))


@main.command()
@_steps
@_source
@click.option("--sink", metavar="FORMAT", help="Estimate saving in a format, and not an array.")
@_json
@_engine
def estimate(steps: str, source: str, sink: str | None, as_json: bool, **options: Any) -> None:
    """Forecast memory, reads and time."""
    import imgrs

    found = dataclasses.asdict(imgrs.estimate(_pipeline(steps)(_opened(source)), sink=sink, **_given(options)))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, value in found.items():
        click.echo(f"{name:<{width}}  {value:,.3g}" if isinstance(value, float) else f"{name:<{width}}  {value:,}")


@main.command()
@_steps
@_source
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="How often, after a first time.")
@_json
@_engine
def bench(steps: str, source: str, runs: int, as_json: bool, **options: Any) -> None:
    """Compute several times and tell how long it took."""
    import imgrs

    made = imgrs.benchmark(_pipeline(steps)(_opened(source)), runs, **_given(options))
    click.echo(json.dumps(dataclasses.asdict(made), indent=2) if as_json else str(made))


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


def _opened(source: str) -> Image:
    import imgrs

    return imgrs.open(sys.stdin.buffer.read() if source == PIPE else source)


def _pipeline(steps: str) -> Pipeline:
    from imgrs.expression import pipeline_of

    return pipeline_of(steps)


def _facts(source: str) -> dict[str, Any]:
    image = _opened(source)
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


def _batch(
    pipeline: Pipeline, sources: tuple[str, ...], out: str, resume: bool, as_json: bool, options: Mapping[str, Any]
) -> None:
    import imgrs

    report = imgrs.batch(sources, pipeline, out, resume=resume, **_save_options(options))
    click.echo(report.to_json() if as_json else str(report))
    if report.failed:
        sys.exit(FAILED)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _save_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of ``save``: those of the engine, and of ``NAME=VALUE`` what the value means, or else its text."""
    given = _given(options)
    for text in given.pop("options", ()):
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"-O needs NAME=VALUE, got {text!r}")
        try:
            given[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            given[name] = value
    return given


if __name__ == "__main__":
    main()
