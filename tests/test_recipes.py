"""Recipes as text: the same for equal pipelines, fit to be read and edited by people, and safe to read from anybody.

And in files: an output says how it was made, and can be made again.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import io
import json
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imgrs
from imgrs import recipe_text
from imgrs.cli import main
from imgrs.graph.op import Point, op
from imgrs.graph.parameters import checked
from imgrs.image import Image
from imgrs.io import xmp
from imgrs.ops.verbs import Verb
from imgrs.pipelines import Pipeline, pipeline
from imgrs.types import Pixels, Spec
from tests.examples import example, op_classes
from tests.samples import photograph, picture
from tests.test_random import GRAPHS, quiet

GOLDEN = """\
{
  "digest": "f48df45223601af4ee64e14981c03b5c",
  "inputs": ["input", "logo"],
  "output": "blend_1",
  "schema": "imgrs-recipe",
  "steps": [
    {
      "inputs": ["input"],
      "name": "resize_1",
      "op": "resize",
      "params": {
        "box": null,
        "resample": "lanczos",
        "size": [800, 600]
      }
    },
    {
      "inputs": ["resize_1"],
      "name": "sharpen_1",
      "op": "sharpen",
      "params": {
        "strength": 1.1
      }
    },
    {
      "inputs": ["sharpen_1"],
      "name": "auto_contrast_1",
      "op": "auto_contrast",
      "params": {
        "cutoff": 0.5
      }
    },
    {
      "inputs": ["logo"],
      "name": "invert_1",
      "op": "invert",
      "params": {
        "amount": 1.0
      }
    },
    {
      "inputs": ["auto_contrast_1", "invert_1"],
      "name": "blend_1",
      "op": "blend",
      "params": {
        "mode": "normal",
        "position": [4, 5]
      }
    }
  ],
  "version": 1
}
"""


def golden() -> Pipeline:
    graded = pipeline().resize((800, 600)).sharpen(1.1).auto_contrast(0.5)
    return graded.blend("normal", pipeline("logo").invert(), position=(4, 5))


def said(pipe: Pipeline) -> dict[str, Any]:
    """What the text of a pipeline says, without its digest."""
    found: dict[str, Any] = json.loads(pipe.to_json())
    del found["digest"]
    return found


def read(found: Any) -> Pipeline:
    return Pipeline.from_json(json.dumps(found))


def test_the_text_is_the_same_for_ever() -> None:
    assert golden().to_json() == GOLDEN
    assert Pipeline.from_json(GOLDEN) == golden()
    assert Pipeline.from_json(GOLDEN).to_json() == GOLDEN
    assert Pipeline.from_json(GOLDEN.encode()) == golden()
    assert json.loads(GOLDEN)["digest"] == golden().key


def test_a_changed_parameter_changes_its_line_and_the_digest() -> None:
    changed = golden().with_params(sharpen_1__strength=1.3).to_json()
    lines = [pair for pair in zip(GOLDEN.splitlines(), changed.splitlines(), strict=True) if pair[0] != pair[1]]
    assert [line.strip() for _, line in lines][1:] == ['"strength": 1.3']
    assert '"digest"' in lines[0][0]


def test_floats_are_exact() -> None:
    for value in (0.1, 1 / 3, 2**-40, 5e-324, 99.99999999999999):
        pipe = pipeline().sharpen(value)
        assert Pipeline.from_json(pipe.to_json()).params == {"sharpen_1__strength": value}


def test_edited_text_is_read_without_its_digest_or_when_told() -> None:
    edited = GOLDEN.replace('"strength": 1.1', '"strength": 1.3')
    expected = golden().with_params(sharpen_1__strength=1.3)
    with pytest.raises(imgrs.ArgumentError, match=r'remove the line with "digest", or read .*edited=True'):
        Pipeline.from_json(edited)
    assert Pipeline.from_json(edited, edited=True) == expected
    assert Pipeline.from_json("\n".join(line for line in edited.splitlines() if "digest" not in line)) == expected
    moved = json.dumps(json.loads(GOLDEN), indent=8)  # only laid out anew
    assert Pipeline.from_json(moved) == golden()


def test_hand_written_recipes_may_leave_out_defaults_and_name_steps_freely() -> None:
    steps = [
        {"name": "soft", "op": "blur", "inputs": ["photo"], "params": {"radius": 3}},
        {"name": "sharp", "op": "sharpen", "inputs": ["soft"]},
    ]
    written = {"schema": "imgrs-recipe", "version": 1, "inputs": ["photo"], "output": "sharp", "steps": steps}
    assert read(written) == pipeline("photo").blur(3).sharpen()
    assert read({**written, "steps": [], "output": "photo"}) == pipeline("photo")


def test_what_a_recipe_names_is_what_the_package_has() -> None:
    named = {cls for classes in recipe_text.operations().values() for cls in classes}
    verbs = set(Verb.__subclasses__())
    left_out = {cls.name for cls in op_classes() if cls not in named}
    assert named <= {*op_classes(), *verbs}
    assert left_out == {"map_tiles", "point_run", "table"}
    twice = {
        name: [cls.__name__ for cls in classes]
        for name, classes in recipe_text.operations().items()
        if len(classes) > 1
    }
    assert twice == {
        "auto_contrast": ["AutoContrast"] * 2,
        "exif_transpose": ["ExifTranspose"] * 2,
        "resize": ["Resize"] * 2,
    }


@pytest.mark.parametrize("name", sorted(recipe_text.operations()))
def test_every_operation_comes_back_from_text(name: str) -> None:
    for cls in recipe_text.operations()[name]:
        made = example(cls)  # type: ignore[arg-type]  # verbs declare examples as ops do
        inputs = [f"a{i}" for i in range(max(1, cls.arity[0]))][: cls.arity[1]]
        row = recipe_text.Row("step", made, tuple(inputs))
        text = recipe_text.written([row], "step", inputs, recipe_text.About())
        *_, found = recipe_text.read(text, False)[0]
        assert type(found.action) is cls
        assert found == row


Change = Callable[[dict[str, Any]], Any]


def changed(change: Change) -> dict[str, Any]:
    found = said(golden())
    change(found)
    return found


def put(place: str, value: Any) -> Change:
    """Set what is at a dotted place, such as ``steps.1.op``."""

    def change(found: dict[str, Any]) -> None:
        *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
        here: Any = found
        for part in path:
            here = here[part]
        here[last] = value

    return change


REFUSED: list[tuple[Change, str]] = [
    (put("schema", "other"), "recipe: schema must be 'imgrs-recipe', got 'other'"),
    (put("version", 2), "recipe: version must be 1, got 2; a newer imgrs may read it"),
    (put("version", True), "recipe: version must be 1, got True"),
    (lambda found: found.pop("steps"), "recipe: 'steps' is missing"),
    (put("extra", 1), "recipe: there is no 'extra'; it has "),
    (put("steps", {}), "recipe: inputs and steps must be lists"),
    (put("inputs", ["input", "logo", "input"]), "recipe: two steps or inputs are named 'input'"),
    (put("inputs", ["input", "logo", "other"]), "recipe: input 'other' is not used for the output"),
    (put("inputs", ["input", "Logo"]), "recipe: input needs a name of small letters, digits and _, got 'Logo'"),
    (put("output", "sharpen_1"), "recipe: step 'blend_1' is not used for the output; remove it, or use it"),
    (put("output", "blend_2"), "recipe: output must be the name of a step or an input, got 'blend_2'"),
    (put("steps.1", 5), "recipe: step 2 must be an object, got 5"),
    (lambda found: found["steps"][1].pop("name"), "recipe: step 2: 'name' is missing"),
    (put("steps.1.name", "resize_1"), "recipe: two steps or inputs are named 'resize_1'"),
    (put("steps.1.name", 7), "recipe: step 2 needs a name of small letters, digits and _, got 7"),
    (put("steps.1.operation", 7), "recipe: step 'sharpen_1': there is no 'operation'; it has inputs, name, op, par"),
    (
        put("steps.1.op", "sharpened"),
        "recipe: step 'sharpen_1': there is no operation 'sharpened'; a newer imgrs may read it",
    ),
    (put("steps.1.op", "__class__"), "recipe: step 'sharpen_1': there is no operation '__class__'"),
    (put("steps.1.op", "map_tiles"), "recipe: step 'sharpen_1': there is no operation 'map_tiles'"),
    (put("steps.1.op", "open"), "recipe: step 'sharpen_1': there is no operation 'open'"),
    (put("steps.1.op", ["sharpen"]), "recipe: step 'sharpen_1': there is no operation ['sharpen']"),
    (put("steps.1.inputs", ["sharpen_1"]), "recipe: step 'sharpen_1': its input 'sharpen_1' comes later, or is itself"),
    (put("steps.1.inputs", ["blend_1"]), "recipe: step 'sharpen_1': its input 'blend_1' comes later, or is itself"),
    (put("steps.1.inputs", ["blur_1"]), "recipe: step 'sharpen_1': its input 'blur_1' is not there"),
    (put("steps.1.inputs", "resize_1"), "recipe: step 'sharpen_1': inputs must be a list of names, got 'resize_1'"),
    (put("steps.1.inputs", ["resize_1", "input"]), "recipe: step 'sharpen_1': sharpen takes 1 input, got 2"),
    (put("steps.1.inputs", []), "recipe: step 'sharpen_1': sharpen takes 1 input, got 0"),
    (put("steps.4.inputs", ["auto_contrast_1"]), "recipe: step 'blend_1': blend takes 2 to 3 inputs, got 1"),
    (
        put("steps.1.version", 2),
        "recipe: step 'sharpen_1': version of sharpen must be 1 here, got 2; a newer imgrs may read it",
    ),
    (put("steps.1.params", [1]), "recipe: step 'sharpen_1': params must be an object, got [1]"),
    (
        put("steps.1.params.force", 1),
        "recipe: step 'sharpen_1': params of sharpen: there is no 'force'; it has strength; a newer imgrs may read it",
    ),
    (put("steps.0.params", {}), "recipe: step 'resize_1': resize: needs size, or one of width and height"),
    (
        put("steps.0.params", {"filter": 1}),
        "recipe: step 'resize_1': params of resize: there is no 'filter'; it has box",
    ),
    (put("steps.0.params", {"box": None, "size": None}), "recipe: step 'resize_1': resize: size must be a size"),
    (
        put("steps.1.params.strength", -1),
        "recipe: step 'sharpen_1': sharpen: strength must be a finite number from 0 to 100",
    ),
    (put("steps.1.params.strength", "1"), "recipe: step 'sharpen_1': sharpen: strength must be a number from 0 to 100"),
    (put("steps.1.params.strength", {"a": 1}), "recipe: step 'sharpen_1': strength must be a number, text, a list"),
    (
        put("steps.1.params.strength", {"hex": "0G"}),
        "recipe: step 'sharpen_1': strength must be a number, text, a list",
    ),
    (
        put("steps.1.params.strength", [[[[[[1]]]]]]),
        "recipe: step 'sharpen_1': strength has more than 4 lists within lists",
    ),
    (put("steps.1.params.strength", float("nan")), "recipe: numbers must be finite, got NaN"),
    (put("steps.1.params.strength", float("-inf")), "recipe: numbers must be finite, got -Infinity"),
    (put("steps.1.params.strength", 1 << 63), "recipe: numbers must be below 2**63, got "),
    (put("sources", {"input": {"name": 3, "size": [1, 1]}}), "recipe: sources must be {input: "),
    (put("sources", {"sharpen_1": {"name": "a", "size": [1, 1]}}), "recipe: sources must be {input: "),
    (put("sources", []), "recipe: sources must be {input: "),
    (put("saved_with", {"quality": {}}), "recipe: saved_with must be options"),
    (put("saved_with", 3), "recipe: saved_with must be options"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_no_recipe_is_refused_and_the_step_named(number: int) -> None:
    change, told = REFUSED[number]
    with pytest.raises((imgrs.ArgumentError, imgrs.LimitError)) as refused:
        read(changed(change))
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the text is not JSON: Expecting value"),
        ("[]", r"the text must be a JSON object, got \[\]"),
        (b"\xff\xfe\xff", "the text is not JSON: its bytes are not UTF-8$"),
        (b'{"schema": "\xe9"}', "the text is not JSON: its bytes are not UTF-8$"),
        ('{"schema": 1, "schema": 2}', "'schema' is there twice$"),
        ('{"name": "blur_1", "op": 1, "op": 2}', r"'op' is there twice \(in step 'blur_1'\)$"),
        ('{"a": 1e999}', "numbers must be finite, got '1e999'"),
        ('{"a": ' + "9" * 5000 + "}", r"numbers must be below 2\*\*63"),
        ("[" * 100_000 + "]" * 100_000, "lists within lists are too deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "lists within lists are too deep"),
        ("\ud800", "the text is not JSON"),
        (3, "text must be JSON as str or bytes, got int"),
    ],
)
def test_what_is_no_json_is_refused(text: Any, told: str) -> None:
    with pytest.raises((imgrs.ArgumentError, imgrs.LimitError), match=f"^recipe: {told}"):
        Pipeline.from_json(text)


def test_large_recipes_are_refused_by_limits_that_can_be_raised() -> None:
    pipe = pipeline().blur(1).blur(2).blur(3)
    with dask.config.set({"imgrs.max-recipe-steps": 2}):
        with pytest.raises(imgrs.LimitError, match=r"recipe: the text has 3 steps, .*imgrs\.max-recipe-steps"):
            Pipeline.from_json(pipe.to_json())
        assert Pipeline.from_json(pipeline().blur(1).blur(2).to_json())
    with pytest.raises(
        imgrs.LimitError, match="recipe: the text has 4,194,305 bytes, more than the limit of 4,194,304"
    ):
        Pipeline.from_json(" " * ((4 << 20) + 1))
    many = [f"a{i}" for i in range(10_001)]
    with pytest.raises(imgrs.LimitError, match="10,001 steps"):
        read({**said(pipe), "inputs": many})


def test_hostile_text_is_refused_in_time_that_grows_with_its_length() -> None:
    """Minutes, were it quadratic: as many names as the limit of bytes allows, and white space where a pattern looks."""
    names = ",".join(f'"{number}":1' for number in range(300_000))
    with pytest.raises(imgrs.ArgumentError, match=r"^recipe: '299999' is there twice$"):
        Pipeline.from_json(f'{{{names},"299999":2}}')
    packet = OTHERS.replace(
        b"dc:format=", f'xmlns:i="{xmp.NAMESPACE}"{" " * 1_000_000}i:recipe="a" dc:format='.encode()
    )
    assert xmp.recipe(packet) == "a"
    assert xmp.recipe(xmp.without_recipe(packet)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("hex"), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["input", "logo", "resize_1", "blend_1", *recipe_text.operations()])


def places(found: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) within what JSON says."""
    listed: list[tuple[Any, Any]] = []
    waiting = [found]
    while waiting:
        here = waiting.pop()
        keys = here.keys() if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        for key in keys:
            listed.append((here, key))
            waiting.append(here[key])
    return listed


