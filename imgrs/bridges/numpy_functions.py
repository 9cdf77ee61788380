"""NumPy's functions and ufuncs on images: which of them stay lazy, which need no pixels, and what becomes of the rest.

A function that means exactly what a verb means is that verb. One that asks for facts is answered from the header. Smallest
and largest samples and means are computed tile by tile. Any other function is given arrays, as ``np.asarray`` makes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from imgrs import config
from imgrs.errors import ArgumentTypeError, MemoryBudgetError
from imgrs.image import Image
from imgrs.sizes import size_text
from imgrs.together import compute_all

LAZY_UFUNCS = {"add": "add", "subtract": "subtract", "multiply": "multiply", "absolute": "abs"}
"""Ufuncs that are operators of images. They saturate, where arrays of whole numbers wrap."""


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """The lazy image that a ufunc of images and numbers gives.

    Raises ``ArgumentTypeError`` for others: an array that wraps beside images that saturate would hide which is which.
    Where another library's array takes part, that library is asked first.
    """
    if ufunc.__name__ in LAZY_UFUNCS and method == "__call__" and not options:
        made = _operator(LAZY_UFUNCS[ufunc.__name__], *inputs)
        if made is not NotImplemented:
            return made
    if any(_decides(operand) for operand in (*inputs, *options.get("out", ()))):
        return NotImplemented
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    if any(isinstance(operand, np.ndarray) for operand in inputs):
        way = "imgrs.fromarray(array) is an image as the other, np.asarray(img) an array as the other"
        raise ArgumentTypeError(f"np.{name}: takes no image beside an array; {way}")
    if ufunc.__name__ in LAZY_UFUNCS and method == "__call__":
        names = ", ".join(options) or "such operands"
        raise ArgumentTypeError(
            f"np.{name}: takes no {names} with an image; np.{name}(np.asarray(img), ...) computes it"
        )
    lazy = ", ".join(LAZY_UFUNCS)
    raise ArgumentTypeError(
        f"np.{name}: of ufuncs, images take {lazy}; np.{name}(np.asarray(img), ...) computes the image first"
    )


def _operator(name: str, first: Any, second: Any = None) -> Any:
    if name == "abs":
        return abs(first)
    if isinstance(first, Image):
        return first._arithmetic(name, second, False)
    return second._arithmetic(name, first, name == "subtract")


def _decides(operand: Any) -> bool:
    """Whether an operand is of another library that has its own say in ufuncs."""
    theirs = getattr(type(operand), "__array_ufunc__", None)
    return theirs is not None and not isinstance(operand, (Image, np.ndarray, np.generic))


def apply_function(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a NumPy function gives for images.

    Raises ``ArgumentTypeError`` for functions that would write into one, and ``MemoryBudgetError`` where the arrays of all
    images would be larger than ``memory_limit``: nothing was read then.
    """
    first = args[0] if args else None
    if isinstance(first, Image) and first._node.spec.encoding != "statistic" and func in LAZY:
        made = LAZY[func](*args, **kwargs)
        if made is not NotImplemented:
            return made
    if func in FACTS:
        images = list(_images((args, kwargs)))
        return _called(func, args, kwargs, {image._node: _stand_in(image) for image in images})
    return _by_computing(func, args, kwargs)


