"""The steps of a pipeline: a graph like that of images, with holes where images go, of which nothing is known before.

What a step does to images, how steps are named, and the steps of an image that is there. Steps do not change.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from imgrs import recipe_text
from imgrs.errors import ArgumentError
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Fold, Op, check_kinds
from imgrs.image import Image, Statistic
from imgrs.ops import geometry, resample, source, stats, verbs
from imgrs.ops.verbs import Verb
from imgrs.recipe_text import RecipeSource, Row

FIRST = "input"
"""The hole of a pipeline that is told no other."""


@dataclasses.dataclass(frozen=True)
class Hole:
    """Where an image goes."""

    name: str


Action: TypeAlias = "Op | Verb | Hole"


class ImageNeededError(ArgumentError, AttributeError):
    """What only an image can tell: an ``ArgumentError``, as it shows itself, for which ``hasattr`` is False."""

    def __reduce__(self) -> tuple[Any, ...]:
        return ArgumentError, self.args


ImageNeededError.__name__ = ImageNeededError.__qualname__ = ArgumentError.__name__
ImageNeededError.__module__ = ArgumentError.__module__


class Step:
    """An action on the results of other steps: a node whose spec is not known yet.

    Raises ``ArgumentError`` for a statistic where the action takes an image, and the other way round.
    """

    __slots__ = ("__weakref__", "action", "inputs", "is_statistic")

    def __init__(self, action: Action, *inputs: Step) -> None:
        self.action = action
        self.inputs = inputs
        self.is_statistic: bool | None = _gives_a_statistic(action, inputs)
        """Whether it makes numbers about an image; None where that cannot be told yet."""

    @property
    def spec(self) -> Any:  # there is none
        raise ImageNeededError("a pipeline has no image yet")


def _gives_a_statistic(action: Action, inputs: Sequence[Step]) -> bool | None:
    """What comes out; what goes in is checked."""
    if isinstance(action, Hole):
        return None
    if isinstance(action, (verbs.Slice, geometry.Crop)):  # a part of a statistic is one, too
        return inputs[0].is_statistic
    statistics = action.statistics if isinstance(action, Op) else 0
    check_kinds(action.name, action.arity[1] - statistics, statistics, [given.is_statistic for given in inputs])
    if isinstance(action, (stats.Histogram, stats.Mean, stats.Extrema)):
        return True
    return None if isinstance(action, Fold) else False  # a fold from elsewhere may be either


# What steps do


def applied(action: Op | Verb | None, images: list[Image]) -> Image:
    """An action on images: as the method of its name does it where that depends on the image."""
    match action:
        case verbs.New():
            return Image(Node(action.source))
        case verbs.ShrinkOnLoad():
            return _shrunk(images[0], action.shrink)
        case verbs.Slice():
            return images[0][action.key]
        case Verb() | resample.Resize():
            method = getattr(images[0].copy(), action.name)  # of a fixed list: the names of those classes
            made: Image = method(**recipe_text.parameters_of(action))
            return made
        case Op():
            first, *others = images
            made = first.apply(action, *others)
            return Statistic(made._node) if made._node.spec.encoding == "statistic" else made
    raise AssertionError(action)


def _shrunk(image: Image, shrink: int) -> Image:
    """A file as opened at a scale that it decodes at; any other image as the mean of each square of pixels."""
    op = image._node.op
    if isinstance(op, source.Open) and op.shrink == 1 and shrink in op.reader.shrinks:
        return Image(Node(source.Open(op.reader, shrink)))
    width, height = image.size
    return image.resize((-(-width // shrink), -(-height // shrink)), "box")


# The names of steps


class Named(NamedTuple):
    """The steps of a pipeline with their names."""

    rows: tuple[Row, ...]
    output: str
    inputs: tuple[str, ...]
    names: dict[Step, str]


def names_of(output: Step) -> Named:
    """The steps that make ``output``, numbered by their operation; equal steps on equal inputs are one."""
    order = walk([output])
    inputs = tuple(dict.fromkeys(step.action.name for step in order if isinstance(step.action, Hole)))
    names: dict[Step, str] = {}
    counts: Counter[str] = Counter()
    rows: dict[tuple[bytes, tuple[str, ...]], Row] = {}
    for step in order:
        action = step.action
        if isinstance(action, Hole):
            names[step] = action.name
            continue
        what = (action.encoded, tuple(names[i] for i in step.inputs))
        if what not in rows:
            name = None
            while name is None or name in inputs:
                counts[action.name] += 1
                name = f"{action.name}_{counts[action.name]}"
            rows[what] = Row(name, action, what[1])
        names[step] = rows[what].name
    return Named(tuple(rows.values()), names[output], inputs, names)


def rebuilt(output: Step, change: Callable[[Step, tuple[Step, ...]], Step]) -> Step:
    """The graph with each step as ``change`` gives it, on its new inputs."""
    made: dict[Step, Step] = {}
    for step in walk([output]):
        made[step] = change(step, tuple(made[i] for i in step.inputs))
    return made[output]


# The steps of an image


def steps_of(output: Node) -> tuple[Step, dict[str, RecipeSource]]:
    """The graph of an image with holes in the place of files and arrays, and what filled them; equal ones are one hole."""
    made: dict[Node, Step] = {}
    holes: dict[bytes, Step] = {}
    sources: dict[str, RecipeSource] = {}
    for node in walk([output]):
        op = node.op
        if isinstance(op, source.New) and op.spec.mode != "multiband":
            made[node] = Step(verbs.New.of(op))
        elif not node.inputs:
            whole = source.Open(op.reader) if isinstance(op, source.Open) else op
            if whole.encoded not in holes:
                name = FIRST if not holes else f"{FIRST}_{len(holes) + 1}"
                holes[whole.encoded] = Step(Hole(name))
                sources[name] = _source(whole)
            made[node] = holes[whole.encoded]
            if isinstance(op, source.Open) and op.shrink > 1:
                made[node] = Step(verbs.ShrinkOnLoad(op.shrink), made[node])
        elif isinstance(op, stats.AutoContrast) and _measures_itself(node):
            made[node] = Step(verbs.AutoContrast(op.cutoff), made[node.inputs[0]])
        else:
            made[node] = Step(op, *(made[i] for i in node.inputs))
    return made[output], sources


def _measures_itself(node: Node) -> bool:
    """Whether an op of auto_contrast has the histogram that the verb gives it."""
    image, histogram = node.inputs
    bins = 256 if image.spec.dtype == "uint8" else 65_536
    return histogram.op == stats.Histogram(bins) and histogram.inputs == (image,)


def _source(op: Op) -> RecipeSource:
    if not isinstance(op, source.Open):
        return RecipeSource(None, op.infer().size)
    name = str(op.reader)
    return RecipeSource(None if name == "<bytes>" else name, op.reader.spec.size, op.reader.page)
