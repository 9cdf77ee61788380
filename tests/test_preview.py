"""Previews: small copies of whole results, near what the exact result is when it is made small, and cheap to read."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Op, op
from imgrs.image import Image
from imgrs.ops.source import Open
from imgrs.optimize.reduced import reduced
from tests.examples import applications, op_classes
from tests.oracle import evaluate

Array = npt.NDArray[Any]


def near(exact: Array, preview: Array) -> float:
    """The mean difference, in levels, of a preview from an exact result that Pillow made small."""
    size = preview.shape[1], preview.shape[0]
    small = np.asarray(Pillow.fromarray(exact).resize(size, Pillow.Resampling.BOX))
    return float(np.abs(small.astype(int) - preview).mean())


@pytest.fixture(scope="module")
def large(photo: Array) -> Array:
    """The photograph, enlarged by Pillow to (1200, 1804, 3)."""
    return np.asarray(Pillow.fromarray(photo).resize((1804, 1200), Pillow.Resampling.BICUBIC))


CHAINS: dict[str, tuple[Callable[[Image], Image], float]] = {
    "as it is": (lambda img: img, 0.6),
    "cropped": (lambda img: img.crop((203, 101, 1501, 1103)), 2.5),
    "padded": (lambda img: img.pad((120, 41, 3, 260), color=(250, 10, 60)), 4.0),
    "padded by edges": (lambda img: img.pad(100, mode="edge"), 1.5),
    "turned": (lambda img: img.rotate90().flip_left_right(), 0.6),
    "rotated": (lambda img: img.rotate(17, expand=True), 1.5),
    "rotated around": (lambda img: img.rotate(-40, center=(300, 800), translate=(90, -30)), 1.5),
    "resized": (lambda img: img.resize((1100, 1000), "bicubic", box=(100, 50, 1700.5, 1100)), 1.5),
    "enlarged": (lambda img: img.crop((500, 300, 900, 600)).resize((1600, 1200), "bicubic"), 1.5),
    "blurred": (lambda img: img.blur(12), 0.6),
    "unsharp": (lambda img: img.unsharp_mask(10, 1.0, 0), 1.5),
    "graded": (lambda img: img.brightness(10).contrast(1.2).saturate(1.3).gamma(1.1), 0.8),
    "laid over": (lambda img: img.blend("normal", img.resize((600, 400)).rotate(10), position=(701, 303)), 1.5),
    "all": (
        lambda img: img.rotate(8).crop((150, 100, 1650, 1100)).resize((1400, 900)).pad(50).blur(6).brightness(15), 2.0,
    ),
}  # fmt: skip
"""Chains, and how far their previews are from the exact results, in levels of 255 on the mean: most at the edges of a
border in another color, which lie on whole pixels of the preview."""


@pytest.mark.parametrize("name", CHAINS)
def test_previews_are_near_the_exact_results_made_small(name: str, large: Array) -> None:
    chain, most = CHAINS[name]
    exact = chain(imgrs.fromarray(large))
    preview = exact.preview(300)
    assert max(preview.size) == 300
    assert preview.mode == exact.mode
    assert preview.approximate == ()
    assert near(exact.compute(), preview.compute()) < most


def test_boxes_are_scaled_where_their_radius_stays_whole(large: Array) -> None:
    exact = imgrs.fromarray(large).box_blur(16)
    preview = exact.preview(451)
    assert preview.approximate == ()
    assert near(exact.compute(), preview.compute()) < 0.8


def test_a_preview_that_needs_no_reducing_is_exact(photo: Array) -> None:
    img = imgrs.fromarray(photo).sharpen().rotate(5)
    for side in (451, 1024):
        preview = img.preview(side)
        assert preview == img
        assert preview.approximate == ()
    assert img.mean().preview(1) == img.mean()
    assert imgrs.fromarray(photo).histogram().preview(100).shape == (256, 3)


def test_what_is_approximate_is_said(photo: Array) -> None:
    img = imgrs.fromarray(photo).blur(2).edge_detect().crop((0, 0, 400, 300)).auto_contrast()
    preview = img.preview(50)
    assert preview.approximate == (
        "blur() at 1/8 scale",
        "edge_detect() at 1/8 scale",
        "histogram() at 1/8 scale",
    )
    assert json.loads(preview.explain(as_json=True))["approximate"] == list(preview.approximate)
    assert preview.explain().splitlines()[-4:] == ["approximate", *(f"  {line}" for line in preview.approximate)]
    assert "approximate" not in imgrs.fromarray(photo).preview(50).explain()
    assert type(preview.brightness(3)) is Image
    assert preview.copy().approximate == pickle.loads(pickle.dumps(preview)).approximate == preview.approximate
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(preview)).compute(), preview.compute())


def test_small_radii_and_uneven_boxes_are_approximate() -> None:
    img = imgrs.new("RGB", (800, 800), (1, 2, 3))
    said = {
        img.blur(4): (), img.blur(3.9): ("blur(radius=3.9) at 1/8 scale",), img.box_blur(16): (),
        img.box_blur(15): ("box_blur(15) at 1/8 scale",), img.unsharp_mask(2): ("unsharp_mask() at 1/8 scale",),
        img.map_tiles(np.copy): ("map_tiles(copy) at 1/8 scale",), img.convolve(((1, 2, 1),)): None,
    }  # fmt: skip
    for image, lines in said.items():
        found = image.preview(100).approximate
        assert len(found) == 1 if lines is None else found == lines


@pytest.mark.parametrize("cls", op_classes(), ids=lambda cls: cls.name)
def test_every_op_has_a_preview_of_the_size_of_its_scale(cls: type[Op]) -> None:
    for node in applications(cls):
        for scale in (0.5, 0.23, 0.02):
            small, _ = reduced(node, scale)
            size = tuple(max(1, round(side * scale)) for side in node.spec.size)
            assert small.spec.size == (node.spec.size if node.spec.encoding == "statistic" else size)
            assert (small.spec.bands, small.spec.dtype, small.spec.mode) == (
                node.spec.bands,
                node.spec.dtype,
                node.spec.mode,
            )
            assert evaluate(small).shape[:2] == (small.spec.height, small.spec.width)


@op
class _Mirror(Op):
    """An op that says nothing of scales."""

    def demand(self, region: Any, *specs: Any) -> Any:
        return (specs[0].region,)

    def compute(self, out: Any, tiles: Any, spec: Any, prepared: Any) -> Any:
        return tiles[0].pixels[out.top : out.bottom, ::-1][:, out.left : out.right]


def test_an_op_that_does_not_scale_is_done_at_full_scale(large: Array) -> None:
    node = Node(_Mirror(), imgrs.fromarray(large)._node)
    small, approximate = reduced(node, 0.25)
    assert approximate == ()
    assert [n.spec.size for n in walk([small])] == [(1804, 1200), (1804, 1200), (451, 300)]
    assert near(large[:, ::-1], evaluate(small)) < 0.6


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Image], int]:
    """How many bytes of a file computing an image decodes: those of the tiles, or pixels that come out of a decoder."""
    import imgrs.io.jpeg.read
    import imgrs.io.tiff.read

    found: list[int] = []
    tile, whole = imgrs.io.tiff.read.TiffReader._decoded, imgrs.io.jpeg.read.JpegReader.decoded

    def decoded_tile(self: Any, page: Any, index: int) -> Array:
        found.append(int(page.lengths[index]))
        return tile(self, page, index)

    def decoded(self: Any, shrink: int) -> Array:
        pixels = whole(self, shrink)
        found.append(pixels.nbytes)
        return pixels

    monkeypatch.setattr(imgrs.io.tiff.read.TiffReader, "_decoded", decoded_tile)
    monkeypatch.setattr(imgrs.io.jpeg.read.JpegReader, "decoded", decoded)

    def counted(image: Image) -> int:
        found.clear()
        image.compute(scheduler="sync")
        return sum(found)

    return counted


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_files_that_can_are_read_small(
    name: str, large: Array, tmp_path: Path, read_bytes: Callable[[Image], int]
) -> None:
    Pillow.fromarray(large).save(tmp_path / "a.jpg", quality=95)
    imgrs.fromarray(large).save(tmp_path / "a.tif", pyramid=True, tile=64)
    img = imgrs.open(tmp_path / name)
    graded = img.rotate(10).blur(8).brightness(10)
    preview = graded.preview(200)
    (source,) = [node.op for node in walk([preview._node]) if isinstance(node.op, Open)]
    assert source.shrink == 8
    needed, all_of_it = read_bytes(preview), read_bytes(graded)
    assert 0 < needed < all_of_it / 25
    if name == "a.tif":
        assert imgrs.estimate(preview).read_bytes < imgrs.estimate(graded).read_bytes / 25
    assert near(graded.compute(), preview.compute()) < 2.0


def test_steps_go_from_coarse_to_exact(large: Array) -> None:
    img = imgrs.fromarray(large).blur(3).rotate(10)
    steps = list(img.progressive(100))
    assert [step.pixels.shape for step in steps] == [(67, 100, 3), (266, 400, 3), (1200, 1804, 3)]
    assert [step.exact for step in steps] == [False, False, True]
    assert [round(step.scale * 1804) for step in steps] == [100, 400, 1804]
    np.testing.assert_array_equal(steps[-1].pixels, img.compute())
    coarse, finer = (near(steps[-1].pixels, step.pixels) for step in steps[:2])
    assert max(coarse, finer) < 3


@pytest.mark.usefixtures("usual_options")
def test_a_loop_that_is_left_computes_no_more(photo: Array) -> None:
    seen: list[tuple[int, ...]] = []

    def counted(tile: Array) -> Array:
        seen.append(tile.shape)
        return tile

    img = imgrs.fromarray(photo).map_tiles(counted)
    steps = img.progressive(64)
    assert not seen
    assert next(steps).pixels.shape == (43, 64, 3)
    assert [shape[:2] for shape in seen] == [(43, 64)]


def test_a_small_image_is_one_exact_step(photo: Array) -> None:
    (step,) = imgrs.fromarray(photo).progressive(256)
    assert (step.scale, step.exact) == (1.0, True)


@pytest.mark.parametrize("side", [0, -3, 1.5, "9", True])
def test_sides_are_whole_numbers_of_pixels(side: Any) -> None:
    img = imgrs.new("L", (9, 9))
    with pytest.raises(imgrs.ArgumentError, match=r"^preview: max_side must be"):
        img.preview(side)
    with pytest.raises(imgrs.ArgumentError, match=r"^progressive: first_side must be"):
        img.progressive(side)
