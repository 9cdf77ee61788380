"""Verbs as text: ``"resize(800, 600).sharpen(1.1)"`` is a pipeline. The text is read, never run.

It is a chain of calls of verbs, with numbers, text, tuples, lists, True, False and None as arguments.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from imgrs.errors import ArgumentError, ArgumentTypeError, LimitError
from imgrs.pipelines import VERBS, Pipeline, pipeline

LONGEST = 100_000
"""Characters of a text."""
_PAIRED = ("size", "box", "width")
"""Names of first parameters that are several numbers, which may stand without parentheses of their own."""


def pipeline_of(text: str) -> Pipeline:
    """The pipeline that a chain of verbs describes, on one line or several; an empty text is one that changes nothing.

    ``resize(800, 600)`` may stand for ``resize((800, 600))``, and so for every verb whose first parameter is a size, a box
    or widths. Raises ``ArgumentError`` for anything but calls of verbs, and what the verbs raise, and ``LimitError`` for
    more than 100,000 characters.

    >>> from imgrs.expression import pipeline_of
    >>> import imgrs
    >>> pipeline_of("crop(0, 0, 20, 10).blur(2)") == imgrs.pipeline().crop((0, 0, 20, 10)).blur(2)
    True
    """
    made = pipeline()
    for name, args, kwargs in _calls(text):
        verb: Callable[..., Pipeline] = getattr(made, name)
        made = verb(*_grouped(verb, args), **kwargs)
    return made


def _calls(text: str) -> list[tuple[str, list[Any], dict[str, Any]]]:
    if len(text) > LONGEST:
        raise LimitError(f"expression: {len(text):,} characters are more than {LONGEST:,}; write a recipe instead")
    if not text.strip():
        return []
    try:
        node: ast.expr = ast.parse("".join(map(str.strip, text.splitlines())), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ArgumentError(f"expression: {_shown(text)} is not a chain of verbs: {error}") from None
    calls = []
    while True:
        if not isinstance(node, ast.Call):
            raise ArgumentError(f"expression: {_shown(text)} must be calls of verbs, such as resize(800, 600).blur(2)")
        function = node.func
        if not isinstance(function, (ast.Name, ast.Attribute)):
            raise ArgumentError(f"expression: {_shown(text)} must be calls of verbs, such as resize(800, 600).blur(2)")
        name = function.id if isinstance(function, ast.Name) else function.attr
        if name not in VERBS:
            raise ArgumentError(f"expression: {name!r} is not a verb; the verbs are {', '.join(sorted(VERBS))}")
        calls.append((name, [_value(arg, name) for arg in node.args], _named(node.keywords, name)))
        if isinstance(function, ast.Name):
            return calls[::-1]
        node = function.value


def _named(keywords: list[ast.keyword], verb: str) -> dict[str, Any]:
    found = {}
    for keyword in keywords:
        if keyword.arg is None:
            raise ArgumentError(f"expression: {verb} takes no ** arguments here")
        found[keyword.arg] = _value(keyword.value, verb)
    return found


def _value(node: ast.expr, verb: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        told = "must be numbers, text, tuples, lists, True, False or None"
        raise ArgumentTypeError(
            f"expression: the arguments of {verb} {told}, got {_shown(ast.unparse(node))}"
        ) from None


def _grouped(verb: Callable[..., Any], args: list[Any]) -> list[Any]:
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(verb).parameters
    first = next(iter(parameters), "")
    numbers = 0
    while numbers < len(args) and isinstance(args[numbers], (int, float)) and not isinstance(args[numbers], bool):
        numbers += 1
    return [tuple(args[:numbers]), *args[numbers:]] if first in _PAIRED and numbers > 1 else args


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
