"""Each rule on its case: the listing before and after, and the same pixels. A rule without a case here fails a test."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import imgrs
from imgrs.graph.node import Node, walk
from imgrs.graph.rewrite import RewriteError, View, rewrite, rule
from imgrs.graph.text import listing
from imgrs.image import Image
from imgrs.ops.geometry import Crop
from imgrs.ops.tone import Brightness
from imgrs.optimize import PASSES, optimize
from tests.oracle import evaluate

Array = npt.NDArray[Any]


@pytest.fixture
def img(photo: Array) -> Image:
    return imgrs.fromarray(photo[:40, :50])


def ops(*outputs: Node) -> str:
    """The listing, without specs and numbers of what comes first."""
    text = listing(outputs)
    return "\n".join(re.sub(r"\s{2,}.*", "", line) for line in text.splitlines()[1:])


CASES: dict[str, tuple[Callable[[Image], Image], str]] = {
    "drop_noops": (lambda img: img.brightness(0).contrast(1).saturate(1).sharpen(0).resize((50, 40), "bicubic"), ""),
    "merge_crops": (
        lambda img: img.crop((5, 6, 45, 36)).crop((1, 2, 30, 20)),
        "%2 = crop(%1, (6, 8, 35, 26))",
    ),
    "compose_turns": (
        lambda img: img.rotate90().flip_left_right().rotate90().transpose("transverse"),
        "%2 = transpose(%1, 'rotate_270')",
    ),
    "maps_before_points": (
        lambda img: img.crop((2, 3, 40, 35)).gamma(2).rotate90().saturate(1.5).rotate270().crop((1, 1, 20, 20)),
        "%2 = crop(%1, (3, 4, 22, 23))\n%3 = point_run(%2, (gamma(2), saturate(1.5)))",
    ),
    "merge_tones": (
        lambda img: img.brightness(20).contrast(1.2).gamma(1.4),
        "%2 = table(%1, 'uint8', ('brightness', 'contrast', 'gamma'))",
    ),
    "points_before_maps": (
        lambda img: img.brightness(20).pad(3, color=(250, 0, 9)).resize((112, 92), "nearest").contrast(1.2),
        "%2 = table(%1, 'uint8', ('brightness', 'contrast'))\n"
        "%3 = pad(%2, (3, 3, 3, 3), color=(255, 0, 0))\n"
        "%4 = resize(%3, (112, 92), resample='nearest')",
    ),
    "fuse_points": (
        lambda img: img.brightness(20).saturate(1.2).sepia(),
        "%2 = point_run(%1, (brightness(20), saturate(1.2), sepia()))",
    ),
    "project_band": (
        lambda img: img.brightness(20).split()[1],
        "%2 = point_run(%1, (band(1), brightness(20)))",
    ),
    "fold_constants": (
        lambda img: img.blend("normal", imgrs.new("RGB", (20, 10), (9, 8, 7)).brightness(1).rotate90().sepia(0.5)),
        "%2 = new((11, 10, 8))\n%3 = blend(%1, %2)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_do_what_they_say(name: str, img: Image) -> None:
    build, expected = CASES[name]
    built = build(img)
    (after,), trace = optimize((built._node,), "exact")
    assert name in {firing.rule for firing in trace}
    assert ops(after) == expected
    np.testing.assert_array_equal(evaluate(after), evaluate(built._node))


def test_every_exact_rule_has_a_case() -> None:
    assert {r.name for rules in PASSES for r in rules if r.tolerance is None} == set(CASES)


def test_every_rule_states_its_law_and_promise() -> None:
    for rules in PASSES:
        for r in rules:
            assert r.law.endswith(".")
            assert r.promise


def test_affine_warps_merge_only_where_allowed_and_nothing_was_cut_off(img: Image) -> None:
    turned = img.rotate(10, expand=True).rotate(20, expand=True)
    (exact,), _ = optimize((turned._node,), "exact")
    (fast,), trace = optimize((turned._node,), "fast")
    assert [node.op.name for node in walk([exact])].count("affine") == 2
    assert [node.op.name for node in walk([fast])].count("affine") == 1
    assert "two" in trace[0].promise
    difference = np.abs(evaluate(fast).astype(int) - evaluate(exact))
    assert np.median(difference) <= 3
    (cut,), _ = optimize((img.rotate(45).rotate(-45)._node,), "fast")
    assert [node.op.name for node in walk([cut])].count("affine") == 2


def test_jpegs_shrink_while_loading_only_where_allowed(photo: Array, tmp_path: Any) -> None:
    path = tmp_path / "photo.jpg"
    imgrs.fromarray(photo).save(path, quality=95)
    small = imgrs.open(path).resize((60, 40))
    assert "shrink=" not in listing(optimize((small._node,), "exact")[0])
    assert "shrink=2" in listing(optimize((small._node,), "fast")[0])
    difference = np.abs(small.compute(optimizer="fast").astype(int) - small.compute(optimizer="exact"))
    assert difference.mean() < 2


def test_a_float_round_trip_is_kept(img: Image) -> None:
    trip = img.astype("float32").brightness(200).astype("uint8").astype("float32")
    (after,), _ = optimize((trip._node,), "exact")
    np.testing.assert_array_equal(evaluate(after), evaluate(trip._node))
    assert evaluate(after).max() <= 1


def test_shared_nodes_are_not_merged_into_one_consumer(img: Image) -> None:
    shared = img.brightness(20)
    pair = (shared.contrast(1.2)._node, shared.blur(1)._node)
    after, _ = optimize(pair, "exact")
    assert sum(isinstance(node.op, Brightness) for node in walk(after)) == 1


def test_equal_subgraphs_become_one(img: Image) -> None:
    both = img.blur(2).blend("normal", img.blur(2).crop((0, 0, 9, 9)))
    (after,), _ = optimize((both._node,), "exact")
    assert [node.op.name for node in walk([after])].count("blur") == 1


def test_off_changes_nothing(img: Image) -> None:
    node = img.brightness(0)._node
    assert optimize((node,), "off") == ((node,), ())


def test_rules_that_never_end_are_stopped(img: Image) -> None:
    @rule
    def grow(node: Node, view: View) -> Node | None:
        """Grows for ever."""
        return Node(Brightness(1), node) if isinstance(node.op, Brightness) else None

    with pytest.raises(RewriteError, match="do not end"):
        rewrite([img.brightness(1)._node], [[grow]])


def test_a_rule_that_changes_the_image_is_caught(img: Image) -> None:
    @rule
    def shrink(node: Node, view: View) -> Node | None:
        """Cuts a corner."""
        return Node(Crop((0, 0, 5, 5)), node.inputs[0]) if isinstance(node.op, Brightness) else None

    with pytest.raises(RewriteError, match="shrink changed"):
        rewrite([img.brightness(1)._node], [[shrink]])


def test_long_chains_of_pastes_optimize(img: Image) -> None:
    layers = img
    for i in range(1_000):
        layers = layers.blend("normal", img.crop((0, 0, 3, 3)), position=(i % 40, i % 30))
    (after,), _ = optimize((layers._node,), "exact")
    np.testing.assert_array_equal(evaluate(after), evaluate(layers._node))
