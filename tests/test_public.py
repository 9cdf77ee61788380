"""What users see and what loads: public names, layers, and imports. And that nothing is read before it is asked for."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import imgrs
import imgrs.functions
from imgrs.graph.node import Node
from imgrs.graph.op import Source, op
from imgrs.graph.parameters import whole
from imgrs.image import Image
from imgrs.instead import INSTEAD
from imgrs.types import Pixels, Region, Spec
from imgrs.verb import verb

PACKAGE = Path(imgrs.__file__).parent
LAYERS = [
    {"types", "errors", "config", "sizes", "cache", "compiled", "machine_code"},
    {"graph"},
    {"io", "kernels"},
    {"ops"},
    {"optimize"},
    {"plan"},
    {"run"},
    {"image", "verb", "previews", "monitor", "profile", "create", "functions", "together", "provenance"}
    | {"pipelines", "steps", "recipe_text", "instead"}
    | {"forecast", "timing", "batches", "cli", "cli_errors", "cli_options", "expression", "demo", "__init__"}
    | {"notebook", "bridges"},
]
"""From the lowest; a module imports from its own layer and those below."""
EXCEPTIONS = {("graph", "kernels")}
"""Inside functions: the locality ``Sample`` applies its tables by a kernel. See docs/decisions/0002."""


def layer(part: str) -> int:
    return next(i for i, parts in enumerate(LAYERS) if part in parts)


def test_layers_import_downward_only() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("imgrs."):
                continue
            other = (node.module or "").split(".")[1]
            assert layer(other) <= layer(part) or (part, other) in EXCEPTIONS, f"{path.name} imports {node.module}"


def test_formats_and_kernels_know_nothing_of_each_other() -> None:
    for part, other in (("io", "kernels"), ("kernels", "io"), ("kernels", "graph"), ("kernels", "types")):
        for path in (PACKAGE / part).rglob("*.py"):
            assert f"from imgrs.{other}" not in path.read_text(encoding="utf-8"), path


def test_opening_and_saving_load_the_formats_that_they_use(tmp_path: Path) -> None:
    imgrs.new("RGB", (9, 9)).save(tmp_path / "a.tif")
    script = f"import sys, imgrs; imgrs.open({str(tmp_path / 'a.tif')!r}).save({str(tmp_path / 'a.v1.2.jpg')!r}); "
    script += "print(*(name[9:] for name in sys.modules if name[:9] == 'imgrs.io.'), 'http.client' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"tiff.read", "jpeg.write", "False"} <= {*loaded}
    assert not {"webp", "avif", "jpegxl", "jpeg2000", "gif", "bmp", "deepzoom", "zarr.format"} & {*loaded}


def test_importing_loads_nothing_heavy() -> None:
    script = "import sys, imgrs; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "dask",
        "distributed",
        "numba",
        "cv2",
        "PIL",
        "tifffile",
        "imagecodecs",
        "skimage",
        "scipy",
        "networkx",
        "rich",
    }
    assert not heavy & set(loaded)


PUBLIC = (
    "ArgumentError ArgumentTypeError Benchmark Cache ComputeError CorruptImageError "
    "DamagedImageWarning Estimate Image "
    "ImageNotFoundError ImgrsError LimitError MemoryBudgetError MetadataWarning Monitor Pipeline Preview PreviewStep Profile "
    "RecipeSource Report Result SaveError SourceChangedError Statistic Tiles TruncatedImageError UnsupportedFormatError "
    "__version__ auto_contrast batch benchmark blend blur box_blur "
    "brightness compute_all contrast convert crop edge_detect edge_enhance edge_enhance_more emboss estimate "
    "exposure_adjust flip_left_right flip_top_bottom from_dask fromarray frombytes gamma grayscale histogram "
    "hue_rotate images_equal invert merge monitor new open open_raw options pad pipeline posterize resize "
    "rotate rotate180 rotate270 rotate90 rotate_left rotate_right saturate save save_all sepia set_options "
    "sharpen solarize split threshold unsharp_mask"
)


def test_public_names() -> None:
    assert " ".join(sorted(imgrs.__all__)) == PUBLIC


@pytest.mark.parametrize("name", INSTEAD)
def test_names_of_pillows_say_what_is_here_instead(name: str) -> None:
    from PIL import Image as Pillow

    img = imgrs.new("L", (1, 1))
    assert hasattr(Pillow.Image, name)
    assert not hasattr(img, name)
    assert not hasattr(imgrs.pipeline(), name)
    assert name not in dir(img)
    for has_not in (img, img.mean(), imgrs.pipeline()):
        with pytest.raises(AttributeError, match=rf" has no .*{name!r}; {re.escape(INSTEAD[name])}$") as caught:
            getattr(has_not, name)
        assert has_not is not img or caught.value.obj is None  # where Python looks for a likely name
    for owner, told in re.findall(r"\b(img|imgrs)\.(\w+)", INSTEAD[name]):
        assert hasattr(img if owner == "img" else imgrs, told), told


def test_misspelled_names_and_protocols_are_not_found_as_python_has_it() -> None:
    img: Any = imgrs.new("L", (1, 1))
    for name, told in (("resiz", ". Did you mean: 'resize'?"), ("paste", INSTEAD["paste"])):
        script = f"import imgrs; imgrs.new('L', (1, 1)).{name}"
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stderr
        assert said.startswith("Traceback")
        assert said.rstrip().endswith(told)
    assert not hasattr(img, "_ipython_display_")
    assert not hasattr(img, "__array_interface__")


def test_what_a_property_raises_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "width", property(lambda img: img._node.no_such_thing))
    with pytest.raises(AttributeError, match="'Node' object has no attribute 'no_such_thing'"):
        imgrs.new("L", (1, 1)).width  # noqa: B018  # asked for


def test_what_public_functions_and_methods_return_is_public() -> None:
    found: set[str] = set()
    for owner in (imgrs, Image, imgrs.Pipeline, imgrs.Report, imgrs.Benchmark, imgrs.Profile, imgrs.Preview):
        for name, value in vars(owner).items():
            called = value.fget if isinstance(value, property) else value
            if not name.startswith("_") and inspect.isfunction(called):
                found |= set(re.findall(r"(?<![\w.])[A-Z]\w+", str(called.__annotations__.get("return"))))
    ours = set(imgrs.__all__)
    assert found - ours == {"Any", "Iterator", "None", "PIL", "Prediction", "TileTime"}
    returned = {
        "Benchmark",
        "Estimate",
        "Monitor",
        "Preview",
        "PreviewStep",
        "Profile",
        "RecipeSource",
        "Report",
        "Result",
    }
    assert found & ours == {"Image", "Pipeline", "Statistic", "Tiles"} | returned


def test_what_is_loaded_later_is_there_and_loaded_no_earlier() -> None:
    script = (
        "import sys, imgrs; assert 'imgrs.profile' not in sys.modules; from imgrs import *; "
        "assert imgrs.Profile is Profile is sys.modules['imgrs.profile'].Profile; assert not hasattr(imgrs, 'Profiles')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_completion_offers_what_is_loaded_later() -> None:
    script = "import sys, imgrs; print(*dir(imgrs)); assert 'imgrs.profile' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert set(imgrs.__all__) <= set(shown)
    assert shown == sorted(set(shown))


def test_functions_are_the_verbs() -> None:
    named = {name for name, value in vars(imgrs.functions).items() if callable(value)} - {"Image"}
    assert named == set(imgrs.functions.__all__)
    for name in named:
        assert getattr(imgrs, name) == getattr(Image, name), name
    assert imgrs.resize(imgrs.new("L", (4, 2)), width=2).size == (2, 1)  # which type checkers find, too


VERBS = [name for name, value in vars(Image).items() if isinstance(value, verb)]


def test_a_verb_has_the_signature_and_the_words_of_its_op() -> None:
    assert str(inspect.signature(Image.blur)) == "(self, /, radius: 'float' = 2.0) -> 'Image'"
    assert str(inspect.signature(imgrs.new("L", (1, 1)).blur)) == "(radius: 'float' = 2.0) -> 'Image'"
    assert str(inspect.signature(imgrs.functions.crop)) == "(self, /, box: tuple[int, int, int, int]) -> 'Image'"
    assert len(VERBS) > 25
    for name in VERBS:
        method, declared = getattr(Image, name), vars(Image)[name].op
        _, *parameters = inspect.signature(method).parameters.values()
        fields = [(field.name, field.default is dataclasses.MISSING) for field in dataclasses.fields(declared)]
        assert [(one.name, one.default is one.empty) for one in parameters] == fields
        assert method.__doc__ == declared.__doc__
        assert not method.__doc__.startswith(f"{declared.__name__}("), "the words that a dataclass makes up"
        assert f"{name}(self, /" in pydoc.plain(pydoc.render_doc(method))


def test_functions_have_the_signatures_of_the_methods() -> None:
    for name in imgrs.functions.__all__:
        signature = inspect.signature(getattr(imgrs, name))
        assert signature == inspect.signature(getattr(Image, name))
        assert not {"args", "self_"} & set(signature.parameters), name


def test_what_is_missing_is_told_by_the_methods_name() -> None:
    img: Any = imgrs.new("L", (1, 1))
    with pytest.raises(
        imgrs.ArgumentTypeError, match=r"^brightness: missing 1 required positional argument: 'amount'$"
    ):
        img.brightness()
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^blur: .* 'size'; it takes radius$"):
        img.blur(size=3)


@op
class Unreadable(Source):
    """A source that fails when it is read."""

    side: int = whole(1, 100_000)

    def infer(self, *specs: Spec) -> Spec:
        return Spec(self.side, self.side, 3)

    def read(self, region: Region) -> Pixels:
        raise AssertionError("read")


def test_nothing_is_read_before_pixels_are_asked_for() -> None:
    img = Image(Node(Unreadable(50_000)))
    built = img.resize((800, 600)).blur(1.0).brightness(20).rotate(33).auto_contrast().crop((0, 0, 9, 9))
    assert built.size == (9, 9)
    assert built.explain()
    assert built != img
    assert repr(built)
    assert built.to_dask().shape == (9, 9, 3)
    with pytest.raises(imgrs.ComputeError, match="unreadable failed"):
        built.compute(scheduler="sync")


def test_only_the_tiles_that_are_needed_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
    path = tmp_path / "noise.tif"
    imgrs.fromarray(pixels).save(path, tile=64)
    text = imgrs.open(path).brightness(3).crop((70, 70, 120, 120)).explain(optimizer="exact", chunks=(64, 64))
    (line,) = [line for line in text.splitlines() if line.strip().startswith("reads")]
    read, whole_ = (float(part.split()[0]) for part in line.replace("reads", "").split(" of "))
    assert "MiB" in line or read <= whole_ / 50


def test_array_protocols() -> None:
    pixels = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    img = imgrs.fromarray(pixels)
    np.testing.assert_array_equal(np.asarray(img), pixels)
    np.testing.assert_array_equal((img[1:4, 2:5] + 10).compute(), pixels[1:4, 2:5] + 10)
    np.testing.assert_array_equal((img - 300).compute(), 0)
    np.testing.assert_array_equal((255 - img).compute(), 255 - pixels)
    np.testing.assert_array_equal(abs(img).compute(), pixels)
    np.testing.assert_array_equal(np.abs(img), pixels)
    np.testing.assert_array_equal(img[:, :, 1].compute(), pixels[..., 1])
    assert bool(img)
    assert img.tobytes() == pixels.tobytes()


def test_thumbnail_moves_the_handle_as_pillow_does() -> None:
    from PIL import Image as Pillow

    pixels: npt.NDArray[Any] = np.random.default_rng(0).integers(0, 256, (90, 121, 3), np.uint8)
    img, pillow = imgrs.fromarray(pixels), Pillow.fromarray(pixels)
    assert img.thumbnail((50, 50)) is img
    pillow.thumbnail((50, 50))
    assert img.size == pillow.size
    untouched = imgrs.fromarray(pixels)
    untouched.thumbnail((500, 500))
    assert untouched.size == (121, 90)
