"""Recipes as JSON: written the same for equal pipelines, and read as what anybody may have written.

Operations are those of ``imgrs.ops`` whose parameters are numbers, text and tuples of them, found by their classes; what
a text says is looked up there and nowhere else, and the ops check their parameters. Version 1 is::

    {"schema": "imgrs-recipe", "version": 1, "digest": ..., "inputs": ["input"], "output": "sharpen_1",
     "steps": [{"name": "sharpen_1", "op": "sharpen", "inputs": ["input"], "params": {"strength": 1.1}}]}

A step comes after those that it needs. ``"version"`` in a step is that of its operation where it is not 1;
bytes are ``{"hex": "00ff"}``. What is not part of the recipe, and not in its digest: ``"sources"`` says what an image was
made from, ``"saved_with"`` which options its file was saved with.
"""

from __future__ import annotations

import codecs
import dataclasses
import functools
import hashlib
import importlib
import json
import math
import pkgutil
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from imgrs.errors import ArgumentError, ArgumentTypeError, LimitError
from imgrs.graph.op import Op
from imgrs.graph.op import Source as SourceOp
from imgrs.ops.verbs import Verb

SCHEMA, VERSION = "imgrs-recipe", 1
DEEPEST = 4
"""Lists within lists that a parameter may have."""
NEWER = "a newer imgrs may read it"
HEAD = 64
"""Bytes of a file that tell whether it is JSON."""
_LARGEST = 1 << 63
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}", re.ASCII)


class Row(NamedTuple):
    """A step: its name, what it does (None is a hole, where an image goes), and the names of its inputs."""

    name: str
    action: Op | Verb | None
    inputs: tuple[str, ...]


class RecipeSource(NamedTuple):
    """What filled a hole: the name of a file without its folder (None if it was none), its size, and which page."""

    name: str | None
    size: tuple[int, int]
    page: int = 0


Option: TypeAlias = "bool | float | str | tuple[bool | float | str | None, ...] | None"


class About(NamedTuple):
    """What a recipe says of the image that it comes from."""

    sources: Mapping[str, RecipeSource] = MappingProxyType({})
    """What filled its holes, by hole."""
    saved_with: Mapping[str, Option] = MappingProxyType({})
    """The options of its save."""


# Operations


@functools.cache
def operations() -> Mapping[str, tuple[type[Op | Verb], ...]]:
    """What a recipe may name: where one name has two, the first is told from the second by inputs and parameters."""
    import imgrs.ops

    for module in pkgutil.iter_modules(imgrs.ops.__path__, "imgrs.ops."):
        importlib.import_module(module.name)
    found: dict[str, tuple[type[Op | Verb], ...]] = {}
    waiting: list[type[Any]] = [Verb, Op]
    classes: list[type[Any]] = []
    while waiting:
        cls = waiting.pop(0)
        classes.append(cls)
        waiting += cls.__subclasses__()
    for cls in sorted(classes, key=lambda cls: (not issubclass(cls, Verb), cls.__module__, cls.__name__)):
        if _is_value(cls):
            found[cls.name] = (*found.get(cls.name, ()), cls)
    return found


def _is_value(cls: type[Any]) -> bool:
    """Whether a class is a concrete operation of this package, made of numbers and text."""
    if "__dataclass_fields__" not in cls.__dict__ or cls.__name__.startswith("_") or issubclass(cls, SourceOp):
        return False
    fields = dataclasses.fields(cls)
    return cls.__module__.startswith("imgrs.ops.") and all(
        "check" in field.metadata and not callable(field.metadata["example"]) for field in fields
    )


def parameters_of(action: Any) -> dict[str, Any]:
    """The parameters of an operation by name, in canonical form."""
    return {field.name: getattr(action, field.name) for field in dataclasses.fields(action)}


def counted(arity: tuple[int, int]) -> str:
    """How many inputs an operation has, in words."""
    least, most = arity
    if least == most:
        return f"{least} input{'' if least == 1 else 's'}"
    return f"{least} to {most:,} inputs"


# Writing


