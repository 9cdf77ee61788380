"""``Pipeline``: a graph with holes where images go. An immutable value that is compared, pickled, edited and written as text.

Its verbs are ``Image``'s own methods, run on a stand-in for the image: those that ask it nothing add ops, and those whose
meaning depends on it are kept as values (``imgrs.ops.verbs``) until it comes. The graph itself is that of ``imgrs.steps``;
its text is made in ``imgrs.recipe_text``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from imgrs import recipe_text
from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Op
from imgrs.graph.text import LONGEST, arguments
from imgrs.image import Image, resized
from imgrs.instead import INSTEAD
from imgrs.ops import verbs
from imgrs.recipe_text import About, RecipeSource
from imgrs.steps import FIRST, Action, Hole, ImageNeededError, Named, Step, applied, names_of, rebuilt, steps_of
from imgrs.verb import verb

_HOLE = re.compile(r"[a-z]([a-z0-9]|_(?!_))*", re.ASCII)
_OPERATORS = (
    "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__abs__", "__array_ufunc__",
)  # fmt: skip
_NO_VERBS = ("apply", "copy")
"""Methods that give an image and are about the handle."""


class _StandIn(Image):
    """In the place of an image that is not there yet: verbs that ask it nothing add steps."""

    __slots__ = ()

    def __init__(self, step: Step) -> None:
        self._node = step  # type: ignore[assignment]  # what a verb asks a node for, and a step has not, it says

    def apply(self, op: Op, *others: Image) -> Image:
        return _StandIn(Step(op, *(image._node for image in (self, *others))))  # type: ignore[arg-type]


def pipeline(name: str = FIRST) -> Pipeline:
    """A pipeline that does nothing yet: its result is the image that it is called on.

    Verbs are those of ``Image``: ``imgrs.pipeline().resize((800, 600)).sharpen(1.1)``. ``name`` is that of the hole, for
    pipelines of several images: ``pipeline().blend("normal", pipeline("logo"))``.
    """
    if not isinstance(name, str) or not _HOLE.fullmatch(name):
        raise ArgumentError(f"pipeline: name must be a small letter, then letters, digits and single _, got {name!r}")
    return Pipeline(Step(Hole(name)))


class Pipeline:
    """Steps from one or more images to one, as a value; ``imgrs.pipeline()`` makes one, and ``Image.recipe()``.

    Verbs add steps and give another pipeline. ``pipe(img)`` is the image that they make of ``img``, with the key that the
    same verbs called on ``img`` give. Steps are numbered by their operation (``sharpen_1``, ``sharpen_2``), and equal
    steps on equal inputs are one. Equal pipelines have equal steps and names of holes.
    """

    __slots__ = ("__dict__", "__weakref__", "_about", "_output")

    def __init__(self, output: Step, about: About = About()) -> None:  # noqa: B008  # which does not change
        self._output = output
        self._about = about

    # Names and parameters

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the holes, in the order in which a call takes their images."""
        return self._named.inputs

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter of every step, as ``with_params`` takes them: ``{"sharpen_1__strength": 1.1}``."""
        return {
            f"{row.name}__{name}": value
            for row in self._named.rows
            for name, value in recipe_text.parameters_of(row.action).items()
        }

    @property
    def sources(self) -> dict[str, RecipeSource]:
        """What filled the holes of the image that this is the recipe of, by hole: name, size, and page of the file."""
        return dict(self._about.sources)

    @property
    def saved_with(self) -> dict[str, Any]:  # for ** of a save, which checks them
        """The options with which the file that this recipe was read from was saved, as ``save`` takes them."""
        return dict(self._about.saved_with)

    @functools.cached_property
    def key(self) -> str:
        """A digest of the steps, equal for equal pipelines in every process (32 hexadecimal digits)."""
        return recipe_text.digest(recipe_text.content(*self._named[:3]))

    @functools.cached_property
    def _named(self) -> Named:
        return names_of(self._output)

    def with_params(self, **changes: Any) -> Pipeline:
        """The same steps with other parameters: ``pipe.with_params(sharpen_1__strength=1.3)``; ``params`` has all names.

        Raises ``ArgumentError`` for a parameter that there is not, and what the operation raises for its value.
        """
        wanted: dict[str, dict[str, Any]] = {}
        known = self.params
        for name, value in changes.items():
            step, _, parameter = name.partition("__")
            if name not in known:
                has = ", ".join(other.removeprefix(f"{step}__") for other in known if other.startswith(f"{step}__"))
                told = f"{step} has {has}" if has else f"there are {_some(known)}"
                raise ArgumentError(f"with_params: there is no {name!r}; {told}")
            wanted.setdefault(step, {})[parameter] = value
        names = self._named.names

        def edited(step: Step, inputs: tuple[Step, ...]) -> Step:
            action = step.action
            if names[step] in wanted and not isinstance(action, Hole):
                action = dataclasses.replace(action, **wanted[names[step]])  # type: ignore[type-var]  # a dataclass
            return Step(action, *inputs)

        return Pipeline(rebuilt(self._output, edited), self._about)

    # Applying and joining

    def __call__(self, *images: Any, **named: Any) -> Image:
        """The image that the steps make of ``images``: one for each hole, in the order of ``inputs``, or by its name.

        Each is an image, or what ``imgrs.open`` takes. Raises what the verbs raise for an image that does not fit.
        """
        made: dict[str, Image] = self._filled(images, named)
        for row in self._named.rows:
            made[row.name] = applied(row.action, [made[name] for name in row.inputs])
        return made[self._named.output].copy()

    def save(self, source: Any, target: Any, format: str | None = None, **options: Any) -> None:
        """Open ``source``, apply the steps, and save as ``Image.save`` does; a list or a dict fills several holes.

        With ``recipe=True`` the file gets these steps, rules such as ``thumbnail`` included, behind those that made the source;
        of several sources, it gets the graph of the result.
        """
        if isinstance(source, Mapping):
            made = self(**source)
        elif isinstance(source, (list, tuple)):
            made = self(*source)
        else:
            image = _opened(source, "source")
            made = self(image)
            if options.get("recipe") is True:
                options["recipe"] = recipe_behind(image, self)
        made.save(target, format, **options)

    def __or__(self, other: Any) -> Pipeline:
        """This pipeline, then ``other`` on its result: that fills the first hole, others stay under their names."""
        if not isinstance(other, Pipeline):
            return NotImplemented
        if not other.inputs:
            raise ArgumentError("|: the second pipeline takes no image; it makes one from nothing")
        first = other.inputs[0]

        def put_on(step: Step, inputs: tuple[Step, ...]) -> Step:
            return self._output if step.action == Hole(first) else Step(step.action, *inputs)

        return Pipeline(rebuilt(other._output, put_on))

    def apply(self, op: Op, *others: Pipeline | Image) -> Pipeline:
        """The op on what this pipeline (and others) makes; the way in for ops that have no verb."""
        if not isinstance(op, Op):
            raise ArgumentTypeError(f"apply: op must be an operation, got {type(op).__name__}")
        least, most = op.arity
        if not least <= 1 + len(others) <= most:
            raise ArgumentError(f"apply: {op.name} takes {recipe_text.counted(op.arity)}, got {1 + len(others)}")
        return Pipeline(Step(op, self._output, *(_step_of(other, "apply") for other in others)))

    def __getitem__(self, key: Any) -> Pipeline:
        """As an image's: ``pipe[10:20, ::, 0]``."""
        return Pipeline(Step(verbs.Slice.of(key), self._output))

    # As text

    def to_json(self) -> str:
        """The steps as JSON, one parameter a line, the same text for equal pipelines; ``from_json`` reads it.

        Raises ``ArgumentError`` for steps that are no values: the function of ``map_tiles``, an op from elsewhere.
        """
        return recipe_text.written(*self._named[:3], self._about)

    @classmethod
    def from_json(cls, text: str | bytes, *, edited: bool = False) -> Pipeline:
        """Read what ``to_json`` gives. Steps are numbered anew; parameters that are left out are what they are by default.

        The text has a digest of itself. To edit it by hand, remove that line, or pass ``edited=True``; ``to_json`` then
        makes a new one. Text from others is safe to read: it names operations of a fixed list and their parameters, which
        they check.

        Raises ``ArgumentError`` for what is no recipe, naming the step, and ``LimitError`` for more than
        ``imgrs.max-recipe-steps`` steps (10,000) or ``imgrs.max-recipe-bytes`` of text (4 MiB), keys of ``dask.config``.
        """
        rows, output, about = recipe_text.read(text, edited)
        made: dict[str, Step] = {}
        for row in rows:
            action = Hole(row.name) if row.action is None else row.action
            try:
                made[row.name] = Step(action, *(made[name] for name in row.inputs))
            except ArgumentError as error:
                raise ArgumentError(f"recipe: step {row.name!r}: {error}") from None
        return cls(made[output], about)

    @classmethod
    def from_file(cls, source: Any, *, edited: bool = False) -> Pipeline:
        """The recipe in a file: what ``to_json`` gave, or an image that was saved with ``recipe=True``.

        Which of both it is, its content tells. ``source`` is what ``imgrs.open`` takes, ``edited`` is for ``from_json``.
        The ``sources`` of a recipe say what to call it on. Raises ``ArgumentError`` where there is none, and what
        ``imgrs.open`` and ``from_json`` raise.
        """
        from imgrs.io import open_source, xmp
        from imgrs.io.folder import Folder
        from imgrs.io.limits import check_recipe
        from imgrs.io.resource import BytesResource, resource_of

        resource = resource_of(source)
        if not isinstance(resource, Folder) and recipe_text.is_json(resource.read(0, recipe_text.HEAD)):
            check_recipe("bytes", resource.size)
            return cls.from_json(resource.read(), edited=edited)
        reader = open_source(resource if isinstance(resource, BytesResource) else source)  # a file object was read
        text = xmp.recipe(reader.info.get("xmp", b""))
        if text is None:
            raise ArgumentError(
                f"from_file: {reader.resource.name} holds no recipe; save(..., recipe=True) puts one there"
            )
        return cls.from_json(text, edited=edited)

    # A value

    def _filled(self, images: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Image]:
        wanted = self.inputs
        takes = f"it takes {', '.join(wanted) or 'none'}"
        if len(images) > len(wanted):
            raise ArgumentError(f"pipeline: got {len(images)} images; {takes}")
        given = dict(zip(wanted, images, strict=False))
        for name, image in named.items():
            if name not in wanted or name in given:
                told = "was given twice" if name in given else "is none of its images"
                raise ArgumentError(f"pipeline: {name} {told}; {takes}")
            given[name] = image
        missing = [name for name in wanted if name not in given]
        if missing:
            raise ArgumentError(f"pipeline: no image for {', '.join(missing)}; {takes}")
        return {name: _opened(image, name) for name, image in given.items()}

    def __getattr__(self, name: str) -> Callable[..., Pipeline]:
        """Verbs are set below, by name; what is asked for here is not there. Typed for the sake of those."""
        if name.startswith("_") or not hasattr(Image, name):
            hint = f"; {INSTEAD[name]}" if name in INSTEAD else ""
            raise AttributeError(f"a Pipeline has no {name!r}{hint}")
        call = "()" if inspect.isfunction(getattr(Image, name)) else ""
        raise ImageNeededError(f"{name} needs an image: pipe(img).{name}{call}")

    if TYPE_CHECKING:  # set below, too; but operators are looked for in the class

        def __add__(self, other: Any) -> Pipeline: ...
        def __abs__(self) -> Pipeline: ...

        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __add__

    def __dir__(self) -> list[str]:
        return sorted(name for name in object.__dir__(self) if name != "__dict__")

    def __reduce__(self) -> tuple[Any, ...]:
        order = walk([self._output])
        index = {step: i for i, step in enumerate(order)}
        rows = [(step.action, tuple(index[i] for i in step.inputs)) for step in order]
        return _from_rows, (rows, dict(self._about.sources), dict(self._about.saved_with))

    def __copy__(self) -> Pipeline:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Pipeline:
        return self

    def __eq__(self, other: object) -> bool:
        """Whether both have the same steps and holes."""
        return self.key == other.key if isinstance(other, Pipeline) else NotImplemented

    def __hash__(self) -> int:
        return int(self.key[:15], 16)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "imgrs.Pipeline", self.key

    def __repr__(self) -> str:
        rows, output, *_ = self._named
        lines = [
            f"{row.name} = {row.action.name}({', '.join([*row.inputs, *arguments(row.action)])})"
            for row in rows
            if row.action is not None
        ]
        if len(lines) > LONGEST:
            half = LONGEST // 2
            lines = [*lines[:half], f"... {len(lines) - 2 * half} more ...", *lines[-half:]]
        return "\n".join([f"<imgrs.Pipeline {' '.join(self.inputs)} -> {output}>", *lines])


