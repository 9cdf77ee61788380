"""Machine code of loops: compiled once, kept on disk, and loaded without numba."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imgrs import machine_code
from imgrs.compiled import Loop, loop, part

FACTOR = 3

Array = npt.NDArray[Any]


@part
def _scaled(value: Any) -> Any:
    return value * FACTOR


@loop
def _scale(source: Array, added: Any, limit: Any, out: Array) -> None:
    for y in range(source.shape[0]):
        for x in range(source.shape[1]):
            value = _scaled(source[y, x]) + added
            if limit is not None:
                value = min(value, limit)
            out[y, x] = value


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for machine code."""
    monkeypatch.setenv("IMGRS_CACHE_DIR", str(tmp_path / "code"))
    return tmp_path / "code"


def fresh(function: Callable[..., None] = _scale.function) -> Loop[...]:
    """A loop that has loaded nothing yet."""
    return Loop(function)


SOURCE = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int64"])
@pytest.mark.parametrize("limit", [None, 20, np.float32(20.5)])
def test_every_type_of_argument(dtype: str, limit: Any) -> None:
    source, out = SOURCE.astype(dtype), np.zeros((3, 4))
    fresh()(source, np.int64(2), limit, out)
    expected = source.astype(float) * 3 + 2
    assert np.array_equal(out, expected if limit is None else np.minimum(expected, limit))


def compiles() -> bool:
    """Whether another process that runs the loop, and checks what it makes, needs numba."""
    code = (
        "import sys, numpy, tests.test_machine_code as t;"
        "out = numpy.zeros((3, 4)); t._scale(t.SOURCE, 1, None, out);"
        "assert (out == t.SOURCE * 3 + 1.0).all(); print('numba' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.strip() == "True"


def test_what_was_compiled_is_loaded_without_numba(folder: Path) -> None:
    assert [compiles(), compiles()] == [True, False]
    assert [path.suffix for path in folder.iterdir()] == [".o"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:40] + b"x" + data[41:], lambda data: b""]
)
def test_damaged_code_is_made_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    assert compiles()
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert [compiles(), compiles()] == [True, False]


def test_code_goes_with_what_it_was_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    out = np.zeros((3, 4))
    fresh()(SOURCE, 1, None, out)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 5)
    fresh()(SOURCE, 1, None, out)
    assert np.array_equal(out, SOURCE * 5.0 + 1)


def test_where_nothing_can_be_kept_it_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMGRS_CACHE_DIR", str(tmp_path / "file"))
    assert [compiles(), compiles()] == [True, True]


def test_arrays_with_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match="C-contiguous"):
        fresh()(SOURCE.T, 1, None, np.zeros((4, 3)))


def test_the_folder_is_the_users_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_code.folder() == Path(os.environ["IMGRS_CACHE_DIR"])
    monkeypatch.delenv("IMGRS_CACHE_DIR")
    assert machine_code.folder().name == "imgrs"


def test_many_threads_may_ask_for_the_first_code_at_once(folder: Path) -> None:
    code = (
        "import functools, numpy, threading, time, tests.test_machine_code as t\n"
        "from imgrs import machine_code\n"
        "from imgrs.compiled import Loop\n"
        "from imgrs.kernels import lookup\n"
        "start, table = threading.Barrier(8), numpy.arange(255, -1, -1, dtype=numpy.uint8)\n"
        "engines, make = [], machine_code._engine.__wrapped__\n"
        "def made():\n"
        "    time.sleep(0.2)\n"
        "    engines.append(make())\n"
        "    return engines[-1]\n"
        "machine_code._engine = functools.cache(made)\n"
        "def work(i):\n"
        "    out, image = numpy.zeros((3, 4)), numpy.full((5, 70, 3), i, numpy.uint8)\n"
        "    start.wait()\n"
        "    if i % 2 or not lookup._lanes():\n"
        "        Loop(t._scale.function)(t.SOURCE, 1, None, out)\n"
        "        assert (out == t.SOURCE * 3 + 1.0).all()\n"
        "    else:\n"
        "        lookup.apply(image, table, 3, image)\n"
        "        assert (image == 255 - i).all()\n"
        "    right.append(i)\n"
        "right, threads = [], [threading.Thread(target=work, args=(i,)) for i in range(8)]\n"
        "[thread.start() for thread in threads], [thread.join() for thread in threads]\n"
        "print(len(right), len(engines))"
    )
    for _ in range(3):  # compiled first, and then loaded
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert run.stdout.strip() == "8 1"
