"""The page about watching is true: its code runs as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "watching.md").read_text(encoding="utf-8")


def test_the_blocks_of_the_page_run_one_after_another(tmp_path: Path) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    assert code.count("\n") > 15
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert "1. save, threads" in run.stdout
    assert re.search(r"\n  time +[\d.]+ s +[\d.]+ s\n", run.stdout), run.stdout
    assert re.search(r"^compute: \d+ of \d+ tiles, 100%", run.stderr, re.MULTILINE)
    assert (tmp_path / "heat.png").stat().st_size > 0
