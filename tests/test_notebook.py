"""What notebooks show of an image: a preview where it is cheap, facts, the graph; and never a computed image or an error."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dask.array
import fsspec
import numpy as np
import numpy.typing as npt
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image as Pillow

import imgrs
from imgrs import notebook
from imgrs.image import Image
from imgrs.ops.source import Open

Array = npt.NDArray[Any]


def html_of(image: Image) -> str:
    found: str = image._repr_mimebundle_()["text/html"]
    return found


def displayed(image: Image, **options: Any) -> dict[str, str]:
    """What IPython sends to a notebook."""
    formatter: Any = DisplayFormatter()  # untyped
    data: dict[str, str] = formatter.format(image, **options)[0]
    return data


def picture_in(html: str) -> Array | None:
    """The pixels of the picture in a page, None where it has none."""
    found = re.search(r'src="data:image/png;base64,([^"]*)"', html)
    return None if found is None else np.asarray(Pillow.open(io.BytesIO(base64.b64decode(found[1]))))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pixels each decoding of a file makes, as they come."""
    areas: list[int] = []

    def counted(name: str, area: Callable[..., int]) -> None:
        original = getattr(Open, name)

        def wrapper(self: Open, *args: Any) -> Any:
            areas.append(area(self, *args))
            return original(self, *args)

        monkeypatch.setattr(Open, name, wrapper)

    def whole(op: Open, *args: Any) -> int:
        return op.infer().region.area

    counted("read", lambda op, region: region.area)
    counted("strips", whole)
    counted("decode_into", whole)
    return areas


def test_ipython_shows_the_repr_and_a_page_with_the_preview(photo: Array) -> None:
    img = imgrs.fromarray(photo).resize((1500, 1000)).saturate(1.3)
    data = displayed(img)
    assert data["text/plain"] == repr(img)
    assert set(data) == {"text/plain", "text/html"}
    shown = picture_in(data["text/html"])
    assert shown is not None
    assert shown.shape == (341, 512, 3)
    np.testing.assert_array_equal(shown, img.preview(512).compute())


def test_a_png_is_given_where_it_is_asked_for(photo: Array) -> None:
    img = imgrs.fromarray(photo)
    data = displayed(img, include={"image/png"})
    assert set(data) == {"image/png"}
    np.testing.assert_array_equal(np.asarray(Pillow.open(io.BytesIO(base64.b64decode(data["image/png"])))), photo)
    assert set(img._repr_mimebundle_(exclude={"text/html"})) == {"text/plain"}


def test_the_facts_and_the_graph_are_shown(photo_tiff: Path) -> None:
    img = imgrs.open(photo_tiff).resize((900, 600)).blur(2).sharpen()
    html = html_of(img)
    for fact in ("900 x 600 pixels", "RGB", "uint8", f"{photo_tiff} (TIFF)", "of memory", "read from files"):
        assert fact in html
    (graph,) = re.findall(r"<details[^>]*><summary[^>]*>Graph of 4 nodes</summary><pre[^>]*>(.*?)</pre>", html, re.S)
    assert unescape(graph) == img.listing()
    assert "Approximate in this preview: " in html
    assert "sharpen() at" in html
    assert "<script" not in html


