"""How the command line tells what is wrong: errors and warnings in one line each, and an exit status."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, Any, TextIO

import click

from imgrs.errors import ArgumentError, ImgrsError, LimitError

FAILED, CALLED_WRONGLY, INTERRUPTED = 1, 2, 130


class CalledWrongly(click.ClickException):
    """An argument is wrong: one line, as for other errors."""

    exit_code = CALLED_WRONGLY

    def show(self, file: IO[Any] | None = None) -> None:
        complain(self)


@contextmanager
def asked() -> Iterator[None]:
    """Inside, arguments are checked, and nothing is opened."""
    try:
        yield
    except (ArgumentError, LimitError) as error:
        raise CalledWrongly(str(error)) from error


@contextmanager
def one_line() -> Iterator[None]:
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
def short_warnings() -> Iterator[None]:
    """Inside, warnings are one line, as errors are, and do not say where in the program they came from."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        complain(message)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def complain(error: object) -> None:
    click.echo(f"imgrs: {' '.join(str(error).split())}", err=True)


class Commands(click.Group):
    """The commands, whose errors are one line unless ``--traceback`` asks for more."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with one_line(), nullcontext() if ctx.params.get("traceback") else short_warnings():
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
            complain(error)
            ctx.exit(FAILED)
        except KeyboardInterrupt as interrupt:
            if ctx.params.get("traceback"):
                raise
            click.echo(": ".join(["imgrs: interrupted", *map(str, interrupt.args)]), err=True)
            ctx.exit(INTERRUPTED)