@settings(quiet, max_examples=10 * GRAPHS)
@given(st.data())
def test_hostile_recipes_raise_nothing_but_errors_of_ours(data: st.DataObject) -> None:
    found = copy.deepcopy(said(golden()))
    for _ in range(data.draw(st.integers(1, 4))):
        listed = places(found)
        if listed:
            here, key = listed[data.draw(st.integers(0, len(listed) - 1))]
            here[key] = data.draw(JSON | NAMES | st.lists(NAMES, max_size=3))
    text = json.dumps(found)
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.text(max_size=4)) + text[at + data.draw(st.integers(0, 4)) :]
    with contextlib.suppress(imgrs.ImgrsError):
        pipe = Pipeline.from_json(text)
        pipe(*(imgrs.new("RGB", (50, 40), 9) for _ in pipe.inputs))


def test_reading_a_recipe_runs_no_code_and_imports_no_module() -> None:
    nodes = list(ast.walk(ast.parse(Path(recipe_text.__file__).read_text(encoding="utf-8"))))
    assert not {node.id for node in nodes if isinstance(node, ast.Name)} & {"eval", "exec", "compile", "__import__"}
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert not imported & {"pickle", "marshal", "yaml", "runpy"}
    script = (
        "import sys, imgrs; text = sys.stdin.read()\n"
        "imgrs.Pipeline.from_json(text); before = set(sys.modules)\n"
        "for op in ('os', 'os.system', 'imgrs.cli', 'Image', 'compute', 'imgrs.ops.tone.Brightness', 'this'):\n"
        "    try: imgrs.Pipeline.from_json(text.replace('sharpen', op), edited=True)\n"
        "    except imgrs.ArgumentError: continue\n"
        "    raise SystemExit(op)\n"
        "raise SystemExit(str(set(sys.modules) - before) if set(sys.modules) - before else 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], input=golden().to_json().encode(), capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr


@op
class Foreign(Point):
    """An op of somebody else's package."""

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        return pixels[0]


def test_steps_that_are_no_values_stay_out_of_text() -> None:
    with pytest.raises(imgrs.ArgumentError, match=r"^to_json: map_tiles_1 cannot be written as text"):
        pipeline().blur(1).map_tiles(np.flipud).to_json()
    foreign = pipeline().apply(Foreign())
    with pytest.raises(imgrs.ArgumentError, match=r"^to_json: foreign_1 cannot be written as text"):
        foreign.to_json()
    img = imgrs.new("L", (3, 3))
    assert foreign(img) == img.apply(Foreign())
    assert foreign != pipeline()


def test_bytes_and_later_versions_of_an_op_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    @op
    class Stamped(Point):
        version = 3
        stamp: bytes = checked(bytes)

        def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
            return pixels[0]

    listed = {**recipe_text.operations(), "stamped": (Stamped,)}
    monkeypatch.setattr(recipe_text, "operations", lambda: listed)
    pipe = pipeline().apply(Stamped(b"\0\xff"))
    assert '"hex": "00ff"' in pipe.to_json()
    assert '"version": 3\n    }' in pipe.to_json()
    assert Pipeline.from_json(pipe.to_json()) == pipe
    older = said(pipe)
    del older["steps"][0]["version"]
    with pytest.raises(imgrs.ArgumentError, match="step 'stamped_1': version of stamped must be 3 here, got 1"):
        read(older)


def test_a_reader_that_does_not_know_a_form_of_an_operation_names_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(pipeline().resize(width=800))
    listed = {**recipe_text.operations(), "resize": recipe_text.operations()["resize"][1:]}
    monkeypatch.setattr(recipe_text, "operations", lambda: listed)
    told = r"step 'resize_1': params of resize: there is no 'height'; it has box, resample, size; a newer imgrs may read it$"
    with pytest.raises(imgrs.ArgumentError, match=told):
        read(found)


def test_parameters_have_no_value_that_text_cannot_hold() -> None:
    for classes in recipe_text.operations().values():
        for cls in classes:
            values = recipe_text.parameters_of(example(cls)).values()  # type: ignore[arg-type]  # as above
            for value in values:
                assert recipe_text._value("", json.loads(json.dumps(recipe_text._plain(value)))) == value


# In files

OTHERS = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF '
    b'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><!-- </r:RDF> --><r:Description r:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="a &gt; \xc3\xa9"/></r:RDF ></x:xmpmeta><?xpacket end="w"?>'
)
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "tif": {"compression": "jpeg", "quality": 60, "tile": (64, 48)},
    "ome.tif": {},
    "jpg": {"quality": 70, "subsampling": 0},
    "webp": {"quality": 40},
    "avif": {"quality": 50, "speed": 10},
    "jxl": {"quality": 60, "effort": 3},
    "jp2": {"quality_mode": "rates", "quality_layers": [20], "irreversible": True},
    "zarr": {"tile": 32, "level": 3},
}