def content(rows: Sequence[Row], output: str, inputs: Sequence[str], strict: bool = False) -> dict[str, Any]:
    """What a recipe says; with ``strict``, an ``ArgumentError`` for what cannot be said in text."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "inputs": list(inputs),
        "output": output,
        "steps": [_step(row, strict) for row in rows],
    }


def _step(row: Row, strict: bool) -> dict[str, Any]:
    action = row.action
    assert action is not None
    if type(action) in operations().get(action.name, ()):
        params = {name: _plain(value) for name, value in parameters_of(action).items()}
    elif strict:
        raise ArgumentError(
            f"to_json: {row.name} cannot be written as text: {action.name} is not made of numbers and text alone, or not "
            "of this package; the pipeline can be pickled"
        )
    else:
        params = {"encoded": action.encoded.decode()}
    version = {} if action.version == 1 else {"version": action.version}
    return {"name": row.name, "op": action.name, "inputs": list(row.inputs), "params": params, **version}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def digest(said: Mapping[str, Any]) -> str:
    """A digest of what a recipe says, without what it says about itself and its image."""
    counted = {name: value for name, value in said.items() if name not in ("digest", *About._fields)}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def written(rows: Sequence[Row], output: str, inputs: Sequence[str], about: About) -> str:
    """A recipe as text: keys sorted, one parameter a line, and a newline at the end."""
    said = content(rows, output, inputs, strict=True)
    told = {**said, "digest": digest(said)}
    if about.sources:
        told["sources"] = {hole: one._asdict() for hole, one in about.sources.items()}
    if about.saved_with:
        told["saved_with"] = {name: _plain(value) for name, value in about.saved_with.items()}
    return _text(told, "") + "\n"


def _text(value: Any, indent: str) -> str:
    """JSON that differs by the lines that differ: dicts and lists of dicts over several lines, other lists on one."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(key)}: {_text(value[key], inner)}" for key in sorted(value)]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        return "[\n" + ",\n".join(inner + _text(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, sort_keys=True, allow_nan=False)


# Reading


def read(text: str | bytes, edited: bool) -> tuple[list[Row], str, About]:
    """The steps of a text in order, holes first, the name of the last one, and what it says of its image."""
    said = _parsed(text)
    _check_keys("recipe", said, {"schema", "version", "inputs", "output", "steps"}, {"digest", *About._fields})
    if said["schema"] != SCHEMA:
        raise ArgumentError(f"recipe: schema must be {SCHEMA!r}, got {_short(said['schema'])}")
    if type(said["version"]) is not int or said["version"] != VERSION:
        raise ArgumentError(f"recipe: version must be {VERSION}, got {_short(said['version'])}; {NEWER}")
    if "digest" in said and not edited and said["digest"] != digest(said):
        raise ArgumentError(
            "recipe: the text was changed since its digest was made; if you did, remove the line with "
            '"digest", or read it with edited=True (imgrs run --edited)'
        )
    rows = _rows(said)
    made = {row.name for row in rows}
    output = said["output"]
    if not isinstance(output, str) or output not in made:
        raise ArgumentError(f"recipe: output must be the name of a step or an input, got {_short(output)}")
    used = {output}
    for row in reversed(rows):
        if row.name not in used:
            kind = "input" if row.action is None else "step"
            raise ArgumentError(f"recipe: {kind} {row.name!r} is not used for the output; remove it, or use it")
        used.update(row.inputs)
    return rows, output, About(_sources(said.get("sources", {}), said["inputs"]), options(said.get("saved_with", {})))


def is_json(head: bytes) -> bool:
    """Whether a file that begins so can be a recipe: a JSON object in UTF-8, which no image begins like."""
    return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def _parsed(text: str | bytes) -> dict[str, Any]:
    from imgrs.io.limits import check_recipe

    if not isinstance(text, (str, bytes)):
        raise ArgumentTypeError(f"recipe: text must be JSON as str or bytes, got {type(text).__name__}")
    check_recipe("bytes", len(text))
    try:
        found = json.loads(
            text, object_pairs_hook=_unique, parse_int=_whole, parse_float=_finite, parse_constant=_refused
        )
    except ArgumentError:
        raise
    except RecursionError:
        raise LimitError("recipe: lists within lists are too deep") from None
    except UnicodeDecodeError:
        raise ArgumentError("recipe: the text is not JSON: its bytes are not UTF-8") from None
    except ValueError as error:
        raise ArgumentError(f"recipe: the text is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ArgumentError(f"recipe: the text must be a JSON object, got {_short(found)}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        where = f" (in step {_short(found['name'])})" if "name" in found else ""
        raise ArgumentError(f"recipe: {_short(twice)} is there twice{where}")
    return found


def _whole(digits: str) -> int:
    value = int(digits) if len(digits) < 20 else _LARGEST
    if abs(value) >= _LARGEST:
        raise ArgumentError(f"recipe: numbers must be below 2**63, got {_short(digits)}")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ArgumentError(f"recipe: numbers must be finite, got {_short(digits)}")
    return value


def _refused(name: str) -> Any:
    raise ArgumentError(f"recipe: numbers must be finite, got {name}")


def _check_keys(what: str, found: Mapping[str, Any], needed: set[str], allowed: set[str]) -> None:
    missing, unknown = sorted(needed - found.keys()), sorted(found.keys() - needed - allowed)
    if unknown:  # first: what takes the place of something missing is what is not known here
        has = ", ".join(sorted(needed | allowed)) or "none"
        raise ArgumentError(f"{what}: there is no {_short(unknown[0])}; it has {has}; {NEWER}")
    if missing:
        raise ArgumentError(f"{what}: {missing[0]!r} is missing")


def _rows(said: Mapping[str, Any]) -> list[Row]:
    """Holes, then steps: each with a name of its own, and after its inputs."""
    from imgrs.io.limits import check_recipe

    if not isinstance(said["inputs"], list) or not isinstance(said["steps"], list):
        raise ArgumentError("recipe: inputs and steps must be lists")
    check_recipe("steps", max(len(said["inputs"]), len(said["steps"])))
    rows: list[Row] = []
    known: set[str] = set()

    def named(name: Any, what: str) -> str:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or (what == "input" and "__" in name):
            raise ArgumentError(f"recipe: {what} needs a name of small letters, digits and _, got {_short(name)}")
        if name in known:
            raise ArgumentError(f"recipe: two steps or inputs are named {name!r}")
        return name

    for hole in said["inputs"]:
        rows.append(Row(named(hole, "input"), None, ()))
        known.add(hole)
    later = {step.get("name") for step in said["steps"] if isinstance(step, dict) and _is_text(step.get("name"))}
    for number, step in enumerate(said["steps"], start=1):
        if not isinstance(step, dict):
            raise ArgumentError(f"recipe: step {number} must be an object, got {_short(step)}")
        where = f"recipe: step {_short(step['name'])}" if "name" in step else f"recipe: step {number}"
        _check_keys(where, step, {"name", "op", "inputs"}, {"params", "version"})
        name = named(step["name"], f"step {number}")
        inputs = step["inputs"]
        if not isinstance(inputs, list) or not all(map(_is_text, inputs)):
            raise ArgumentError(f"{where}: inputs must be a list of names, got {_short(inputs)}")
        for given in inputs:
            if given not in known:
                why = "comes later, or is itself" if given in later else "is not there"
                raise ArgumentError(f"{where}: its input {_short(given)} {why}")
        rows.append(Row(name, _action(where, step, len(inputs)), tuple(inputs)))
        known.add(name)
    return rows


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _action(where: str, step: Mapping[str, Any], count: int) -> Op | Verb:
    """The operation of a step, made by its own checks."""
    name, given = step["op"], step.get("params", {})
    classes = operations().get(name, ()) if isinstance(name, str) else ()
    if not classes:
        raise ArgumentError(f"{where}: there is no operation {_short(name)}; {NEWER}")
    if not isinstance(given, dict):
        raise ArgumentError(f"{where}: params must be an object, got {_short(given)}")
    params = {parameter: _value(f"{where}: {parameter}", value) for parameter, value in given.items()}
    cls = next((cls for cls in classes if _fits(cls, params, count)), classes[-1])
    version = step.get("version", 1)
    if type(version) is not int or version != cls.version:
        newer = f"; {NEWER}" if type(version) is int and version > cls.version else ""
        raise ArgumentError(f"{where}: version of {name} must be {cls.version} here, got {_short(version)}{newer}")
    if not cls.arity[0] <= count <= cls.arity[1]:
        raise ArgumentError(f"{where}: {name} takes {counted(cls.arity)}, got {count}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # all of them are
    needed = {field.name for field in fields.values() if field.default is dataclasses.MISSING}
    _check_keys(f"{where}: params of {name}", params, needed, fields.keys() - needed)
    try:
        return cls(**params)
    except ArgumentError as error:
        raise type(error)(f"{where}: {error}") from None


def _fits(cls: type[Op | Verb], params: Mapping[str, Any], count: int) -> bool:
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # all of them are
    return params.keys() <= fields and cls.arity[0] <= count <= cls.arity[1]


def _value(where: str, value: Any, depth: int = 0) -> Any:
    """A parameter from JSON: lists are tuples, and an object is bytes."""
    if depth > DEEPEST:
        raise LimitError(f"{where} has more than {DEEPEST} lists within lists")
    if isinstance(value, list):
        return tuple(_value(where, inner, depth + 1) for inner in value)
    if isinstance(value, dict):
        match value:
            case {"hex": str() as digits, **rest} if not rest and re.fullmatch("([0-9a-f]{2})*", digits):
                return bytes.fromhex(digits)
        raise ArgumentError(f'{where} must be a number, text, a list, or {{"hex": "00ff"}}, got {_short(value)}')
    return value


def _sources(found: Any, inputs: Sequence[str]) -> dict[str, RecipeSource]:
    what = 'recipe: sources must be {input: {"name": text or null, "page": number, "size": [width, height]}}'
    if not isinstance(found, dict) or not found.keys() <= set(inputs):
        raise ArgumentError(f"{what}, got {_short(found)}")
    made = {}
    for hole, said in found.items():
        match {"page": 0, **said} if isinstance(said, dict) else said:
            case {"name": str() | None as name, "page": int(page), "size": [int(wide), int(high)], **more} if not more:
                made[hole] = RecipeSource(name, (wide, high), page)
            case _:
                raise ArgumentError(f"{what}, got {_short(said)}")
    return made


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def options(given: Any, strict: bool = True) -> dict[str, Option]:
    """The options of a save that are numbers, text, or lists of them; of others an error if ``strict``."""
    found: dict[str, Option] = {}
    for name, value in given.items() if isinstance(given, dict) else [("saved_with", {})]:
        parts = value if isinstance(value, (list, tuple)) else (value,)
        if all(part is None or isinstance(part, str) or _is_number(part) for part in parts):
            found[name] = tuple(parts) if isinstance(value, (list, tuple)) else value
        elif strict:
            raise ArgumentError(f"recipe: saved_with must be options that are numbers or text, got {_short(given)}")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
