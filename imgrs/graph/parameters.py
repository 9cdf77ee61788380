"""The parameters of an operation: each declares its range once, and is checked and normalized where the op is made.

``number``, ``whole``, ``flag``, ``choice`` and ``checked`` are dataclass field specifiers. After construction a parameter
holds its canonical form (``20`` is ``20.0``, ``"LANCZOS"`` and ``1`` are ``"lanczos"``), so equal meanings are equal values.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from imgrs.errors import ArgumentError, ArgumentTypeError

Check = Callable[[Any], Any]  # takes whatever the user gave; returns the canonical value or raises


def number(
    low: float = -math.inf, high: float = math.inf, *, default: Any = MISSING, example: float | None = None
) -> Any:
    """A finite real number from ``low`` to ``high``, kept as a float."""

    def check(value: Any) -> float:
        if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
            raise TypeError(f"must be a number{_range(low, high)}")
        result = float(value)
        if not math.isfinite(result) or not low <= result <= high:
            raise ValueError(f"must be a finite number{_range(low, high)}")
        return result + 0.0  # -0.0 becomes 0.0

    return checked(check, default=default, example=example)


def whole(low: int, high: int, *, default: Any = MISSING, example: int | None = None) -> Any:
    """An integer from ``low`` to ``high``; a float that is whole is taken too."""

    def check(value: Any) -> int:
        if isinstance(value, bool):
            raise TypeError(f"must be a whole number{_range(low, high)}")
        try:
            result = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
        except TypeError:
            raise TypeError(f"must be a whole number{_range(low, high)}") from None
        if not low <= result <= high:
            raise ValueError(f"must be a whole number{_range(low, high)}")
        return result

    return checked(check, default=default, example=example)


def flag(*, default: bool) -> Any:
    """True or false."""

    def check(value: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise TypeError("must be True or False")

    return checked(check, default=default)


def choice(names: Mapping[Any, str], *, default: Any = MISSING, example: str | None = None) -> Any:
    """One of some names; ``names`` maps every accepted spelling (lower case, or an integer of Pillow's) to its name."""
    allowed = ", ".join(dict.fromkeys(names.values()))

    def check(value: Any) -> str:
        spelling = value.lower() if isinstance(value, str) else value
        if not isinstance(spelling, (str, int)) or isinstance(spelling, bool):
            raise TypeError(f"must be one of {allowed}")
        if spelling not in names:
            raise ValueError(f"must be one of {allowed}")
        return names[spelling]

    return checked(check, default=default, example=example)


def checked(check: Check, *, default: Any = MISSING, example: Any = None) -> Any:
    """A parameter with a check of its own: returns the canonical value, or raises ``ValueError``/``TypeError``.

    The error's text continues "<op>: <parameter> ", as in "must be a size of at least 1 x 1".
    ``example`` is a valid value for parameters without a default; tests make every op from its examples.
    """
    metadata = {"check": check, "example": default if example is None and default is not MISSING else example}
    return dataclasses.field(default=default, metadata=metadata)


def checked_by(parameter: Any, value: Any) -> Any:
    """The canonical form of a value by the check of another parameter, for checks that are made of checks."""
    return parameter.metadata["check"](value)


def _range(low: float, high: float) -> str:
    if low > -math.inf and high < math.inf:
        return f" from {low:g} to {high:g}"
    if low > -math.inf:
        return f" of at least {low:g}"
    return f" of at most {high:g}" if high < math.inf else ""


def normalize(name: str, instance: Any) -> None:
    """Replace each declared parameter of a new dataclass by its canonical value. Errors name ``name`` and it."""
    for parameter, check in _checks(type(instance)):
        value = getattr(instance, parameter)
        try:
            canonical = check(value)
        except (TypeError, ValueError, OverflowError) as error:
            kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentError
            raise kind(f"{name}: {parameter} {error}, got {_short(value)}") from None
        if canonical is not value:
            object.__setattr__(instance, parameter, canonical)


def _checks(cls: type[Any]) -> tuple[tuple[str, Check], ...]:
    known: tuple[tuple[str, Check], ...] | None = cls.__dict__.get("_parameter_checks")
    if known is None:
        fields = dataclasses.fields(cls)
        known = tuple((f.name, f.metadata["check"]) for f in fields if "check" in f.metadata)
        cls._parameter_checks = known
    return known


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
