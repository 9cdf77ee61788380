"""``verb``: methods of ``Image`` that are one op each, declared in a line."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from imgrs.errors import ArgumentError, ArgumentTypeError, ImgrsError
from imgrs.graph.op import Op

if TYPE_CHECKING:
    from imgrs.image import Image

P = ParamSpec("P")
T = TypeVar("T")


class verb(Generic[P]):  # noqa: N801  # read as a declaration: brightness = verb(Brightness)
    """A method that applies one op: its signature, defaults and documentation are the op's."""

    def __init__(self, op: Callable[P, Op]) -> None:
        self.op = op
        self.__doc__ = op.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        op = self.op

        def call(self: Image, /, *args: P.args, **kwargs: P.kwargs) -> Image:
            return self.apply(made(op, name, args, kwargs))

        call.__name__, call.__qualname__, call.__doc__ = name, f"{owner.__name__}.{name}", self.__doc__
        names = vars(sys.modules[self.op.__module__])  # in which short names of types, such as Box, have their meaning
        parameters = [
            parameter.replace(annotation=names.get(parameter.annotation, parameter.annotation))
            for parameter in inspect.signature(self.op).parameters.values()
        ]
        image = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        shown = inspect.Signature([image, *parameters], return_annotation="Image")
        call.__signature__ = shown  # type: ignore[attr-defined]  # where inspect and help() look for it
        self._call = call

    @overload
    def __get__(self, image: None, owner: type[Image]) -> Callable[Concatenate[Image, P], Image]: ...
    @overload
    def __get__(self, image: Image, owner: type[Image]) -> Callable[P, Image]: ...
    def __get__(self, image: Image | None, owner: type[Image]) -> Any:
        return self._call if image is None else self._call.__get__(image)


def made(op: Callable[..., T], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """An op of arguments, whose errors of type speak of the method ``name``."""
    try:
        return op(*args, **kwargs)
    except ArgumentError as error:
        hint = _as_one(op, name, args, kwargs)
        if hint:
            raise type(error)(f"{error}; {hint}") from error.__cause__
        raise
    except TypeError as error:
        told = str(error).rpartition("__init__() ")[2]
        if "unexpected keyword" in told:
            told += f"; it takes {', '.join(inspect.signature(op).parameters) or 'none'}"
        elif hint := _as_one(op, name, args, kwargs):
            told += f"; {hint}"
        raise ArgumentTypeError(f"{name}: {told}") from None


def _as_one(op: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What to write where several arguments were meant to be one: a box, a size, the rows of a matrix."""
    if len(args) < 2:
        return ""
    try:
        op(tuple(args), **kwargs)
    except (ImgrsError, TypeError, ValueError):
        return ""
    named = "".join(f", {key}={value!r}" for key, value in kwargs.items())
    return f"write {name}({tuple(args)!r}{named})"
