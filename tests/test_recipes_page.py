"""What docs/recipes.md says in prose; its blocks are run with those of all pages."""

from __future__ import annotations

import re
from pathlib import Path

from imgrs.io import formats

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_the_formats_that_hold_a_recipe_are_those_of_the_page() -> None:
    names = {"WEBP": "WebP", "JXL": "JPEG XL", "JPEG2000": "JPEG 2000", "ZARR": "Zarr"}
    (sentence,) = re.findall(r"^(.*) can hold one, JPEG up to 64 KiB\.$", PAGE, re.MULTILINE)
    holding = [
        names.get(f.name, f.name) for f in formats() if f.is_written and "xmp" in f.options and f.name != "OME-TIFF"
    ]
    assert sentence.replace(" and ", ", ").split(", ") == holding
