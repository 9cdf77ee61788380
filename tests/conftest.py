"""The suite's options: a second way to run it, photographs, and pools that live as long as the session."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import numpy as np
import numpy.typing as npt
import pytest

import imgrs
from imgrs.io import remote
from imgrs.io.tiff.read import TiffReader
from tests import peaks
from tests.trial import Trial

TINY = os.environ.get("IMGRS_TEST_TINY") == "1"


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so does a shell start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def tiny_tiles() -> Iterator[None]:
    """With ``IMGRS_TEST_TINY=1`` the defaults are tiny tiles and no optimizer; plan tests set their own."""
    if not TINY:
        yield
        return
    with dask.config.set({"imgrs.chunks": (48, 40), "imgrs.optimizer": "off"}):
        yield


@pytest.fixture
def usual_options(tiny_tiles: None) -> Iterator[None]:
    """The options that hold unless others are given, also where the suite has others."""
    with dask.config.set({"imgrs.chunks": None, "imgrs.optimizer": "exact"}):
        yield


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of each tile or strip of a TIFF that this process decodes."""
    found: list[int] = []
    real = TiffReader._decoded

    def counted(self: TiffReader, page: Any, index: int) -> Any:
        found.append(index)
        return real(self, page, index)

    monkeypatch.setattr(TiffReader, "_decoded", counted)
    return found


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each part of a file behind a URL has that this process fetches."""
    found: list[int] = []
    real = remote.UrlResource._fetched

    def counted(self: remote.UrlResource, start: int, end: int) -> Any:
        found.append(end - start)
        return real(self, start, end)

    monkeypatch.setattr(remote.UrlResource, "_fetched", counted)
    return found


@pytest.fixture(scope="session")
def photo() -> npt.NDArray[Any]:
    """A photograph: (300, 451, 3) uint8."""
    import skimage.data

    return np.asarray(skimage.data.chelsea())


@pytest.fixture
def photo_tiff(photo: npt.NDArray[Any], tmp_path: Path) -> Path:
    """The photograph as a TIFF of small tiles."""
    path = tmp_path / "photo.tif"
    imgrs.fromarray(photo).save(path, tile=64)
    return path


@pytest.fixture(scope="session")
def trial() -> Iterator[Trial]:
    """A process that opens files that may kill it."""
    with Trial() as process:
        yield process


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The pictures whose peaks are measured, in every form; removed in the end, as it is large."""
    folder = tmp_path_factory.mktemp("peaks")
    for side in peaks.SIDES:
        peaks.made(folder, side)
    yield folder
    shutil.rmtree(folder)
