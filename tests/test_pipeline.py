"""Pipelines: verbs without an image mean what they mean with one, as values that are compared, edited, joined and sent."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

import imgrs
from imgrs.expression import pipeline_of
from imgrs.graph.node import walk
from imgrs.image import Image, Statistic
from imgrs.ops.arithmetic import Combine
from imgrs.ops.filter import Blur
from imgrs.ops.stats import AutoContrast
from imgrs.pipelines import Pipeline, pipeline
from imgrs.verb import verb
from tests.examples import applications, op_classes
from tests.samples import profile
from tests.test_random import GRAPHS, graphs, quiet

Verbs = Callable[[Any], Any]


def picture(mode: str = "RGB", size: tuple[int, int] = (50, 40)) -> Image:
    width, height = size
    bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, bands), np.uint8)
    return imgrs.fromarray(pixels[..., 0] if bands == 1 else pixels)


CALLS: dict[str, Verbs] = {
    "brightness": lambda x: x.brightness(20),
    "contrast": lambda x: x.contrast(1.2),
    "gamma": lambda x: x.gamma(2),
    "exposure_adjust": lambda x: x.exposure_adjust(0.5),
    "invert": lambda x: x.invert(),
    "solarize": lambda x: x.solarize(threshold=100),
    "posterize": lambda x: x.posterize(3),
    "threshold": lambda x: x.threshold(99),
    "levels": lambda x: x.levels(10, white=200),
    "curve": lambda x: x.curve([(0, 0), (100, 120), (255, 255)]),
    "saturate": lambda x: x.saturate(1.2),
    "grayscale": lambda x: x.grayscale(0.5),
    "sepia": lambda x: x.sepia(),
    "hue_rotate": lambda x: x.hue_rotate(15),
    "color_matrix": lambda x: x.color_matrix(np.eye(3)),
    "convert": lambda x: x.convert("L"),
    "astype": lambda x: x.astype("uint16"),
    "remove_transparency": lambda x: x.remove_transparency((1, 2, 3)),
    "blur": lambda x: x.blur(2),
    "box_blur": lambda x: x.box_blur(2),
    "sharpen": lambda x: x.sharpen(1.1),
    "unsharp_mask": lambda x: x.unsharp_mask(amount=2),
    "edge_detect": lambda x: x.edge_detect(),
    "edge_enhance": lambda x: x.edge_enhance(),
    "edge_enhance_more": lambda x: x.edge_enhance_more(),
    "emboss": lambda x: x.emboss(),
    "convolve": lambda x: x.convolve([[1, 2, 1], [2, 4, 2], [1, 2, 1]]),
    "map_tiles": lambda x: x.map_tiles(np.flipud),
    "crop": lambda x: x.crop((1, 2, 30, 20)),
    "transpose": lambda x: x.transpose("transverse"),
    "pad": lambda x: x.pad(3, color=9),
    "rotate": lambda x: x.rotate(33, expand=True, fillcolor=5),
    "rotate90": lambda x: x.rotate90(),
    "rotate180": lambda x: x.rotate180(),
    "rotate270": lambda x: x.rotate270(),
    "rotate_left": lambda x: x.rotate_left(),
    "rotate_right": lambda x: x.rotate_right(),
    "flip_left_right": lambda x: x.flip_left_right(),
    "flip_top_bottom": lambda x: x.flip_top_bottom(),
    "resize": lambda x: x.resize((30, 20), reducing_gap=2.0),
    "thumbnail": lambda x: x.thumbnail((20, 20)),
    "getchannel": lambda x: x.getchannel("G"),
    "blend": lambda x: x.blend("normal", x.invert(), position=(3, 4)),
    "histogram": lambda x: x.histogram(),
    "mean": lambda x: x.mean(),
    "extrema": lambda x: x.extrema(),
    "auto_contrast": lambda x: x.auto_contrast(2),
    "exif_transpose": lambda x: x.exif_transpose(),
    "__add__": lambda x: x + x.blur(1),
    "__radd__": lambda x: 3 + x,
    "__sub__": lambda x: x - 3,
    "__rsub__": lambda x: 255 - x,
    "__mul__": lambda x: x * 0.5,
    "__rmul__": lambda x: 0.5 * x,
    "__abs__": lambda x: abs(x),
    "__array_ufunc__": lambda x: np.subtract(200, np.abs(x)),
    "__getitem__": lambda x: x[2:-3, ::, 1],
}
"""A call of each verb; ``page`` needs a file, and has a test of its own."""

KINDS: dict[str, Callable[[], Image]] = {
    "RGB": picture,
    "L": lambda: picture("L"),
    "RGBA": lambda: picture("RGBA"),
    "16 bits": lambda: picture().astype("uint16"),
    "bool": lambda: picture("L").convert("1"),
}


def outcome(call: Callable[[], Image]) -> tuple[type[Any], str]:
    """The kind and key of an image, or the kind and text of the error."""
    try:
        made = call()
    except imgrs.ImgrsError as error:
        return type(error), str(error)
    return type(made), made.key


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_verb_of_a_pipeline_is_that_of_the_image(name: str, kind: str) -> None:
    img, verbs = KINDS[kind](), CALLS[name]
    pipe = verbs(pipeline())
    assert isinstance(pipe, Pipeline)
    assert outcome(lambda: pipe(img)) == outcome(lambda: verbs(img.copy()))
    if name != "map_tiles":
        again = Pipeline.from_json(pipe.to_json())
        assert again == pipe
        assert outcome(lambda: again(img)) == outcome(lambda: pipe(img))


SIDES = st.integers(1, 400)


@given(SIDES, SIDES, SIDES)
@settings(max_examples=300, deadline=None)
def test_a_resize_by_one_side_keeps_the_proportions_as_libvips_does(width: int, height: int, side: int) -> None:
    pyvips = pytest.importorskip("pyvips")
    img, other = imgrs.new("L", (width, height)), pyvips.Image.black(width, height)
    wide, high = img.resize(width=side).size, img.resize(height=side).size
    assert (wide[0], high[1]) == (side, side)
    for ours, theirs, exact in (
        (wide[1], other.thumbnail_image(side, height=10_000_000).height, Fraction(height * side, width)),
        (high[0], other.thumbnail_image(10_000_000, height=side).width, Fraction(width * side, height)),
    ):
        is_half = exact % 1 == Fraction(1, 2)  # which libvips computes with floats, and may round down
        assert ours - theirs in ((0, 1) if is_half else (0,))


def test_a_resize_by_one_side_is_that_to_the_size_that_it_finds() -> None:
    img = picture(size=(50, 40))
    assert img.resize(width=25) == img.resize((25, 20))
    assert img.resize(height=10, resample="box") == img.resize((13, 10), "box")  # 12.5
    assert img.resize(width=30, box=(0, 0, 10, 20)) == img.resize((30, 60), box=(0, 0, 10, 20))
    assert img.resize(width=1) == img.resize((1, 1))
    assert img.resize(width=30, height=20) == img.resize((30, 20))
    assert KINDS["bool"]().resize(width=25) == KINDS["bool"]().resize((25, 20), "nearest")


def test_a_resize_by_one_side_keeps_its_rule_until_there_is_an_image() -> None:
    pipe = pipeline().resize(width=25)
    for made in (
        pipe,
        Pipeline.from_json(pipe.to_json()),
        pipeline_of("resize(width=25)"),
        pickle.loads(pickle.dumps(pipe)),
    ):
        assert made == pipe
        assert made(picture(size=(50, 40))).size == (25, 20)
        assert made(picture(size=(50, 100))).size == (25, 50)
    assert pipe.with_params(resize_1__width=None, resize_1__height=20)(picture()).size == (25, 20)
    assert pipeline().resize(width=30, height=20) == pipeline().resize((30, 20))
    assert pipeline_of("resize(height=20, resample='box')") == pipeline().resize(height=20, resample="box")


@pytest.mark.parametrize("of", [picture, pipeline])
def test_a_resize_to_no_size_says_what_it_takes(of: Callable[[], Any]) -> None:
    calls: tuple[tuple[Verbs, str], ...] = (
        (lambda x: x.resize(), "resize: needs size, or one of width and height, got width=None and height=None"),
        (lambda x: x.resize(800, 600), r"resize: takes a size as one value; write resize\(\(800, 600\)\)"),
        (lambda x: x.resize(800), r"resize: size must be a size \(width, height\), got 800; resize\(width=800\) keeps"),
        (lambda x: x.resize((8, 6), width=8), r"resize: needs size, or width and height, got size=\(8, 6\)"),
        (lambda x: x.resize(width=0), "resize: width must be a whole number from 1 to"),
        (lambda x: x.resize(height="x"), "resize: height must be a whole number from 1 to"),
        (lambda x: x.resize(width=3, reducing_gap=0.5), "resize: reducing_gap must be"),
        (lambda x: x.resize(width=3, resample="cubic"), "resize: resample must be one of"),
    )
    for call, told in calls:
        with pytest.raises(imgrs.ArgumentError, match=told):
            call(of())


def test_every_verb_of_image_is_one_of_pipeline() -> None:
    """Whatever gives an image: one that is new in ``Image`` is there by itself, or is told of here."""
    verbs = {
        name
        for name, value in vars(Image).items()
        if isinstance(value, verb)
        or (inspect.isfunction(value) and not name.startswith("_") and name in vars(Pipeline))
    } - {"apply", "save"}
    assert verbs | {name for name in CALLS if name.startswith("__")} == {*CALLS, "page"}
    others = {name for name in dir(Image) if not name.startswith("_")} - set(dir(Pipeline))
    assert " ".join(sorted(others)) == (
        "bands close compute copy damaged dtype explain format height info listing metadata mode n_frames nbytes ndim "
        "persist preview profile progressive recipe shape size split tiles "
        "to_bytes to_dask to_dot to_multiscale to_networkx to_pil to_xarray tobytes width"
    )


def test_verbs_have_the_signatures_and_the_words_of_the_images() -> None:
    for name in CALLS:
        ours, theirs = getattr(Pipeline, name), getattr(Image, name)
        assert list(inspect.signature(ours).parameters.values()) == list(inspect.signature(theirs).parameters.values())
        if name != "__getitem__":
            assert ours.__doc__ == theirs.__doc__
    assert str(inspect.signature(Pipeline.blur)) == "(self, /, radius: 'float' = 2.0) -> 'Pipeline'"  # type: ignore[attr-defined]


def test_colors_by_name_outlast_json_and_mean_what_the_image_makes_of_them() -> None:
    named = imgrs.pipeline().remove_transparency("red").pad(3, color="#fff").rotate(30, fillcolor="blue")
    again = imgrs.Pipeline.from_json(named.to_json())
    for img in (imgrs.new("RGBA", (9, 7), (1, 2, 3, 90)), imgrs.new("L", (9, 7), 5).astype("uint16")):
        ours = img.remove_transparency("red").pad(3, color="#fff").rotate(30, fillcolor="blue")
        np.testing.assert_array_equal(again(img), ours)


WRONG: list[Verbs] = [
    lambda x: x.brightness(300),
    lambda x: x.brightness(),
    lambda x: x.blur(size=3),
    lambda x: x.resize((0, 5)),
    lambda x: x.resize((5, 5), "cubic"),
    lambda x: x.resize((5, 5), reducing_gap=0.5),
    lambda x: x.rotate("left"),
    lambda x: x.rotate(33, resample="lanczos"),
    lambda x: x.rotate(33, fillcolor="redder"),
    lambda x: x.rotate(33, center=(1, float("nan"))),
    lambda x: x.thumbnail(5),
    lambda x: x.auto_contrast(50),
    lambda x: x.remove_transparency("whiter"),
    lambda x: x.getchannel(-1),
    lambda x: x.pad(-1),
    lambda x: x.transpose("sideways"),
    lambda x: x.blend("multiply", x),
    lambda x: x[::2],
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_wrong_for_every_image_is_told_at_the_call(number: int) -> None:
    with pytest.raises(imgrs.ArgumentError) as ours:
        WRONG[number](pipeline())
    with pytest.raises(imgrs.ArgumentError) as theirs:
        WRONG[number](picture())
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))


def test_what_is_wrong_for_this_image_is_told_when_it_comes() -> None:
    pipe = pipeline().crop((0, 0, 60, 20))
    assert pipe(picture(size=(60, 20))).size == (60, 20)
    with pytest.raises(imgrs.ArgumentError, match="leaves the 50x40 image"):
        pipe(picture())


def test_a_missing_or_unknown_argument_of_a_kept_verb_is_told() -> None:
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^rotate: missing a required argument: 'angle'$"):
        pipeline().rotate()
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^thumbnail: got an unexpected keyword argument 'width'$"):
        pipeline().thumbnail((2, 2), width=3)


def test_what_needs_an_image_says_so() -> None:
    pipe = pipeline().blur(1)
    for name in ("size", "mode", "compute", "to_pil", "explain", "split", "info"):
        call = "" if name in ("size", "mode", "info") else r"\(\)"
        with pytest.raises(imgrs.ArgumentError, match=rf"^{name} needs an image: pipe\(img\)\.{name}{call}$") as raised:
            getattr(pipe, name)
        assert traceback.format_exception_only(raised.value)[0].startswith("imgrs.errors.ArgumentError: ")
        assert type(pickle.loads(pickle.dumps(raised.value))) is imgrs.ArgumentError
        assert not hasattr(pipe, name)
    with pytest.raises(AttributeError, match="a Pipeline has no 'sharpened'"):
        pipe.sharpened()


@pytest.mark.parametrize(
    "verbs",
    [
        lambda x: x.mean().blur(2), lambda x: x | x.extrema() | x.blur(1), lambda x: x.histogram()[0:9].invert(),
        lambda x: x.blend("normal", x.mean()), lambda x: x.mean().thumbnail((2, 2)), lambda x: x.mean() + 1,
        lambda x: x.mean().mean(), lambda x: x.apply(AutoContrast(1), x.blur(1)),
        lambda x: pipeline_of("mean().blur(2)"),
    ],
)  # fmt: skip
def test_a_statistic_is_no_image_when_the_step_is_added(verbs: Verbs) -> None:
    with pytest.raises(imgrs.ArgumentError, match=r"\w+ needs an? (image, not a )?statistic"):
        verbs(pipeline())


def test_a_recipe_that_blurs_a_statistic_is_refused_by_its_step() -> None:
    said = json.loads(pipeline().mean().to_json())
    said["steps"].append({"inputs": ["mean_1"], "name": "late", "op": "blur"})
    told = r"^recipe: step 'late': blur needs an image, not a statistic, as input 1$"
    with pytest.raises(imgrs.ArgumentError, match=told):
        Pipeline.from_json(json.dumps({**said, "output": "late"}), edited=True)


def test_a_part_of_a_statistic_is_one_and_a_hole_may_hold_one() -> None:
    img = picture()
    np.testing.assert_array_equal(pipeline().histogram()[3:9](img), img.histogram()[3:9])
    other = pipeline().apply(AutoContrast(1), pipeline("counts"))
    assert other(img, img.histogram()) == img.auto_contrast(1)


def test_a_pipeline_does_not_change() -> None:
    pipe = pipeline().blur(1)
    key = pipe.key
    assert pipe.thumbnail((9, 9)) is not pipe
    assert pipe.with_params(blur_1__radius=3) != pipe
    assert pipe.key == key
    assert copy.copy(pipe) is pipe
    assert copy.deepcopy(pipe) is pipe
    img = picture()
    before = img.key
    made = pipeline().thumbnail((9, 9))(img)
    assert (img.key, img.size, made.size) == (before, (50, 40), (9, 7))
    same = pipeline()(img)
    same.thumbnail((9, 9))
    assert img.size == (50, 40)


def test_equal_pipelines_are_equal_however_they_were_built() -> None:
    first = pipeline().blur(2).blend("normal", pipeline().blur(2.0).invert())
    shared = pipeline().blur()
    second = shared.blend("normal", shared.invert())
    assert first == second
    assert hash(first) == hash(second)
    assert repr(first) == repr(second)
    assert first != shared
    assert pipeline("a") != pipeline("b")
    assert (first == 3) is False


def test_keys_and_pickles_go_to_other_processes() -> None:
    pipe = pipeline().blur(2).rotate(3).map_tiles(np.flipud)
    script = "import pickle, sys; p = pickle.load(sys.stdin.buffer); print(p.key, hash(p)); print(p)"
    run = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(pipe), capture_output=True, check=True)
    assert run.stdout.decode().split("\n", 1) == [f"{pipe.key} {hash(pipe)}", f"{pipe}\n"]


def test_long_pipelines_are_ordinary() -> None:
    pipe = pipeline()
    for i in range(10_000):
        pipe = pipe.blur(i % 7)
    assert len(repr(pipe).splitlines()) < 80
    assert pickle.loads(pickle.dumps(pipe)) == pipe == Pipeline.from_json(pipe.to_json())
    assert pipe(picture("L")).size == (50, 40)


LISTING = """\
<imgrs.Pipeline input logo -> blend_1>
resize_1 = resize(input, (800, 600))
sharpen_1 = sharpen(resize_1, strength=1.1)
sharpen_2 = sharpen(sharpen_1)
transpose_1 = transpose(logo, 'rotate_90')
blend_1 = blend(sharpen_2, transpose_1, position=(4, 5))"""


def branched() -> Pipeline:
    pipe = pipeline().resize((800, 600)).sharpen(1.1).sharpen()
    return pipe.blend("normal", pipeline("logo").rotate90(), position=(4, 5))


def test_a_pipeline_is_shown_as_its_steps() -> None:
    assert repr(branched()) == LISTING
    assert repr(pipeline("photo")) == "<imgrs.Pipeline photo -> photo>"
    assert branched().inputs == ("input", "logo")


def test_images_fill_holes_in_order_or_by_name() -> None:
    pipe, photo, logo = branched(), picture(), picture(size=(8, 6))
    expected = photo.resize((800, 600)).sharpen(1.1).sharpen().blend("normal", logo.rotate90(), position=(4, 5))
    for made in (pipe(photo, logo), pipe(photo, logo=logo), pipe(logo=logo, input=photo)):
        assert made == expected
    for images, named, told in (
        ((), {}, "no image for input, logo; it takes input, logo"),
        ((photo,), {}, "no image for logo"),
        ((photo, logo, logo), {}, "got 3 images"),
        ((photo,), {"mask": logo}, "mask is none of its images"),
        ((photo, logo), {"logo": logo}, "logo was given twice"),
        ((photo, np.zeros((3, 3), np.uint8)), {}, "logo must be an image, got ndarray; imgrs.fromarray"),
        ((photo, pipe), {}, "join pipelines by |"),
    ):
        with pytest.raises(imgrs.ArgumentError, match=told.replace("|", r"\|")):
            pipe(*images, **named)


def test_paths_are_opened_and_results_saved(tmp_path: Path) -> None:
    photo, logo = tmp_path / "photo.png", tmp_path / "logo.png"
    picture().save(photo)
    picture(size=(8, 6)).save(logo)
    pipe = branched()
    expected = pipe(imgrs.open(photo), imgrs.open(logo))
    assert pipe(photo, str(logo)) == expected
    pipe.save([photo, logo], tmp_path / "a.png")
    pipe.save({"logo": logo, "input": photo}, tmp_path / "b.dat", format="png", compress_level=0)
    pipeline().invert().save(photo, tmp_path / "c.png")
    for name in ("a.png", "b.dat"):
        np.testing.assert_array_equal(imgrs.open(tmp_path / name).compute(), expected.compute())
    np.testing.assert_array_equal(imgrs.open(tmp_path / "c.png").compute(), 255 - picture().compute())


def test_pages_are_those_of_the_file(tmp_path: Path) -> None:
    import tifffile

    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for value in (1, 2, 3):
            file.write(np.full((4, 5), value, np.uint8))
    pipe = pipeline().page(2) + 10
    assert pipe(tmp_path / "pages.tif").compute().max() == 13
    assert Pipeline.from_json(pipe.to_json()) == pipe


def test_photographs_turn_by_their_own_exif(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    pipe = pipeline().exif_transpose()
    for orientation, size in ((1, (50, 40)), (6, (40, 50))):
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        picture().to_pil().save(tmp_path / "photo.jpg", exif=exif)
        assert pipe(tmp_path / "photo.jpg").size == size


def test_joined_pipelines_do_one_after_the_other() -> None:
    first, second, img, logo = pipeline("photo").blur(2).sharpen(), branched(), picture(), picture(size=(8, 6))
    joined = first | second
    assert joined.inputs == ("photo", "logo")
    assert joined(img, logo) == second(first(img), logo)
    assert [line.split(" = ")[0] for line in repr(joined).splitlines()[1:]] == [
        "blur_1", "sharpen_1", "resize_1", "sharpen_2", "sharpen_3", "transpose_1", "blend_1",
    ]  # fmt: skip
    assert functools.reduce(lambda a, b: a | b, [first, pipeline(), pipeline()]) == first
    assert first | (pipeline() + pipeline().invert()) == first + first.invert()
    with pytest.raises(imgrs.ArgumentError, match="takes no image"):
        first | imgrs.new("L", (3, 3)).recipe()
    with pytest.raises(TypeError):
        first | 3


def test_images_made_from_nothing_may_be_part_of_a_pipeline() -> None:
    img, frame = picture(), imgrs.new("RGB", (20, 20), (9, 8, 7)).blur(1)
    pipe = pipeline().blend("normal", frame)
    assert pipe(img) == img.blend("normal", frame)
    assert Pipeline.from_json(pipe.to_json())(img) == pipe(img)
    with pytest.raises(imgrs.ArgumentError, match=r'blend: a pipeline cannot hold <.*>.*put pipeline\("other"\)'):
        pipeline().blend("normal", img)
    with pytest.raises(imgrs.ArgumentTypeError, match=r"blend: needs an imgrs\.Image, got str"):
        pipeline().blend("normal", "logo.png")


def test_ops_without_a_verb_are_applied() -> None:
    pipe = pipeline().apply(Combine("add"), pipeline().invert()).apply(Blur(3))
    assert pipe(picture()) == (picture() + picture().invert()).blur(3)
    with pytest.raises(imgrs.ArgumentError, match="apply: combine takes 2 inputs, got 1"):
        pipeline().apply(Combine("add"))
    with pytest.raises(imgrs.ArgumentTypeError, match="apply: op must be an operation, got str"):
        pipeline().apply("blur")  # type: ignore[arg-type]


def test_an_op_says_how_many_inputs_it_has() -> None:
    for cls in op_classes():
        for node in applications(cls):
            assert cls.arity[0] <= len(node.inputs) <= cls.arity[1], cls


def test_holes_have_plain_names() -> None:
    for name in ("a__b", "Logo", "1", "", "ä", "a-b", 3):
        with pytest.raises(imgrs.ArgumentError, match=r"^pipeline: name must be"):
            pipeline(name)  # type: ignore[arg-type]
    clash = pipeline("blur_1").blur(2)
    assert repr(clash).splitlines()[1] == "blur_2 = blur(blur_1)"
    assert Pipeline.from_json(clash.to_json()) == clash


def test_parameters_are_edited_by_name() -> None:
    pipe = branched()
    assert pipe.params["sharpen_1__strength"] == 1.1
    changed = pipe.with_params(sharpen_1__strength=1.3, resize_1__size=(80, 60), resize_1__resample="BOX")
    assert changed.params == {
        **pipe.params,
        "sharpen_1__strength": 1.3,
        "resize_1__size": (80, 60),
        "resize_1__resample": "box",
    }
    assert pipe.with_params() == pipe
    assert changed.with_params(**pipe.params) == pipe
    img = picture()
    assert pipeline().rotate(1).with_params(rotate_1__angle=90)(img) == img.rotate(90)
    with pytest.raises(imgrs.ArgumentError, match=r"^sharpen: strength must be a number from 0 to 100, got -1|finite"):
        pipe.with_params(sharpen_1__strength=-1)
    with pytest.raises(
        imgrs.ArgumentError, match=r"^with_params: there is no 'sharpen_9__strength'; there are resize_1__"
    ):
        pipe.with_params(sharpen_9__strength=1)
    with pytest.raises(imgrs.ArgumentError, match=r"there is no 'resize_1__width'; resize_1 has size, resample, box$"):
        pipe.with_params(resize_1__width=800)


def sources(img: Image) -> list[Image]:
    """The images without inputs, in the order of first use."""
    from imgrs.graph.node import walk

    found = {node.key: Image(node) for node in walk([img._node]) if not node.inputs and node.op.name != "new"}
    return list(found.values())


@settings(quiet, max_examples=GRAPHS)
@given(graphs())
def test_random_graphs_are_recipes_and_come_back_from_text(img: Image) -> None:
    recipe = img.recipe()
    again = Pipeline.from_json(recipe.to_json())
    assert again == recipe
    assert again.to_json() == recipe.to_json()
    assert again.sources == recipe.sources
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    for pipe in (recipe, again, again.with_params(**again.params)):
        assert pipe(*sources(img)).key == img.key


def test_the_recipe_of_an_image_has_holes_for_its_sources(tmp_path: Path) -> None:
    import dask.array

    picture().save(tmp_path / "a.png")
    from_file, from_memory = imgrs.open(tmp_path / "a.png"), picture(size=(9, 9))
    from_dask = imgrs.from_dask(dask.array.zeros((9, 9, 3), dtype=np.uint8, chunks=4))
    img = from_file.blur(1).blend("normal", from_memory).blend("normal", from_dask)
    img = img.blend("normal", imgrs.open(tmp_path / "a.png").invert()).blend("normal", imgrs.new("RGB", (3, 3), 5))
    recipe = img.recipe()
    assert recipe.inputs == ("input", "input_2", "input_3")
    assert recipe(from_file, from_memory, from_dask).key == img.key
    assert [source.name for source in recipe.sources.values()] == ["a.png", None, None]
    assert [source.size for source in recipe.sources.values()] == [(50, 40), (9, 9), (9, 9)]


def test_the_recipe_of_verbs_is_the_pipeline_of_the_same_verbs() -> None:
    def verbs(x: Any) -> Any:
        return x.resize((30, 20)).auto_contrast(1).sharpen(1.1).blend("normal", x.resize((9, 9))).flip_left_right() + 3

    assert verbs(picture()).recipe() == verbs(pipeline())
    assert verbs(picture().astype("uint16")).recipe()(picture()) == verbs(picture().astype("uint16"))


def test_a_histogram_of_something_else_stays_an_input() -> None:
    img = picture()
    by_another = img.apply(AutoContrast(1), img.blur(2).histogram())
    recipe = by_another.recipe()
    assert "histogram_1" in repr(recipe)
    assert Pipeline.from_json(recipe.to_json())(img).key == by_another.key


def test_statistics_stay_statistics() -> None:
    mean = pipeline().convert("L").mean()(picture())
    assert isinstance(mean, Statistic)
    assert list(mean) == list(picture().convert("L").mean())


def test_a_thumbnail_of_a_jpeg_is_decoded_small_again(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture(size=(400, 300)).save(path, icc_profile=profile())
    small = imgrs.open(path).thumbnail((40, 40))
    recipe = Pipeline.from_json(small.recipe().to_json())
    assert repr(recipe).splitlines()[1] == "shrink_on_load_1 = shrink_on_load(input, 4)"
    assert recipe(path).key == small.key


def test_the_recipe_of_a_thumbnail_applies_to_any_photograph(tmp_path: Path) -> None:
    source, other = tmp_path / "photo.jpg", tmp_path / "other.jpg"
    picture(size=(400, 300)).save(source)
    picture(size=(401, 299)).save(other)
    recipe = imgrs.open(source).thumbnail((40, 40)).recipe()
    assert recipe(other).key == imgrs.open(other).thumbnail((40, 40)).key  # which has the same size
    plain = Image(next(node for node in walk([recipe(other)._node]) if not node.inputs))
    assert plain.size == (101, 75)
    img = picture(size=(401, 299))
    img.save(tmp_path / "other.tif")
    for image in (img, imgrs.open(tmp_path / "other.tif"), imgrs.open(other).blur(1), img.convert("L")):
        made = recipe(image)
        assert made.key == image.resize((101, 75), "box").resize((40, 30), "bicubic").key
    with Pillow.fromarray(img.compute()) as known:
        difference = np.abs(img.resize((101, 75), "box").compute().astype(int) - known.resize((101, 75), 4))
    assert difference.max() <= 1
    assert recipe(imgrs.new("RGB", (3, 2))).size == (40, 30)


def test_a_file_as_opened_and_decoded_small_is_one_hole(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture(size=(400, 300)).save(path)
    img = imgrs.open(path).blend("normal", imgrs.open(path).thumbnail((40, 40)))
    recipe = img.recipe()
    assert recipe.inputs == ("input",)
    assert recipe.sources["input"].size == (400, 300)
    assert recipe(path).key == img.key


def test_an_edited_recipe_knows_its_sources(tmp_path: Path) -> None:
    picture().save(tmp_path / "photo.png")
    imgrs.open(tmp_path / "photo.png").blur(1).save(tmp_path / "out.jpg", recipe=True, quality=70)
    recipe = Pipeline.from_file(tmp_path / "out.jpg").with_params(blur_1__radius=2)
    assert recipe.sources["input"].name == "photo.png"
    assert recipe.saved_with == {"quality": 70}
    assert pickle.loads(pickle.dumps(recipe)).sources == recipe.sources
    assert (recipe | pipeline().invert()).sources == {}


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_batch_takes_a_pipeline(scheduler: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture().save(tmp_path / f"{name}.png")
    pipe = pipeline().resize((20, 16)).sharpen(1.1)
    out = tmp_path / "out" / "{name}"
    report = imgrs.batch(tmp_path / "*.png", pipe, out, scheduler=scheduler, workers=2, recipe=True)
    assert [row["status"] for row in report.rows] == ["saved", "saved"]
    for name in ("a", "b"):
        np.testing.assert_array_equal(imgrs.open(tmp_path / "out" / f"{name}.png"), pipe(picture()))
        recipe = Pipeline.from_file(tmp_path / "out" / f"{name}.png")
        assert recipe == pipe
        assert recipe.sources["input"].name == f"{name}.png"
