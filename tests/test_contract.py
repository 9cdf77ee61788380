"""What every op must keep, found without being registered: its spec, its tiles, its inputs, its key, its errors."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pickle
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imgrs import compiled
from imgrs.errors import ArgumentError
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Fold, Op, Sample
from imgrs.ops.color import AsType, Convert, HueRotate, Saturate, Sepia
from imgrs.ops.filter import Blur, BoxBlur, Sharpen
from imgrs.ops.geometry import Crop, Pad
from imgrs.ops.resample import Resize
from imgrs.ops.tone import Brightness, Contrast, ExposureAdjust, Gamma, Levels, Posterize
from imgrs.plan.program import program_of
from imgrs.run.tile import Block, compute_tile
from imgrs.types import Region, Tile
from tests.examples import KINDS, SIZE, applications, example, image, op_classes
from tests.oracle import evaluate

OPS = op_classes()
each_op = pytest.mark.parametrize("cls", OPS, ids=lambda cls: cls.name)


def tiled(node: Node, cuts: list[Region], noise: bool = False) -> npt.NDArray[Any]:
    """The node's pixels, computed tile by tile from arrays; with ``noise``, each tile gets only what it demands."""
    if isinstance(node.op, Fold):
        return gathered(node)
    sources = [n for n in walk([node]) if not n.inputs]
    arrays = {i: evaluate(source) for i, source in enumerate(sources)}
    program, order = program_of([node], {source: i for i, source in enumerate(sources)})
    program = program.prepared()
    out = np.empty((node.spec.height, node.spec.width, node.spec.bands), node.spec.dtype)
    for region in cuts:
        blocks = {slot: [Block(sources[slot].spec.region, array)] for slot, array in arrays.items()}
        if noise:
            needs = program.demand([region])
            for step_node, regions in zip(order, needs, strict=True):
                if step_node in sources:
                    slot = sources.index(step_node)
                    blocks[slot] = [Block(step_node.spec.region, _elsewhere_noise(arrays[slot], regions))]
        out[region.top : region.bottom, region.left : region.right] = compute_tile(program, [region], blocks)[0]
    return out


def gathered(node: Node) -> npt.NDArray[Any]:
    """A statistic from ragged tiles, combined last to first."""
    fold = node.op
    assert isinstance(fold, Fold)
    (source,) = node.inputs
    pixels = evaluate(source)
    tiles = [Tile(r, pixels[r.top : r.bottom, r.left : r.right], source.spec) for r in ragged(source.spec.region)]
    first, *rest = [fold.partial(tile) for tile in reversed(tiles)]
    return fold.finish(functools.reduce(fold.combine, rest, first), source.spec)


def _elsewhere_noise(array: npt.NDArray[Any], regions: list[Region]) -> npt.NDArray[Any]:
    noisy = np.random.default_rng(5).permuted(array.reshape(-1)).reshape(array.shape)
    for r in regions:
        noisy[r.top : r.bottom, r.left : r.right] = array[r.top : r.bottom, r.left : r.right]
    return noisy