def recipe_of(output: Node) -> Pipeline:
    """The graph of an image as a pipeline."""
    step, sources = steps_of(output)
    return Pipeline(step, About(sources))


def recipe_behind(image: Image, then: Pipeline) -> Pipeline:
    """The graph of ``image``, then the steps of a pipeline on it: a recipe of its result that keeps their rules."""
    recipe = recipe_of(image._node)
    return Pipeline((recipe | then)._output, recipe._about)


def saved_with(recipe: Pipeline, options: Mapping[str, Any]) -> Pipeline:
    """The same, which tells the options of a save: those that text can hold, which is all that pixels depend on."""
    return Pipeline(recipe._output, About(recipe.sources, recipe_text.options(dict(options), strict=False)))


def _from_rows(rows: list[tuple[Action, tuple[int, ...]]], *about: Any) -> Pipeline:
    steps: list[Step] = []
    for action, inputs in rows:
        steps.append(Step(action, *(steps[i] for i in inputs)))
    return Pipeline(steps[-1], About(*about))


def _opened(value: Any, name: str) -> Image:
    if isinstance(value, Image):
        return value
    if isinstance(value, (Pipeline, np.ndarray)):
        way = "imgrs.fromarray() it first" if isinstance(value, np.ndarray) else "join pipelines by |"
        raise ArgumentTypeError(f"pipeline: {name} must be an image, got {type(value).__name__}; {way}")
    from imgrs.create import open

    return open(value)