@pytest.mark.parametrize("extension", FORMATS)
def test_an_output_is_made_again_from_what_it_says(extension: str, tmp_path: Path) -> None:
    photo, logo = tmp_path / "photo.jpg", tmp_path / "logo.png"
    imgrs.fromarray(picture(size=(400, 300))).save(photo, exif=photograph())
    imgrs.new("RGB", (16, 12), (200, 30, 30)).save(logo)
    img = imgrs.open(photo).thumbnail((64, 64)).sharpen(1.1).auto_contrast(1)
    img = img.blend("normal", imgrs.open(logo).blur(1), position=(3, 4))
    first, again, plain = (tmp_path / f"{name}.{extension}" for name in ("first", "again", "plain"))
    img.save(first, recipe=True, **FORMATS[extension])
    img.save(plain, **FORMATS[extension])
    recipe = Pipeline.from_file(first)
    assert recipe == img.recipe()
    assert {hole: one.name for hole, one in recipe.sources.items()} == {"input": "photo.jpg", "input_2": "logo.png"}
    assert recipe.sources["input"].size == imgrs.open(photo).size
    named = {hole: tmp_path / (one.name or "") for hole, one in recipe.sources.items()}
    recipe.save(named, again, **recipe.saved_with)
    for path in (again, plain):
        np.testing.assert_array_equal(imgrs.open(path).compute(), imgrs.open(first).compute())
    with pytest.raises(imgrs.ArgumentError, match=rf"^from_file: .*plain\.{extension} holds no recipe; save\("):
        Pipeline.from_file(plain)


