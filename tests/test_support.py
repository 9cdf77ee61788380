"""The support matrix: which op takes which kind of image. ``python -m tests.test_support`` writes docs/support.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imgrs.errors import ArgumentError
from imgrs.graph.op import Op
from tests.examples import KINDS, applications, example, image, op_classes
from tests.oracle import evaluate

PAGE = Path(__file__).parent.parent / "docs" / "support.md"
INTERNAL = {"point_run", "table"}


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