def _by_computing(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    name = getattr(func, "__name__", str(func))
    if any(isinstance(target, Image) for target in _written(func, args, kwargs)):
        raise ArgumentTypeError(f"np.{name}: would write into an image, which never changes; write into np.array(img)")
    images = list({image._node: image for image in _images((args, kwargs))}.values())
    need, limit = sum(image.nbytes for image in images), config.settings().memory_limit
    if need > limit:
        raise MemoryBudgetError(
            f"np.{name}: needs whole arrays, {size_text(need)} of pixels, and memory_limit is {size_text(limit)}; "
            f"np.{name}(np.asarray(img), ...) makes them all the same, and img.to_dask() is an array that works in parts"
        )
    arrays = compute_all(*images)
    return _called(func, args, kwargs, {image._node: array for image, array in zip(images, arrays, strict=True)})


def _called(func: Callable[..., Any], args: Any, kwargs: Any, arrays: Mapping[Any, Any]) -> Any:
    def with_arrays(value: Any) -> Any:
        if isinstance(value, Image):
            return arrays[value._node]
        if type(value) in (list, tuple):
            return type(value)(map(with_arrays, value))
        return value

    return func(*with_arrays(tuple(args)), **{name: with_arrays(value) for name, value in kwargs.items()})


def _images(value: Any) -> Iterator[Image]:
    """The images among arguments, also in lists and tuples, as of ``np.concatenate``."""
    if isinstance(value, Image):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _images(part)


_WRITE = {np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis}
"""Functions that write into their first argument."""


def _written(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    if func in _WRITE:
        return tuple(args or kwargs.values())[:1]
    try:
        out = inspect.signature(func).bind_partial(*args, **kwargs).arguments.get("out")
    except (TypeError, ValueError):  # no signature to be had, or the call is wrong, which the function itself will say
        out = kwargs.get("out")
    return out if isinstance(out, tuple) else (out,)


def _stand_in(image: Image) -> np.ndarray[Any, Any]:
    """An array of an image's shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), image.dtype), image.shape)


# What follows takes the arguments that NumPy's functions take. NotImplemented: not exactly what a verb means.


def _flip(img: Image, axis: Any = None) -> Any:
    axes = set(_axes(img, axis))
    turns = {(0,): img.flip_top_bottom, (1,): img.flip_left_right, (0, 1): img.rotate180}
    turn = turns.get(tuple(sorted(axes)))
    return NotImplemented if turn is None else turn()


def _rot90(img: Image, k: int = 1, axes: Any = (0, 1)) -> Any:
    plane = _axes(img, axes)
    if set(plane) != {0, 1}:
        return NotImplemented
    quarters = (k if plane == (0, 1) else -k) % 4
    return (img.copy, img.rotate90, img.rotate180, img.rotate270)[quarters]()


def _extreme(column: int, over_bands: Callable[..., Any]) -> Callable[..., Any]:
    def extreme(img: Image, axis: Any = None, out: Any = None, **options: Any) -> Any:
        """The smallest or largest sample, of all or of each band."""
        axes = _axes(img, axis)
        if out is not None or options or not {0, 1} <= set(axes):
            return NotImplemented
        values = img.extrema().compute().reshape(img.bands, 2)[:, column]
        return over_bands(values) if len(axes) == img.ndim else values

    return extreme


def _mean(img: Image, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
    """The mean of each band; NumPy's of all bands together, and of floats, are rounded in other places."""
    if dtype is not None or out is not None or options or img.dtype.kind == "f" or set(_axes(img, axis)) != {0, 1}:
        return NotImplemented
    values = img.mean().compute()
    return values[0] if img.ndim == 2 else values


def _axes(img: Image, axis: Any) -> tuple[int, ...]:
    """Axes counted from 0. Raises NumPy's ``AxisError``."""
    return tuple(range(img.ndim)) if axis is None else tuple(normalize_axis_tuple(axis, img.ndim))


LAZY: dict[Any, Callable[..., Any]] = {
    np.flip: _flip,
    np.fliplr: lambda m: m.flip_left_right(),
    np.flipud: lambda m: m.flip_top_bottom(),
    np.rot90: _rot90,
    np.min: _extreme(0, np.min),
    np.amin: _extreme(0, np.min),
    np.max: _extreme(1, np.max),
    np.amax: _extreme(1, np.max),
    np.mean: _mean,
}
"""Functions that are verbs, and those that are statistics: the latter give numbers, as NumPy's do."""
FACTS = {
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj,
    np.empty_like, np.zeros_like, np.ones_like,
}  # fmt: skip
"""Functions that look at shapes and dtypes only."""
