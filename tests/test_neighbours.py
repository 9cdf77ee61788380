"""Images beside other libraries, each by that library's own calls; and docs/neighbours.md, whose blocks run."""

from __future__ import annotations

import importlib.metadata
import io
import os
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import imageio.v3 as iio
import numpy as np
import numpy.typing as npt
import pytest
import xarray
import xarray.backends.plugins
from matplotlib.figure import Figure

import imgrs
from imgrs.bridges import numpy_functions
from imgrs.image import Image
from imgrs.ops.source import Open
from imgrs.types import Pixels, Region

Array = npt.NDArray[Any]
ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "neighbours.md").read_text(encoding="utf-8")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """The regions of files that are read, as they are."""
    regions: list[Region] = []
    original = Open.read

    def recording(op: Open, region: Region) -> Pixels:
        regions.append(region)
        return original(op, region)

    monkeypatch.setattr(Open, "read", recording)
    return regions


def ramp(*shape: int, dtype: str = "uint8") -> Array:
    """Pixels that all differ, as far as the dtype goes."""
    values = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape)
    return (values / values.size).astype(dtype) if dtype == "float32" else (values % 65_521).astype(dtype)


# NumPy

SHAPES = [(5, 6), (5, 6, 3), (6, 6, 2), (5, 6, 7)]
MOVES: dict[str, Callable[[Any], Any]] = {
    "flip rows": lambda a: np.flip(a, 0),
    "flip columns": lambda a: np.flip(a, axis=1),
    "flip both": lambda a: np.flip(a, (-np.ndim(a), 1)),
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "rot90": np.rot90,
    "rot90 by -1": lambda a: np.rot90(a, -1),
    "rot90 by 2": lambda a: np.rot90(a, k=2),
    "rot90 by 4": lambda a: np.rot90(a, 4),
    "rot90 the other way": lambda a: np.rot90(a, 1, (1, 0)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MOVES)
def test_numpy_moves_are_lazy_verbs(name: str, shape: tuple[int, ...]) -> None:
    pixels = ramp(*shape)
    moved = MOVES[name](imgrs.fromarray(pixels))
    assert isinstance(moved, Image)
    np.testing.assert_array_equal(moved.compute(), MOVES[name](pixels))


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "min": np.min,
    "amax": np.amax,
    "max of bands": lambda a: np.max(a, axis=(0, 1)),
    "min of bands": lambda a: np.amin(a, (1, 0)),
    "mean of bands": lambda a: np.mean(a, axis=(0, 1)),
    "mean": np.mean,
    "mean of rows": lambda a: np.mean(a, axis=0),
    "mean in float32": lambda a: np.mean(a, axis=(0, 1), dtype="float32"),
    "min kept": lambda a: np.min(a, axis=(0, 1), keepdims=True),
    "max of rows": lambda a: np.max(a, axis=1),
    "max of what is even": lambda a: np.max(a, where=np.asarray(a) % 2 == 0, initial=0),
    "flip": np.flip,
    "flip bands": lambda a: np.flip(a, -1),
    "rot90 through the last axis": lambda a: np.rot90(a, axes=(0, np.ndim(a) - 1)),
    "percentile": lambda a: np.percentile(a, 5),
    "concatenate": lambda a: np.concatenate([a, a[1:3]]),
    "stack": lambda a: np.stack((a, np.asarray(a), a)),
    "where": lambda a: np.where(np.asarray(a) > 9, a, 0),
    "sum by keyword": lambda a: np.sum(a=a, axis=0),
    "array_equal": lambda a: np.array_equal(a, np.asarray(a)),
    "shape": np.shape,
    "ndim": np.ndim,
    "size": np.size,
    "size of rows": lambda a: np.size(a, 0),
    "result_type": lambda a: np.result_type(a, np.int16),
    "isrealobj": np.isrealobj,
    "zeros_like": np.zeros_like,
    "ones_like": lambda a: np.ones_like(a, dtype="float64"),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NUMBERS)
def test_numpy_functions_give_what_they_give_for_arrays(name: str, shape: tuple[int, ...], dtype: str) -> None:
    pixels = ramp(*shape, dtype=dtype)
    found, wanted = NUMBERS[name](imgrs.fromarray(pixels)), NUMBERS[name](pixels)
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_numpy_functions_work_on_statistics() -> None:
    statistic = imgrs.fromarray(ramp(5, 6, 3)).extrema()
    np.testing.assert_array_equal(np.flip(statistic, 0), statistic.compute()[::-1])
    assert np.max(statistic) == 89