def test_a_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    path.write_text(GOLDEN)
    with open(path, "rb") as file:
        for source in (path, str(path), GOLDEN.encode(), b"\xef\xbb\xbf\n" + GOLDEN.encode(), file):
            assert Pipeline.from_file(source) == golden()
    edited = GOLDEN.replace('"strength": 1.1', '"strength": 1.3').encode()
    with pytest.raises(imgrs.ArgumentError, match=r"edited=True \(imgrs run --edited\)$"):
        Pipeline.from_file(edited)
    assert Pipeline.from_file(edited, edited=True) == golden().with_params(sharpen_1__strength=1.3)
    with pytest.raises(imgrs.ArgumentError, match="its bytes are not UTF-8"):
        Pipeline.from_file(b'{"schema": "\xe9"}')
    with dask.config.set({"imgrs.max-recipe-bytes": 100}), pytest.raises(imgrs.LimitError, match="bytes"):
        Pipeline.from_file(path)
    with pytest.raises(imgrs.UnsupportedFormatError, match="is text"):
        Pipeline.from_file(b"blur(2)")


def test_a_recipe_is_read_from_a_file_object_that_holds_an_image() -> None:
    file = io.BytesIO()
    img = imgrs.new("L", (9, 8), 7).blur(1)
    img.save(file, "png", recipe=True)
    once = SimpleNamespace(read=io.BytesIO(file.getvalue()).read)  # as a pipe: what was read is gone
    for source in (file, file.getvalue(), once):
        assert Pipeline.from_file(source) == img.recipe()


