"""Verbs as text: ``"resize(800, 600).sharpen(1.1)"`` is a pipeline. The text is read, never run.

It is a chain of calls of verbs, with numbers, text, tuples, lists, True, False and None as arguments.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import io
import tokenize
from collections.abc import Callable, Mapping
from typing import Any

from imgrs.errors import ArgumentError, ArgumentTypeError, LimitError
from imgrs.pipelines import VERBS, Pipeline, pipeline

LONGEST = 100_000
"""Characters of a text."""
MOST_VERBS = 500
"""Verbs of a chain; Python's parser takes about 1,000."""
MOST_DIGITS = 100
"""Digits of a number."""
_PAIRED = ("size", "box", "width")
"""Names of first parameters that are several numbers, which may stand without parentheses of their own."""


def pipeline_of(text: str) -> Pipeline:
    """The pipeline that a chain of verbs describes, on one line or several; an empty text is one that changes nothing.

    ``resize(800, 600)`` may stand for ``resize((800, 600))``, and so for every verb whose first parameter is a size, a box
    or widths. Raises ``ArgumentError`` for anything but calls of verbs, and what the verbs raise, and ``LimitError`` for
    more than 100,000 characters, 500 verbs, or 100 digits of a number, and for what is nested too deeply.

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
    joined = "".join(map(str.strip, text.splitlines()))
    _check_tokens(joined)
    try:
        node: ast.expr = ast.parse(joined, mode="eval").body
    except SyntaxError as error:
        where = f" at {_place(text, error.offset)}" if error.offset else ""
        raise ArgumentError(f"expression: {_shown(text)} is not a chain of verbs: {error.msg}{where}") from None
    except (RecursionError, MemoryError):  # the latter is how the parser says it
        raise LimitError(f"expression: {_shown(text)} is nested too deeply") from None
    calls = []
    while True:
        if not isinstance(node, ast.Call):
            raise ArgumentError(f"expression: {_shown(text)} must be calls of verbs, such as resize(800, 600).blur(2)")
        function = node.func
        if not isinstance(function, (ast.Name, ast.Attribute)):
            raise ArgumentError(f"expression: {_shown(text)} must be calls of verbs, such as resize(800, 600).blur(2)")
        name = function.id if isinstance(function, ast.Name) else function.attr
        if name not in VERBS:
            raise ArgumentError(f"expression: {name!r} is not a verb; {_likely(name)}")
        calls.append((name, [_value(arg, name) for arg in node.args], _named(node.keywords, name)))
        if isinstance(function, ast.Name):
            return calls[::-1]
        node = function.value


def _check_tokens(text: str) -> None:
    """Refuse what the parser would stumble over, in words of our own."""
    if "\0" in text:
        raise ArgumentError(f"expression: {_shown(text)} is not a chain of verbs: it holds a null character")
    verbs, before = 0, tokenize.OP
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NUMBER and len(token.string) > MOST_DIGITS:
                raise LimitError(f"expression: a number has {len(token.string):,} digits, more than {MOST_DIGITS}")
            verbs += token.string == "(" and before == tokenize.NAME
            before = token.type
    except (tokenize.TokenError, SyntaxError):
        return  # the parser says it better
    if verbs > MOST_VERBS:
        raise LimitError(f"expression: {verbs:,} verbs are more than {MOST_VERBS}; write a recipe instead")


def _place(text: str, offset: int) -> str:
    """Where in ``text`` the character is that is ``offset`` (from 1) in its joined lines."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        inner = line.strip()
        if offset <= len(inner) or number == len(lines):
            column = offset + len(line) - len(line.lstrip())
            return f"column {column}" if len(lines) == 1 else f"line {number}, column {column}"
        offset -= len(inner)
    raise AssertionError(text)


def _likely(name: str) -> str:
    """The verb that may have been meant, or where all verbs are told."""
    close = difflib.get_close_matches(name[:100], VERBS, n=1)
    return (
        f"did you mean {close[0]!r}?" if close else "verbs are the methods of imgrs.Pipeline, such as resize and blur"
    )


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
        raise ArgumentTypeError(f"expression: the arguments of {verb} {told}, got {_written(node)}") from None


def _grouped(verb: Callable[..., Any], args: list[Any]) -> list[Any]:
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(verb).parameters
    first = next(iter(parameters), "")
    numbers = 0
    while numbers < len(args) and isinstance(args[numbers], (int, float)) and not isinstance(args[numbers], bool):
        numbers += 1
    return [tuple(args[:numbers]), *args[numbers:]] if first in _PAIRED and numbers > 1 else args


def _written(node: ast.expr) -> str:
    try:
        return _shown(ast.unparse(node))
    except RecursionError:
        return "what is nested too deeply"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