def unreadable() -> Image:
    """An image that cannot be computed."""

    def fails(pixels: Array) -> Array:
        raise AssertionError("computed")

    return imgrs.fromarray(ramp(300, 400, 3)).map_tiles(fails)


def test_facts_and_moves_compute_nothing() -> None:
    img: Any = unreadable()
    assert np.shape(img) == (300, 400, 3)
    assert np.size(img) == 360_000
    assert np.zeros_like(img).shape == (300, 400, 3)
    assert np.rot90(img).size == (300, 400)
    with pytest.raises(imgrs.ComputeError, match="computed"):
        np.median(img)
    with pytest.raises(np.exceptions.AxisError):
        np.flip(img, 3)


def test_extremes_and_means_of_large_images_are_made_tile_by_tile() -> None:
    img = imgrs.new("RGB", (6000, 6000), (3, 4, 5))
    with imgrs.options(memory_limit="64MiB"):
        assert np.max(img) == 5
        assert np.mean(img, axis=(0, 1)).tolist() == [3.0, 4.0, 5.0]
        with pytest.raises(imgrs.MemoryBudgetError, match=r"^np\.percentile: needs whole arrays, 103\.0 MiB .*asarray"):
            np.percentile(img, 5)


def test_images_that_one_function_takes_are_computed_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def counting(*images: Image) -> list[Array]:
        runs.append(len(images))
        return imgrs.compute_all(*images)

    monkeypatch.setattr(numpy_functions, "compute_all", counting)
    img = imgrs.fromarray(ramp(5, 6))
    np.testing.assert_array_equal(np.vstack([img, img + 1, [img][0]])[5:10], ramp(5, 6) + 1)
    assert runs == [2]


@pytest.mark.parametrize(
    "call",
    [
        lambda img, array: np.copyto(img, array),
        lambda img, array: np.putmask(img, array > 3, 0),
        lambda img, array: np.sum(array, axis=0, out=img),
        lambda img, array: np.clip(array, 0, 9, img),
        lambda img, array: np.fill_diagonal(img, 0),
    ],
)
def test_nothing_is_written_into_an_image(call: Callable[[Any, Array], Any]) -> None:
    pixels = ramp(6, 6)
    img = imgrs.fromarray(pixels)
    with pytest.raises(TypeError, match=r"would write into an image, which never changes; write into np.array\(img\)"):
        call(img, pixels)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda img, array: np.sqrt(img), r"^np\.sqrt: of ufuncs, images take add, .*np\.sqrt\(np\.asarray\(img\)"),
        (lambda img, array: np.add.reduce(img), r"^np\.add\.reduce: of ufuncs"),
        (lambda img, array: img + array, r"^np\.add: takes no image beside an array; imgrs\.fromarray\(array\)"),
        (lambda img, array: array == img, r"^np\.equal: takes no image beside an array"),
        (lambda img, array: np.add(img, 3, out=array), r"^np\.add: takes no out with an image; np\.add\(np\.asarray"),
        (lambda img, array: np.add(array, 3, out=img), r"^np\.add: "),
        (lambda img, array: np.add(img, "3"), r"^np\.add: takes no such operands with an image"),
        (lambda img, array: np.absolute(img, dtype="uint8"), r"^np\.absolute: takes no dtype with an image"),
    ],
)
def test_other_ufuncs_say_the_way_out(call: Callable[[Any, Array], Any], told: str) -> None:
    pixels = ramp(6, 6)
    with pytest.raises(imgrs.ArgumentTypeError, match=told):
        call(imgrs.fromarray(pixels), pixels.copy())


def test_ufuncs_that_are_operators_stay_lazy() -> None:
    pixels = ramp(5, 6, 3)
    img = imgrs.fromarray(pixels)
    for made, exact in (
        (np.add(img, 200), np.minimum(pixels.astype(int) + 200, 255)),
        (np.subtract(50, img), np.maximum(50 - pixels.astype(int), 0)),
        (np.multiply(img, img), np.minimum(pixels.astype(int) ** 2, 255)),
        (np.absolute(img), pixels),
    ):
        assert isinstance(made, Image)
        np.testing.assert_array_equal(made.compute(), exact)