@pytest.mark.parametrize("extension", ["png", "tif", "jpg", "webp"])
def test_a_recipe_leaves_the_sources_xmp_as_it_was(extension: str, tmp_path: Path) -> None:
    source, first, second = (tmp_path / f"{name}.{extension}" for name in ("source", "first", "second"))
    imgrs.new("RGB", (32, 32), 9).save(source, xmp=OTHERS)
    img = imgrs.open(source).invert()
    img.save(first, recipe=True)
    packet = imgrs.open(first).info["xmp"]
    assert xmp.without_recipe(packet) == OTHERS
    root = xml.etree.ElementTree.fromstring(packet.decode())
    (found,) = root.iter(f"{{{xmp.NAMESPACE}}}recipe")
    assert Pipeline.from_json(found.text or "") == img.recipe()
    imgrs.open(first).blur(1).save(second)  # made in another way
    assert imgrs.open(second).info["xmp"] == OTHERS
    imgrs.open(first).blur(1).save(second, recipe=True)
    assert Pipeline.from_file(second) == pipeline().blur(1)
    imgrs.open(first).blur(1).save(second, recipe=True, metadata=False)
    assert xmp.without_recipe(imgrs.open(second).info["xmp"]).count(b"purl.org") == 0
    assert Pipeline.from_file(second) == pipeline().blur(1)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif"])