def ragged(region: Region) -> list[Region]:
    rows = sorted({min(r, region.bottom) for r in (0, 5, 6, region.bottom // 2, region.bottom)})
    columns = sorted({0, min(1, region.right), region.right // 3, region.right})
    return [
        Region(left, top, right, bottom)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
        if right > left and bottom > top
    ]


@each_op
def test_spec_is_true(cls: type[Op]) -> None:
    seen = 0
    for node in applications(cls):
        pixels = evaluate(node)
        assert pixels.shape == (node.spec.height, node.spec.width, node.spec.bands), node.inputs[0].spec
        assert pixels.dtype == node.spec.dtype
        seen += 1
    assert seen, f"{cls.name} takes none of the kinds of image that the tests try"


@each_op
def test_tiles_equal_the_whole(cls: type[Op]) -> None:
    for node in applications(cls):
        whole = evaluate(node)
        for side in (7, 16, 33, 64):
            np.testing.assert_array_equal(tiled(node, list(node.spec.region.tiles((side, side)))), whole, str(side))
        np.testing.assert_array_equal(tiled(node, ragged(node.spec.region)), whole, "ragged")


SLACK = 9 << 20
"""Bytes that an op may take whatever the size: tables, and the blocks that it works in."""


@each_op
def test_no_op_takes_more_memory_than_it_says(cls: type[Op], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORTH", 0)  # the form for large images, also on these
    for node in applications(cls):
        inputs = [image(dataclasses.replace(i.spec), k, (900, 700)) for k, i in enumerate(node.inputs) if not i.inputs]
        large = Node(node.op, *inputs, *(Node(i.op, inputs[0]) for i in node.inputs if i.inputs))
        sources = [i.spec for i in large.inputs]
        tiles = [Tile(i.spec.region, evaluate(i), i.spec) for i in large.inputs]
        prepared = large.op.prepare(*sources)
        large.op.compute(large.spec.region, tiles, large.spec, prepared)  # what is loaded and compiled stays
        tracemalloc.start()
        try:
            large.op.compute(large.spec.region, tiles, large.spec, prepared)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        taken = sum(spec.region.area for spec in sources)
        said = large.op.working_bytes(large.spec.region.area, taken, large.spec, *sources)
        assert peak <= large.spec.nbytes + said + SLACK, (large.op, str(sources[0]), peak - large.spec.nbytes - said)


IDENTITIES: tuple[Op, ...] = (
    *(Resize(SIZE, resample) for resample in ("nearest", "bicubic", "lanczos")),
    Crop((0, 0, *SIZE)), Pad((0, 0, 0, 0)), Blur(0), BoxBlur(0), Sharpen(0),
    Brightness(0), Contrast(1), Gamma(1), ExposureAdjust(0), Posterize(8), Levels(),
    Saturate(1), HueRotate(0), Sepia(0), Convert("RGBA"), Convert("L"), AsType("uint8"), AsType("float32"),
)  # fmt: skip
"""Ops with the parameters at which they do nothing to some kinds of image."""
SMALLER: dict[str, dict[str, Any]] = {"crop": {"box": (1, 1, 5, 4)}, "resize": {"size": (4, 7)}}
"""Parameters that an image of 6 x 5 pixels allows, for ops whose examples want a larger one."""


@each_op
def test_single_pixels_equal_the_whole_of_a_tiny_image(cls: type[Op]) -> None:
    for node in applications(cls):
        inputs = [image(dataclasses.replace(i.spec), k, (6, 5)) for k, i in enumerate(node.inputs) if not i.inputs]
        rest = [Node(i.op, inputs[0]) for i in node.inputs if i.inputs]
        op = dataclasses.replace(node.op, **SMALLER.get(node.op.name, {}))  # type: ignore[type-var]  # a dataclass
        tiny = Node(op, *inputs, *rest)
        np.testing.assert_array_equal(tiled(tiny, list(tiny.spec.region.tiles((1, 1)))), evaluate(tiny))


@each_op
def test_pixels_outside_the_demand_change_nothing(cls: type[Op]) -> None:
    for node in applications(cls):
        cuts = list(node.spec.region.tiles((19, 23)))
        np.testing.assert_array_equal(tiled(node, cuts, noise=True), evaluate(node))


@each_op
def test_inputs_are_left_alone(cls: type[Op]) -> None:
    for node in applications(cls):
        before = [evaluate(i) for i in node.inputs]
        evaluate(node)
        for array, source in zip(before, node.inputs, strict=True):
            np.testing.assert_array_equal(array, evaluate(source))


@each_op
def test_pickles(cls: type[Op]) -> None:
    for node in applications(cls):
        again = pickle.loads(pickle.dumps(node))
        assert again.key == node.key
        assert again.op == node.op
        np.testing.assert_array_equal(evaluate(again), evaluate(node))
        break


def test_encodings_are_equal_in_another_process() -> None:
    script = "from tests.examples import op_classes, example\nfor c in op_classes(): print(example(c).encoded.hex())"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [example(cls).encoded.hex() for cls in OPS]


@each_op
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "x", None, 1e30], ids=repr)
def test_bad_numbers_are_refused_by_name(cls: type[Op], bad: object) -> None:
    op = example(cls)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # op_classes gives dataclasses only
        value = getattr(op, field.name)
        optional = bad is None and field.default is None
        unbounded = bad == 1e30 and (cls.name, field.name) in UNBOUNDED
        if "check" not in field.metadata or isinstance(value, (str, bool)) or optional or unbounded:
            continue
        if not isinstance(value, (int, float)):
            continue
        with pytest.raises(ArgumentError, match=rf"{cls.name}: {field.name} "):
            dataclasses.replace(op, **{field.name: bad})  # type: ignore[type-var]  # an op is a dataclass


UNBOUNDED = {
    ("contrast", "factor"), ("saturate", "amount"), ("hue_rotate", "degrees"), ("with_number", "value"),
}  # fmt: skip
"""Parameters that take any finite number, or any positive one."""


@each_op
def test_other_images_are_refused_with_a_way_out(cls: type[Op]) -> None:
    op = example(cls)
    for kind in KINDS:
        spec = image(kind).spec
        if spec not in op.takes:
            with pytest.raises(ArgumentError, match=r"first"):
                op.check([spec])


@pytest.mark.parametrize("cls", [c for c in OPS if issubclass(c, Sample)], ids=lambda cls: cls.name)
def test_affine_forms_agree_with_their_curves(cls: type[Op]) -> None:
    op = example(cls)
    assert isinstance(op, Sample)
    if op.affine is not None:
        x = np.linspace(0, 255, 100)
        np.testing.assert_allclose(op.affine[0] * x + op.affine[1], op.curve(x), atol=1e-9)


@pytest.mark.parametrize("op", IDENTITIES, ids=lambda op: op.name)
def test_what_claims_to_do_nothing_changes_no_bit(op: Op) -> None:
    claimed = 0
    for kind in KINDS:
        before = image(kind)
        try:
            after = Node(op, before)
        except ArgumentError:
            continue
        if op.does_nothing(before.spec):
            np.testing.assert_array_equal(evaluate(after), evaluate(before), str(kind))
            claimed += 1
    assert claimed