class Other:
    """An array of another library."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> str:
        return f"{ufunc.__name__} of {len(inputs)}"

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> str:
        return f"{func.__name__} of {[type(value).__name__ for value in args[0]]}"


def test_other_libraries_are_asked() -> None:
    img: Any = imgrs.fromarray(ramp(5, 6))
    other: Any = Other()
    assert np.hypot(img, other) == "hypot of 2"
    assert np.add(img, other) == "add of 2"
    assert np.concatenate([img, other]) == "concatenate of ['ndarray', 'Other']"
    summed = np.concatenate([img, dask.array.ones((5, 6), dtype=np.uint8)])
    assert isinstance(summed, dask.array.Array)
    np.testing.assert_array_equal(summed.compute()[:5], ramp(5, 6))


def test_libraries_that_look_for_arrays_compute_images_as_before() -> None:
    pixels = ramp(5, 6)
    img: Any = imgrs.fromarray(pixels)
    assert not hasattr(img, "__array_function__")
    data = xarray.DataArray(img, dims=("y", "x"))
    assert isinstance(data.data, np.ndarray)
    np.testing.assert_array_equal(data.isel(y=slice(None, None, -2)), pixels[::-2])
    np.testing.assert_array_equal(dask.array.asarray(img), pixels)


# xarray


def test_xarray_gets_a_lazy_array_with_named_axes(photo: Array) -> None:
    data = imgrs.fromarray(photo).rotate90().to_xarray()
    assert data.dims == ("y", "x", "band")
    assert isinstance(data.data, dask.array.Array)
    np.testing.assert_array_equal(data.sel(band="G").isel(y=slice(3, 9)), np.rot90(photo)[3:9, :, 1])
    assert unreadable().to_xarray().sizes == {"y": 300, "x": 400, "band": 3}
    assert imgrs.fromarray(photo[..., 0]).to_xarray().dims == ("y", "x")
    assert "band" not in imgrs.fromarray(ramp(5, 6, 7)).to_xarray().coords
    with pytest.raises(imgrs.ArgumentError, match="to_xarray: needs an image, not a statistic"):
        imgrs.fromarray(photo).mean().to_xarray()


def test_xarray_gets_metadata_that_netcdf_can_hold(tmp_path: Path) -> None:
    from tests.samples import photograph

    file = io.BytesIO()
    imgrs.new("L", (8, 6), 7).save(file, "jpeg", exif=photograph(), dpi=(72, 72))
    data = imgrs.open(file.getvalue()).to_xarray()
    assert data.attrs["mode"] == "L"
    assert data.attrs["exif.Make"] == "Maker"
    assert data.attrs["dpi"] == [72, 72]
    data.astype("int16").to_netcdf(tmp_path / "a.nc", engine="scipy")
    assert xarray.open_dataarray(tmp_path / "a.nc", engine="scipy").attrs["exif.Make"] == "Maker"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """xarray knows the engine by the entry point that pyproject.toml declares, as when the package is installed."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["xarray.backends"]
    if not importlib.metadata.entry_points(group="xarray.backends", name="imgrs"):
        folder = tmp_path / "site" / "declared-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1\n")
        lines = [f"{name} = {where}" for name, where in declared.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[xarray.backends]", *lines]))
        monkeypatch.syspath_prepend(str(folder.parent))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder.parent), str(ROOT)]))
        xarray.backends.plugins.list_engines.cache_clear()
    return "imgrs"


INDEXES: list[dict[str, Any]] = [
    {"y": slice(10, 20), "x": slice(30, 31)},
    {"y": 5},
    {"y": -1, "x": -3, "band": 2},
    {"y": slice(None, None, 3), "x": slice(5, 90, 7)},
    {"y": slice(None, None, -2), "x": slice(90, 5, -7), "band": slice(None, None, -1)},
    {"y": [5, 3, 40], "x": [1, 0]},
    {"y": slice(4, 4)},
]


def test_xarray_opens_files_by_engine_and_reads_what_is_asked_for(
    engine: str, photo: Array, photo_tiff: Path, read: list[Region]
) -> None:
    found = xarray.open_dataset(photo_tiff, engine=engine)
    data = found["image"]
    assert read == []
    assert data.sizes == {"y": 300, "x": 451, "band": 3}
    assert data.attrs["mode"] == "RGB"
    plain = xarray.DataArray(photo, {"band": ["R", "G", "B"]}, ("y", "x", "band"))
    for index in INDEXES:
        xarray.testing.assert_equal(data.isel(index), plain.isel(index))
    assert sum(region.area for region in read) > 0
    read.clear()
    assert found["image"].isel(y=slice(0, 10), x=slice(0, 10)).sum() == photo[:10, :10].sum()
    assert sum(region.area for region in read) == 100