def test_other_programs_find_the_recipe_in_the_xmp(extension: str, tmp_path: Path) -> None:
    from PIL import Image as Pillow

    img = imgrs.new("RGB", (32, 32), 9).rotate(3)
    img.save(tmp_path / f"a.{extension}", recipe=True)
    with Pillow.open(tmp_path / f"a.{extension}") as read:
        packet = read.info["xmp"]
    root = xml.etree.ElementTree.fromstring(packet)
    (found,) = root.iter(f"{{{xmp.NAMESPACE}}}recipe")
    assert Pipeline.from_json(found.text or "") == img.recipe()


def test_a_recipe_is_found_where_other_programs_have_put_it() -> None:
    """The property may be rewritten as an attribute, among those of others, with another prefix (ISO 16684-1, 7.9.2.2)."""
    text = pipeline().blur(1).to_json()
    quoted = text.replace("&", "&amp;").replace('"', "&quot;").replace("\n", "&#10;")
    shorter = OTHERS.replace(b"dc:format=", f'xmlns:i="{xmp.NAMESPACE}" i:recipe="{quoted}" dc:format='.encode())
    assert xmp.recipe(shorter) == text
    assert xmp.recipe(xmp.without_recipe(shorter)) is None
    assert b'dc:format="a &gt; ' in xmp.without_recipe(shorter)
    other = pipeline().blur(2).to_json()
    assert xmp.recipe(xmp.with_recipe(shorter, other)) == other
    assert xmp.recipe(OTHERS) is None
    assert xmp.recipe(b"") is None