def _some(names: Mapping[str, Any]) -> str:
    shown = list(names)[:20]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "") if shown else "none"


# The verbs of a pipeline


def _step_of(value: Any, name: str) -> Step:
    """A pipeline, or an image that was made from nothing, as an input."""
    if isinstance(value, Pipeline):
        return value._output
    if isinstance(value, Image):
        output, sources = steps_of(value._node)
        if not sources:
            return output
        raise ArgumentError(
            f'{name}: a pipeline cannot hold {value!r}, which comes from a file or an array; put pipeline("other") in its '
            "place, and give the image when it is called: pipe(img, other=image)"
        )
    raise ArgumentTypeError(f"{name}: needs an imgrs.Pipeline, got {type(value).__name__}")


def _resize(size: Any, resample: Any, box: Any, reducing_gap: Any, width: Any, height: Any) -> Action:
    return resized(size, resample, box, reducing_gap, width, height)


_KEPT: Mapping[str, Callable[..., Action]] = {
    **{
        kept.name: kept
        for kept in (
            verbs.Rotate,
            verbs.Thumbnail,
            verbs.AutoContrast,
            verbs.ExifTranspose,
            verbs.RemoveTransparency,
            verbs.Page,
            verbs.GetChannel,
        )
    },
    "resize": _resize,
}
"""Methods of ``Image`` that ask the image something, by name: what a pipeline keeps of a call until it has one."""


