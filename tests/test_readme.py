"""The README is true: its code runs, and the plan that it shows is the one that is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_block_runs_as_printed_and_prints_the_plan(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    (code,) = blocks("python")
    script.write_text(code)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    environment |= {"DASK_IMGRS__WORKERS": "2", "DASK_IMGRS__MEMORY_LIMIT": "4GiB"}
    run = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    (shown,) = blocks("text")
    assert shown.startswith("graph")
    assert shown in run.stdout, run.stdout
    assert run.stdout.count("(4000, 3000) RGB") == 1  # the processes that it starts do none of it again
    assert (tmp_path / "graded.tif").stat().st_size > 0


def test_the_demo_takes_its_options_and_draws_no_bars_into_files(tmp_path: Path) -> None:
    assert "imgrs demo --side 2000 --folder" in README
    code = "from imgrs.cli import main; main()"
    command = [sys.executable, "-c", code, "demo", "--side", "256", "--folder", str(tmp_path / "demo")]
    run = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert b"\r" not in run.stdout
    assert {path.name for path in (tmp_path / "demo").iterdir()} >= {"grade.tif", "heavy_processing.tif", "preview.png"}


def test_what_the_readme_names_is_there() -> None:
    for linked in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / linked).exists(), linked
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, extra in re.findall(r"'([\w-]+)\[(\w+)\]'", README):
        assert name == project["name"]
        assert extra in project["optional-dependencies"]
    assert "imgrs-demo/" in (ROOT / ".gitignore").read_text().split()


def test_the_set_up_commands_are_one_line_each() -> None:
    assert len(blocks("sh")) == 2
    for command in blocks("sh"):
        assert len(command.strip().splitlines()) == 1