def test_xarray_chunks_are_whole_tiles_of_the_file(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "tiled.tif"
    imgrs.new("RGB", (3000, 2000), (1, 2, 3)).save(path, tile=240)
    data = xarray.open_dataset(path, engine=engine, chunks={})["image"]
    assert data.chunks == ((960, 960, 80), (960, 960, 960, 120), (3,))
    assert data.isel(band=2).sum().compute() == 3 * 3000 * 2000
    pickle.loads(pickle.dumps(data))
    with xarray.open_dataset(path, engine=engine, drop_variables="image") as empty:
        assert "image" not in empty


def test_xarray_passes_the_options_of_open(engine: str, tmp_path: Path) -> None:
    from tests.samples import photograph

    path = tmp_path / "turned.jpg"
    imgrs.new("L", (80, 60), 7).save(path, exif=photograph())
    assert xarray.open_dataset(path, engine=engine, orient=True)["image"].sizes == {"y": 80, "x": 60}
    with pytest.raises(imgrs.ArgumentError, match="page"):
        xarray.open_dataset(path, engine=engine, page=3)


# napari


def test_levels_are_halves_made_of_the_files_own_copies(tmp_path: Path, read: list[Region]) -> None:
    path = tmp_path / "pyramid.tif"
    imgrs.new("RGB", (5000, 3000), (1, 2, 3)).save(path, pyramid=True)
    levels = imgrs.open(path).brightness(9).to_multiscale()
    assert all(isinstance(level, dask.array.Array) for level in levels)
    assert [level.shape[:2] for level in levels] == [(3000, 5000), (1500, 2500), (750, 1250), (375, 625), (188, 312)]
    assert read == []
    np.testing.assert_array_equal(levels[-1][0, 0].compute(), [10, 11, 12])
    assert 0 < sum(region.area for region in read) <= 400 * 700
    assert [level.shape for level in imgrs.new("L", (512, 100), 7).to_multiscale()] == [(100, 512)]
    assert len(imgrs.new("L", (513, 100), 7).to_multiscale()) == 2
    assert len(imgrs.new("L", (512, 1), 7).to_multiscale(1)) == 10
    with pytest.raises(imgrs.ArgumentError, match="to_multiscale: needs an image"):
        imgrs.new("L", (5, 5), 7).mean().to_multiscale()


def test_napari_shows_the_levels(photo: Array) -> None:
    layers: Any = pytest.importorskip("napari.layers")
    layer = layers.Image(imgrs.fromarray(photo).resize((1804, 1200)).to_multiscale(), multiscale=True)
    assert layer.multiscale
    assert layer.rgb
    assert layer.level_shapes.tolist() == [[1200, 1804], [600, 902], [300, 451]]
    assert np.asarray(layer.data[-1]).shape == (300, 451, 3)


# PyTorch


def test_tiles_cover_the_image_or_leave_the_rest() -> None:
    pixels = ramp(50, 70, 3)
    img = imgrs.fromarray(pixels)
    tiles = img.tiles((32, 16))
    assert len(tiles) == 3 * 4
    assert tiles.boxes[-1] == (38, 34, 70, 50)
    covered = np.zeros((50, 70), bool)
    for tile, (left, top, right, bottom) in zip(tiles, tiles.boxes, strict=True):  # type: ignore[call-overload]  # by index
        np.testing.assert_array_equal(tile, np.moveaxis(pixels[top:bottom, left:right], 2, 0))
        assert tile.flags.c_contiguous
        covered[top:bottom, left:right] = True
    assert covered.all()
    assert img.tiles((32, 16), edge="drop").boxes == tuple((x, y, x + 32, y + 16) for y in (0, 16, 32) for x in (0, 32))
    assert [box[0] for box in img.tiles(32, stride=(16, 50)).boxes[:4]] == [0, 16, 32, 38]
    assert imgrs.fromarray(pixels[..., 0]).tiles(50)[-1].shape == (1, 50, 50)
    assert img.tiles((70, 50)).boxes == ((0, 0, 70, 50),)


def test_batches_of_tiles_are_the_same_tiles() -> None:
    tiles = imgrs.fromarray(ramp(50, 70, 3)).blur(2).tiles(20, stride=11)
    assert len(tiles) == 24
    wanted = [5, 0, -1, 5, 23]
    for tile, index in zip(tiles.__getitems__(wanted), wanted, strict=True):
        np.testing.assert_array_equal(tile, tiles[index])
    assert repr(tiles) == "<24 tiles of 20x20 of <imgrs.Image 70x50 RGB uint8 blur>>"
    with pytest.raises(IndexError, match="index 24 is out of range for 24 tiles"):
        tiles[24]


def test_tiles_say_what_is_wrong() -> None:
    img: Any = imgrs.new("L", (40, 30), 7)
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: img.tiles(31), r"^tiles: size 31x31 is larger than the 40x30 image; pad\(\) it first"),
        (lambda: img.tiles(0), r"^tiles: size must be a number of pixels or \(width, height\), each at least 1, got 0"),
        (lambda: img.tiles(8, stride=(3, 0)), r"^tiles: stride must be .* got \(3, 0\)"),
        (lambda: img.tiles("8"), r"^tiles: size must be .* got '8'"),
        (lambda: img.tiles(8, edge="pad"), r'^tiles: edge must be "shift" or "drop", got \'pad\''),
        (lambda: img.mean().tiles(1), "^tiles: needs an image, not a statistic"),
    ]
    for call, told in wrong:
        with pytest.raises(imgrs.ArgumentError, match=told):
            call()


