"""The directive of the gallery: shows code, a photograph, and what the code makes of it.

The code is Python, with ``img`` (the photograph) and what ``NAMES`` holds. The pictures are computed when the site
is made, so none can show what the library does not do.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import imgrs

SIZE = (300, 200)
"""Of a photograph, in pixels; results are shown at their own size."""
PHOTOGRAPHS = ("coffee", "chelsea", "rocket", "astronaut")
"""Photographs that scikit-image carries in its package, in the public domain or under CC0."""


@cache
def photograph(name: str) -> imgrs.Image:
    """One of ``PHOTOGRAPHS``, cut and shrunk to ``SIZE``."""
    import skimage.data

    img = imgrs.fromarray(np.asarray(getattr(skimage.data, name)()))
    width, height = SIZE
    across, down = min(img.width, img.height * width // height), min(img.height, img.width * height // width)
    left, top = (img.width - across) // 2, (img.height - down) // 2
    return imgrs.fromarray(img.resize(SIZE, box=(left, top, left + across, top + down)).compute())


def names(photo: str) -> dict[str, Any]:
    """What code may name."""
    x, y = np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]))
    spot = imgrs.fromarray((255 * np.clip(2 - 2 * np.hypot(x, y), 0, 1)).astype(np.uint8))
    return {"imgrs": imgrs, "np": np, "img": photograph(photo), "other": photograph("rocket"), "spot": spot}


def pair(code: str, photo: str) -> tuple[imgrs.Image, imgrs.Image]:
    """The images before and after: the last line is an expression, lines above it may make another ``img`` first.

    Raises ``TypeError`` where it makes no image.
    """
    scope = names(photo)
    *first, last = code.strip().splitlines()
    exec("\n".join(first), scope)  # code of a page of ours
    made = eval(last, scope)
    if not isinstance(made, imgrs.Image):
        raise TypeError(f"{last} makes {type(made).__name__}, not an image")
    return scope["img"], made


def said(code: str) -> str:
    """The first paragraph of what the last method of some code says of itself."""
    method = getattr(imgrs.Image, re.findall(r"\.(\w+)\(", code)[-1])
    return (inspect.getdoc(method) or "").partition("\n\n")[0]


class BeforeAfter(SphinxDirective):
    """``{before-after}``: code, as for ``pair``, and what its last method says of itself, unless ``:silent:``.

    ``:photo:`` is one of ``PHOTOGRAPHS``.
    """

    has_content = True
    option_spec: ClassVar[Any] = {  # as docutils has it
        "photo": lambda value: directives.choice(value, PHOTOGRAPHS),
        "silent": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        box = nodes.container(classes=["before-after"])
        if "silent" not in self.options:
            box += self.parse_text_to_nodes(said(code))
        box += nodes.literal_block(code, code, language="python")
        both = nodes.container(classes=["pair"])
        both += [self.picture(img) for img in pair(code, self.options.get("photo", PHOTOGRAPHS[0]))]
        box += both
        return [box]

    def picture(self, image: imgrs.Image) -> nodes.image:
        folder = Path(self.env.srcdir) / "pictures"
        folder.mkdir(exist_ok=True)
        path = folder / f"{image.key[:16]}.png"
        image.astype("uint8").save(path)
        uri = f"/pictures/{path.name}"
        return nodes.image(uri=uri, alt=f"{image.width} x {image.height} pixels", candidates={"*": uri})


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("before-after", BeforeAfter)
    return {"parallel_read_safe": True}
