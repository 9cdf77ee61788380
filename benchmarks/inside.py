"""The process that does one job: ``python -P inside.py JOB RESULT``, two files of JSON.

It runs in the interpreter of the peer, which may be that of another environment: this folder is loaded as the package
``benchmarks`` from where it is, and nothing beside it becomes importable.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def _as_package() -> None:
    spec = importlib.util.spec_from_file_location(
        "benchmarks", HERE / "__init__.py", submodule_search_locations=[str(HERE)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["benchmarks"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


def main() -> None:
    started = time.perf_counter()
    if "benchmarks" not in sys.modules:
        _as_package()
    from benchmarks import doing
    from benchmarks.job import Job

    job = Job.of(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(doing.done(job, started).text(), encoding="utf-8")


if __name__ == "__main__":
    main()
