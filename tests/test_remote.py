"""Files behind URLs: only what is needed is fetched, and what changed is refused."""

from __future__ import annotations

import functools
import http.server
import io
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
import tifffile

import imgrs
from imgrs.errors import ImageNotFoundError, LimitError, SourceChangedError, UnsupportedFormatError
from imgrs.io import remote
from tests.test_files import pixels


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    remote._blocks.__init__(32 << 20)  # type: ignore[misc]  # emptied
    remote._checked.cache_clear()


def tiff(side: int = 2_000) -> tuple[bytes, Any]:
    data = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(file, data, tile=(256, 256), compression="deflate", photometric="rgb")
    return file.getvalue(), data


def test_a_region_fetches_what_it_needs(memory: Any, fetched: list[int]) -> None:
    content, data = tiff()
    memory.pipe_file("/a.tif", content)
    img = imgrs.open("memory://a.tif")
    assert sum(fetched) < len(content) / 4
    np.testing.assert_array_equal(img.crop((300, 300, 500, 500)).compute(), data[300:500, 300:500])
    assert sum(fetched) < len(content) / 2
    np.testing.assert_array_equal(img.compute(), data)


def test_members_of_archives(tmp_path: Path) -> None:
    content, data = tiff(300)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("folder/a.tif", content)
    img = imgrs.open(f"zip://folder/a.tif::file://{tmp_path}/b.zip")
    np.testing.assert_array_equal(img.compute(scheduler="processes", chunks=(150, 150)), data)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(img)).compute(), data)


def test_what_changed_is_refused(memory: Any) -> None:
    content, _ = tiff(300)
    memory.pipe_file("/a.tif", content)
    img = imgrs.open("memory://a.tif")
    memory.pipe_file("/a.tif", content[:-500])
    remote._checked.cache_clear()
    remote._blocks.__init__(32 << 20)  # type: ignore[misc]  # emptied
    with pytest.raises(SourceChangedError, match=r"memory://a\.tif"):
        img.compute()


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_a_file_that_changes_during_a_run_is_refused(scheduler: str, memory: Any, tmp_path: Path) -> None:
    old, new = (np.full((600, 600, 3), value, np.uint8) for value in (1, 2))

    def written(pixels: Any) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, tile=(128, 128), photometric="rgb")
        return file.getvalue()

    def changing(tile: Any) -> Any:
        if memory.cat_file("/a.tif") == written(old):
            memory.pipe_file("/a.tif", written(new))
        return tile

    memory.pipe_file("/a.tif", written(old))
    (tmp_path / "b.tif").write_bytes(b"old")
    img = imgrs.open("memory://a.tif")
    np.testing.assert_array_equal(img.compute(), old)
    remote._blocks.__init__(32 << 20)  # type: ignore[misc]  # emptied
    options: dict[str, Any] = {"scheduler": scheduler, "chunks": (128, 128), "workers": 2}
    with pytest.raises(SourceChangedError, match=r"memory://a\.tif"):
        img.map_tiles(changing).save(tmp_path / "b.tif", **options)
    assert (tmp_path / "b.tif").read_bytes() == b"old"
    with pytest.raises(SourceChangedError, match=r"memory://a\.tif"):
        img.compute(**options)
    np.testing.assert_array_equal(imgrs.open("memory://a.tif").compute(), new)


def test_what_is_not_there_and_what_is_not_known(memory: Any) -> None:
    with pytest.raises(ImageNotFoundError):
        imgrs.open("memory://nothing.tif")
    with pytest.raises(UnsupportedFormatError, match="nosuch"):
        imgrs.open("nosuch://a.tif")


def test_saves_go_to_urls(memory: Any) -> None:
    data = pixels("uint8", 3)
    imgrs.fromarray(data).save("memory://out/a.png")
    np.testing.assert_array_equal(imgrs.open("memory://out/a.png").compute(), data)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """A web server that serves ranges, as real ones do."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range")
        start, end = 0, len(content)
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, len(content))
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"one"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(content[start:end])


class _Whole(http.server.SimpleHTTPRequestHandler):
    """Python's own web server, which sends all of a file whatever part is asked for."""

    requests: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: Any) -> None:
        self.requests.append(self.command)


class _Refuses(http.server.BaseHTTPRequestHandler):
    """A web server that answers with the status that the path names."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_error(int(self.path.strip("/").partition(".")[0]))

    do_HEAD = do_GET  # noqa: N815  # the base class looks for this name


@contextmanager
def served(handler: Any) -> Iterator[str]:
    """The address of a web server that runs meanwhile."""
    pytest.importorskip("aiohttp")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_web_server(tmp_path: Path) -> None:
    content, data = tiff(600)
    (tmp_path / "a.tif").write_bytes(content)
    with served(functools.partial(_Ranges, directory=str(tmp_path))) as address:
        img = imgrs.open(f"{address}/a.tif")
        np.testing.assert_array_equal(img.crop((10, 20, 300, 400)).compute(), data[20:400, 10:300])


def test_a_server_without_ranges_is_asked_for_the_file_once(tmp_path: Path) -> None:
    content, data = tiff(900)
    (tmp_path / "a.tif").write_bytes(content)
    assert len(content) > 4 * remote.BLOCK
    _Whole.requests.clear()
    with served(functools.partial(_Whole, directory=str(tmp_path))) as address:
        img = imgrs.open(f"{address}/a.tif")
        np.testing.assert_array_equal(img.crop((10, 20, 300, 400)).compute(), data[20:400, 10:300])
        np.testing.assert_array_equal(img.compute(), data)
        assert _Whole.requests.count("GET") == 1
        np.testing.assert_array_equal(img.compute(scheduler="processes", workers=2), data)


def test_a_long_file_of_a_server_without_ranges_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(300)[0])
    monkeypatch.setattr(remote, "WHOLE", 10_000)
    with (
        served(functools.partial(_Whole, directory=str(tmp_path))) as address,
        pytest.raises(LimitError, match=r"a\.tif: its server does not serve ranges .* download the file"),
    ):
        imgrs.open(f"{address}/a.tif")


@pytest.mark.parametrize(
    ("package", "url", "extra"), [("aiohttp", "https://example.org/a.tif", "http"), ("s3fs", "s3://bucket/a.tif", "s3")]
)
def test_without_the_package_the_message_names_the_extra(package: str, url: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import imgrs\n"
        f"try: imgrs.open({url!r})\n"
        "except imgrs.UnsupportedFormatError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'imgrs-lazy[{extra}]'" in done.stdout


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_what_a_server_refuses_is_told_with_its_status(status: int) -> None:
    with (
        served(_Refuses) as address,
        pytest.raises(UnsupportedFormatError, match=f"{address}/{status}.*{status}") as told,
    ):
        imgrs.open(f"{address}/{status}.tif")
    assert told.value.__cause__ is not None


def test_only_what_is_not_there_is_not_found() -> None:
    with served(_Refuses) as address, pytest.raises(ImageNotFoundError, match=r"no such file.*404\.tif"):
        imgrs.open(f"{address}/404.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_server_that_cannot_be_reached_is_told(name: str) -> None:
    with served(_Refuses) as address:
        pass
    with pytest.raises(UnsupportedFormatError, match=f"{address}/{name} cannot be read: .*onnect") as told:
        imgrs.open(f"{address}/{name}")
    assert isinstance(told.value.__cause__, OSError)