def _method(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of ``Image`` as one of ``Pipeline``, with its signature and its words."""
    signature = inspect.signature(function)
    keep = _KEPT.get(name)

    def call(self: Pipeline, /, *args: Any, **kwargs: Any) -> Any:
        if keep is not None:
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise ArgumentTypeError(f"{name}: {error}") from None
            bound.apply_defaults()
            _, *values = bound.arguments.values()
            return Pipeline(Step(keep(**dict(zip(list(signature.parameters)[1:], values, strict=True))), self._output))
        try:
            made = function(
                _StandIn(self._output),
                *(_stand_in(value, name) for value in args),
                **{key: _stand_in(value, name) for key, value in kwargs.items()},
            )
        except ImageNeededError:
            raise ArgumentError(f"{name} needs an image: pipe(img).{name}()") from None
        return Pipeline(cast(Step, made._node)) if isinstance(made, Image) else made

    call.__name__, call.__qualname__, call.__doc__ = name, f"Pipeline.{name}", function.__doc__
    shown = signature if signature.return_annotation == "Any" else signature.replace(return_annotation="Pipeline")
    call.__signature__ = shown  # type: ignore[attr-defined]  # where inspect and help() look for it
    return call


def _stand_in(value: Any, name: str) -> Any:
    return _StandIn(_step_of(value, name)) if isinstance(value, (Pipeline, Image)) else value


def _verbs() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What gives an image from images, of all that ``Image`` has."""
    for name, value in vars(Image).items():
        if name in _OPERATORS or isinstance(value, verb):
            yield name, getattr(Image, name)
        elif not name.startswith("_") and name not in _NO_VERBS and _gives_an_image(value):
            yield name, value


def _gives_an_image(value: Any) -> bool:
    return inspect.isfunction(value) and value.__annotations__.get("return") in ("Image", "Statistic")


for _name, _function in _verbs():
    setattr(Pipeline, _name, _method(_name, _function))

VERBS = tuple(sorted(_name for _name, _ in _verbs() if not _name.startswith("_")))
"""The names of all verbs of a pipeline."""
