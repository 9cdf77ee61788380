"""The support matrix: which op takes which kind of image. ``python -m tests.test_support`` writes docs/support.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imgrs
from imgrs.errors import ArgumentError
from imgrs.graph.op import Op
from tests.examples import KINDS, applications, example, image, op_classes
from tests.oracle import evaluate

PAGE = Path(__file__).parent.parent / "docs" / "support.md"
INTERNAL = {"point_run", "table"}
WRITTEN = {
    "absolute": ["abs(img)"],
    "affine": ["img.rotate(angle)"],
    "band": ["img.split()", "img.getchannel(channel)", "img[:, :, band]"],
    "combine": ["img + other", "img - other", "img * other"],
    "with_number": ["img + 3", "3 - img", "img * 2"],
    "merge": ["imgrs.merge(mode, images)"],
}
"""How operations come about that are not methods of their names."""


def taken(cls: type[Op]) -> set[str]:
    """The kinds that the op's example was really applied to, each by its name in the page."""
    found = set()
    usual = example(cls)
    for node in applications(cls):
        if node.op != usual:
            continue
        assert np.isfinite(evaluate(node).astype(np.float64)).all()
        found.add(label(node.inputs[0].spec))
    return found


def label(spec: object) -> str:
    mode, dtype = str(spec).split()[1:]
    return f"{mode} {dtype}"


def page() -> str:
    kinds = [label(image(kind).spec) for kind in KINDS]
    lines = [
        "# Which operation takes which kind of image",
        "",
        "Made by `python -m tests.test_support`, by running every operation on every kind.",
        "What is not marked raises an `ArgumentError` that names the way out.",
        "Each is the method of `Image` of that name, except for these:",
        "",
        *(f"- `{name}`: {', '.join(f'`{code}`' for code in codes)}" for name, codes in WRITTEN.items()),
        "",
        f"| operation | {' | '.join(kinds)} |",
        f"|---|{'---|' * len(kinds)}",
    ]
    for cls in op_classes():
        if cls.name not in INTERNAL:
            marks = taken(cls)
            lines.append(f"| `{cls.name}` | {' | '.join('x' if kind in marks else ' ' for kind in kinds)} |")
    return "\n".join(lines) + "\n"


def test_the_page_is_what_the_ops_do() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_each_operation_is_a_method_or_is_said_to_come_about_otherwise() -> None:
    img, other = imgrs.new("RGB", (4, 3), 7), imgrs.new("RGB", (4, 3), 9)
    methods = {cls.name for cls in op_classes() if cls.name not in INTERNAL and hasattr(imgrs.Image, cls.name)}
    assert methods | set(WRITTEN) == {cls.name for cls in op_classes()} - INTERNAL
    assert not methods & set(WRITTEN)
    made = {
        "absolute": [abs(img)],
        "affine": [img.rotate(30)],
        "band": [*img.split(), img.getchannel("R"), img[:, :, 1]],
        "combine": [img + other, img - other, img * other],
        "with_number": [img + 3, 3 - img, img * 2],
        "merge": [imgrs.merge("RGB", img.split())],
    }
    assert {name: {one._node.op.name for one in images} for name, images in made.items()} == {
        name: {name} for name in WRITTEN
    }


def test_what_is_not_supported_raises() -> None:
    from imgrs.ops.tone import Brightness

    for kind in KINDS:
        node = image(kind)
        if label(node.spec) in taken(Brightness):
            continue
        with pytest.raises(ArgumentError, match="first"):
            Brightness(3).check([node.spec])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