@pytest.mark.parametrize(
    "packet",
    [
        b"no XML",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>",
        OTHERS.decode().encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + OTHERS[OTHERS.index(b"<x:") :],
        OTHERS[:-40],
        OTHERS.replace(b"\xc3\xa9", b"\xe9"),
    ],
)
def test_xmp_that_cannot_be_added_to_is_refused_and_not_lost(packet: bytes, tmp_path: Path) -> None:
    img = imgrs.new("RGB", (32, 32), 9)
    with pytest.raises(imgrs.ArgumentError, match=r"^save: the recipe cannot be put into the XMP .*metadata=False$"):
        img.save(tmp_path / "a.tif", recipe=True, xmp=packet)
    img.save(tmp_path / "a.tif", recipe=True, xmp=b"")
    assert Pipeline.from_file(tmp_path / "a.tif") == img.recipe()


@settings(quiet, max_examples=GRAPHS)
@given(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 9))
def test_damaged_xmp_with_a_recipe_raises_nothing_but_errors_of_ours(at: int, put: bytes, gone: int) -> None:
    packet = xmp.with_recipe(OTHERS, pipeline().blur(1).to_json())
    at %= len(packet)
    packet = packet[:at] + put + packet[at + gone :]
    xmp.recipe(packet)
    xmp.without_recipe(packet)
    with contextlib.suppress(imgrs.ArgumentError):
        assert xmp.recipe(xmp.with_recipe(packet, "{}")) == "{}"


def test_formats_that_cannot_hold_a_recipe_say_so(tmp_path: Path) -> None:
    img = imgrs.new("RGB", (32, 32), 9)
    for extension in ("gif", "bmp", "ppm", "qoi", "npy", "dzi"):
        with pytest.raises(imgrs.ArgumentError, match=r"^save: \w+ keeps no XMP, .* as TIFF, .*to_json\(\) beside"):
            img.save(tmp_path / f"a.{extension}", recipe=True)
    with pytest.raises(imgrs.ArgumentError, match=r"^save: recipe must be True or False, got 1$"):
        img.save(tmp_path / "a.png", recipe=1)
    with pytest.raises(imgrs.ArgumentError, match=r"^to_json: map_tiles_1 cannot be written as text"):
        img.map_tiles(np.flipud).save(tmp_path / "a.png", recipe=True)
    assert not list(tmp_path.iterdir())