def test_tiles_need_no_torch() -> None:
    script = "import sys, imgrs; imgrs.new('L', (9, 9), 7).tiles(4)[0]; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_torch_loads_batches_of_tiles_by_processes(start: str, photo: Array, photo_tiff: Path) -> None:
    data: Any = pytest.importorskip("torch.utils.data")
    tiles = imgrs.open(photo_tiff).brightness(0.0).tiles(100, stride=70)
    loader = data.DataLoader(tiles, batch_size=4, num_workers=2, multiprocessing_context=start)
    batches = list(loader)
    assert [tuple(batch.shape) for batch in batches[:-1]] == [(4, 3, 100, 100)] * (len(batches) - 1)
    made = np.concatenate([batch.numpy() for batch in batches])
    assert made.dtype == np.uint8
    for tile, (left, top, right, bottom) in zip(made, tiles.boxes, strict=True):
        np.testing.assert_array_equal(tile, np.moveaxis(photo[top:bottom, left:right], 2, 0))


# Others


def test_matplotlib_shows_images(photo: Array) -> None:
    figure = Figure()
    shown = figure.subplots().imshow(imgrs.fromarray(photo).invert())
    np.testing.assert_array_equal(shown.get_array(), 255 - photo)
    file = io.BytesIO()
    figure.savefig(file)
    assert file.tell() > 10_000


def test_imageio_writes_images_and_reads_what_is_saved(photo: Array) -> None:
    img = imgrs.fromarray(photo).invert()
    written = iio.imwrite("<bytes>", img, extension=".png")
    np.testing.assert_array_equal(imgrs.open(written).compute(), 255 - photo)
    file = io.BytesIO()
    img.save(file, "png")
    np.testing.assert_array_equal(iio.imread(file.getvalue()), 255 - photo)
    assert imgrs.fromarray(iio.imread(written)).invert().to_pil().tobytes() == photo.tobytes()


def test_scikit_image_takes_images_and_scales_them_alike(photo: Array) -> None:
    from skimage.filters import sobel
    from skimage.measure import shannon_entropy
    from skimage.util import img_as_float32, img_as_ubyte

    img = imgrs.fromarray(photo).grayscale()
    pixels = img.compute()
    np.testing.assert_array_equal(sobel(np.asarray(img)), sobel(pixels))
    assert shannon_entropy(img) == shannon_entropy(pixels)
    scaled = img.astype("float32").compute()
    np.testing.assert_allclose(img_as_float32(img), scaled, rtol=1e-6)  # it multiplies by a rounded 1/255
    np.testing.assert_array_equal(img_as_ubyte(img.astype("float32")), pixels)


def test_pillow_gets_images(photo: Array) -> None:
    assert imgrs.fromarray(photo).rotate180().to_pil().tobytes() == np.ascontiguousarray(photo[::-1, ::-1]).tobytes()


def test_the_page_is_true(engine: str, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    script.write_text("".join(blocks))
    command = [sys.executable, str(script)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    printed = re.findall(r"print\(.*\)  # (.*)", script.read_text())
    assert run.stdout == "".join(f"{line}\n" for line in printed)
    for linked in re.findall(r"\]\(((?!http)[^)]+)\)", PAGE):
        assert (ROOT / "docs" / linked).exists(), linked
