"""docs/recipes.md is true: its blocks run in order, and leave and print what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import imgrs
from imgrs.io import formats

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_run_and_print_what_the_page_shows(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("".join(blocks("python")))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    (shown,) = blocks("text")
    printed = re.findall(r"print\(.*\)  # (.*)", script.read_text())
    assert run.stdout == shown + "".join(f"{line}\n" for line in printed)
    (written,) = blocks("json")
    assert (tmp_path / "grade.json").read_text() == written
    for made in ("graded.png", "gray.png", "stamped.png", "done.jpg", "again.jpg"):
        assert imgrs.open(tmp_path / made).size
    assert imgrs.open(tmp_path / "gray.png").size == (200, 150)


def test_the_formats_that_hold_a_recipe_are_those_of_the_page() -> None:
    names = {"WEBP": "WebP", "JXL": "JPEG XL", "JPEG2000": "JPEG 2000"}
    (sentence,) = re.findall(r"^(.*) can hold one, JPEG up to 64 KiB\.$", PAGE, re.MULTILINE)
    holding = [
        names.get(f.name, f.name) for f in formats() if f.is_written and "xmp" in f.options and f.name != "OME-TIFF"
    ]
    assert sentence.replace(" and ", ", ").split(", ") == holding