def test_a_recipe_that_is_too_long_for_jpeg_is_refused_at_the_call(tmp_path: Path) -> None:
    img: Image = imgrs.new("L", (8, 8), 9)
    for i in range(600):
        img = img.brightness(i % 7)
    with pytest.raises(imgrs.ArgumentError, match=r"^save: JPEG holds 65,504 bytes of XMP, .*got [\d,]+; save as PNG"):
        img.save(tmp_path / "a.jpg", recipe=True)
    img.save(tmp_path / "a.png", recipe=True)
    assert Pipeline.from_file(tmp_path / "a.png") == img.recipe()
    with pytest.raises(imgrs.ArgumentError, match=r"^save: JPEG holds 65,504 bytes of XMP"):
        img.save(tmp_path / "a.jpg", xmp=b" " * 65_505)
    img.save(tmp_path / "a.jpg", xmp=b" " * 65_504)
    imgrs.new("L", (8, 8), 9).save(tmp_path / "b.png", xmp=b" " * 65_505)
    imgrs.open(tmp_path / "b.png").save(tmp_path / "b.jpg")  # what a format cannot hold stays behind
    assert "xmp" not in imgrs.open(tmp_path / "b.jpg").info


def test_sources_tell_no_folders_and_no_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    imgrs.new("L", (8, 8), 9).save(folder / "a.png")
    assert "secret" not in imgrs.open(folder / "a.png").recipe().to_json()
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/b.png?token=secret", (folder / "a.png").read_bytes())
    recipe = imgrs.open("memory://b.png?token=secret").recipe()
    assert recipe.sources["input"].name == "b.png"
    data = (folder / "a.png").read_bytes()
    assert imgrs.open(data).recipe().sources["input"].name is None


def test_the_page_of_a_source_is_told(tmp_path: Path) -> None:
    import tifffile

    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for value in (1, 2):
            file.write(np.full((4, 5), value, np.uint8))
    img = imgrs.open(tmp_path / "pages.tif", page=1).invert()
    (source,) = Pipeline.from_json(img.recipe().to_json()).sources.values()
    assert tuple(source) == ("pages.tif", (5, 4), 1)
    assert img.recipe()(imgrs.open(tmp_path / "pages.tif", page=source.page)) == img


def test_dataclasses_of_verbs_declare_every_parameter() -> None:
    for cls in Verb.__subclasses__():
        assert all("check" in field.metadata for field in dataclasses.fields(cls)), cls  # type: ignore[arg-type]


def test_images_that_are_saved_together_have_each_their_recipe(tmp_path: Path) -> None:
    img = imgrs.new("RGB", (32, 32), 9)
    first, second = tmp_path / "a.png", tmp_path / "b.webp"
    imgrs.save_all({first: (img.blur(1), {"recipe": True}), second: (img.invert(), {"recipe": True, "quality": 30})})
    assert Pipeline.from_file(first) == img.blur(1).recipe()
    assert Pipeline.from_file(second) == img.invert().recipe()
    assert Pipeline.from_file(second).saved_with == {"quality": 30}


@pytest.mark.parametrize("way", ["save", "batch", "shell"])
def test_a_file_keeps_the_rules_of_the_pipeline_that_made_it(way: str, tmp_path: Path) -> None:
    wide, tall = imgrs.new("RGB", (80, 40), "teal"), imgrs.new("RGB", (30, 90), "teal")
    wide.save(tmp_path / "wide.png")
    pipe, made = imgrs.pipeline().thumbnail((20, 20)), tmp_path / "made.png"
    if way == "save":
        pipe.save(tmp_path / "wide.png", made, recipe=True)
    elif way == "batch":
        imgrs.batch(tmp_path / "wide.png", pipe, made, recipe=True, progress=False)
    else:
        main(
            ["apply", "thumbnail(20, 20)", str(tmp_path / "wide.png"), str(made), "-O", "recipe=True"],
            standalone_mode=False,
        )
    recipe = imgrs.Pipeline.from_file(made)
    assert recipe(wide).size == (20, 10)
    assert recipe(tall).size == (7, 20)
    assert recipe.sources["input"].name == "wide.png"


def test_a_recipe_has_what_was_done_before_the_pipeline_too(tmp_path: Path) -> None:
    photo = imgrs.new("RGB", (80, 40), "teal")
    photo.save(tmp_path / "photo.png")
    inverted = imgrs.open(tmp_path / "photo.png").invert()
    imgrs.pipeline().resize(width=20).save(inverted, tmp_path / "made.png", recipe=True)
    again = imgrs.Pipeline.from_file(tmp_path / "made.png")(photo)
    assert imgrs.images_equal(again, imgrs.open(tmp_path / "made.png"))