class Balance(HTMLParser):
    """Checks that every tag that is opened is closed, innermost first."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_names_are_escaped_and_tags_balanced(tmp_path: Path) -> None:
    path = tmp_path / "<b>&x.png"
    imgrs.new("RGB", (40, 30), 7).save(path)
    html = html_of(imgrs.open(path).brightness(3))
    assert "<b>" not in html
    assert html.count("&lt;b&gt;&amp;x.png") == 2  # among the facts, and in the graph
    parser = Balance()
    parser.feed(html)
    assert parser.open == []


@pytest.mark.parametrize("name", ["large.jpg", "large.tif"])
def test_of_large_files_little_is_decoded(name: str, tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / name
    options: dict[str, Any] = {"pyramid": True} if name == "large.tif" else {}
    imgrs.new("RGB", (6000, 4000), (90, 120, 200)).save(path, **options)
    decoded.clear()
    shown = picture_in(html_of(imgrs.open(path).blur(4).brightness(10)))
    assert shown is not None
    assert shown.shape == (341, 512, 3)
    assert 0 < sum(decoded) <= 6000 * 4000 / 16


def test_what_would_take_long_is_not_begun(tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / "large.png"
    imgrs.new("RGB", (10_000, 10_000), 7).save(path)
    decoded.clear()
    img = imgrs.open(path)
    for image in (img, img.mean()):
        html = html_of(image)
        assert picture_in(html) is None
        assert re.search(r"No (preview|values): it would take about [\d.]+ s, more than 0.5 s\.", html)
        assert f"{path} (PNG)" in html
    assert decoded == []
    assert "10,000 x 10,000 pixels" in html_of(img)


def test_at_most_so_much_is_fetched_and_no_secret_of_a_url_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://shown/photo.tif?key=secret"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    with fsspec.open(url, "wb") as file:
        imgrs.fromarray(pixels).save(file, "tiff")
    img = imgrs.open(url)
    html = html_of(img)
    assert picture_in(html) is not None
    assert "memory://shown/photo.tif (TIFF)" in html
    assert "secret" not in html
    monkeypatch.setattr(notebook, "FETCHED", 10_000)
    html = html_of(img)
    assert picture_in(html) is None
    assert re.search(r"No preview: it would fetch [\d.]+ KiB, more than 9.8 KiB", html)
    fsspec.filesystem("memory").pipe("/shown/photo.tif?key=secret", b"changed")
    monkeypatch.undo()
    html = html_of(img)
    assert "No preview: memory://shown/photo.tif" in html
    assert "secret" not in html


def test_damage_and_limits_are_a_line_not_an_error(tmp_path: Path) -> None:
    path = tmp_path / "damaged.png"
    imgrs.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:20_000] + bytes(10_000) + path.read_bytes()[30_000:])
    html = html_of(imgrs.open(path))
    assert picture_in(html) is None
    assert f"No preview: {path}" in html
    assert "200 x 200 pixels" in html
    with imgrs.options(memory_limit="1KiB"):
        html = html_of(imgrs.new("RGB", (4000, 4000), 7).blur(2))
    assert "No preview: no plan fits memory_limit" in html


def test_what_has_no_forecast_is_not_run(photo: Array) -> None:
    def fails(*_: Any) -> Any:
        raise AssertionError("run")

    array = dask.array.from_array(photo, chunks=100).map_blocks(
        fails, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    for img, cause in (
        (imgrs.from_dask(array), "how long its Dask array takes"),
        (imgrs.fromarray(photo).map_tiles(fails), "how long the function of map_tiles() takes"),
    ):
        html = html_of(img)
        assert f"No preview: it is not known {cause}. img.preview(512).compute() makes one." in html
        assert picture_in(html) is None


def test_persisted_images_are_shown(photo: Array) -> None:
    shown = picture_in(html_of(imgrs.fromarray(photo).invert().persist()))
    assert shown is not None
    np.testing.assert_array_equal(shown, 255 - photo)


def test_statistics_show_their_numbers(photo: Array) -> None:
    html = html_of(imgrs.fromarray(photo).extrema())
    assert str(imgrs.fromarray(photo).extrema().compute()) in html
    assert "(3, 2)" in html
    assert picture_in(html) is None
    assert "..." in html_of(imgrs.fromarray(photo).histogram())


@pytest.mark.parametrize(
    ("bands", "dtype", "mode", "shown"),
    [
        (1, "bool", None, (20, 30)),
        (1, "uint16", None, (20, 30)),
        (1, "float32", None, (20, 30)),
        (2, "uint8", None, (20, 30, 2)),
        (4, "uint16", None, (20, 30, 4)),
        (4, "uint8", "CMYK", (20, 30, 3)),
        (7, "float32", None, (20, 30)),
    ],
)
def test_every_kind_of_image_has_a_picture(bands: int, dtype: str, mode: str | None, shown: tuple[int, ...]) -> None:
    img = imgrs.fromarray(np.ones((20, 30, bands), dtype), mode)
    html = html_of(img)
    found = picture_in(html)
    assert found is not None
    assert found.shape == shown
    assert ("Band 1 of 7 is shown" in html) == (bands == 7)
    assert ("gradient" in html) == (img.mode in ("LA", "RGBA")), "checks behind what is transparent"
