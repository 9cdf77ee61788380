"""How Sphinx makes the site of these pages: ``sphinx-build -W docs site``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import imgrs  # noqa: E402  # of this checkout

project = "imgrs"
version = release = imgrs.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "before_after"]
html_theme = "furo"
html_title = "imgrs"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
exclude_patterns = ["pictures", "site"]
suppress_warnings = ["ref.python"]  # the type "bytes" is taken for attributes of that name

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"npt.ArrayLike": "ArrayLike", "npt.DTypeLike": "DTypeLike"}
autodoc_default_options = {"members": True}
maximum_signature_line_length = 90


def list_others(app: Any, page: str, source: list[str]) -> None:
    """Put the pages that the index does not name where it says ``{others}``."""
    if page == "index":
        here = sorted(path.stem for path in Path(__file__).parent.glob("*.md"))
        others = [name for name in here if name != "index" and f"\n{name}\n" not in source[0]]
        source[0] = source[0].replace("{others}\n", "".join(f"{name}\n" for name in others))


def setup(app: Any) -> None:
    app.connect("source-read", list_others)
