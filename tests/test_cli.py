"""The command line: each command does what its function does, prints it, and says what went wrong in one line."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image as Pillow

import imgrs
from imgrs.cli import main
from imgrs.expression import pipeline_of
from imgrs.ops.filter import Blur
from tests.samples import photograph, picture, saved

COMMAND = [sys.executable, "-m", "imgrs.cli"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    imgrs.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


def run(*arguments: Any, input: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)


def done(*arguments: Any, input: bytes | None = None) -> str:
    result = run(*arguments, input=input)
    assert result.exit_code == 0, result.output
    return result.output


def test_info_reads_headers(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.tif"
    imgrs.new("I;16", (7, 5)).save(other)
    assert done("info", photo, other).splitlines() == [
        f"{photo}: PNG 80x60 RGB uint8",
        f"{other}: TIFF 7x5 I;16 uint16",
    ]
    first, second = json.loads(done("info", "--json", photo, other))
    assert (first["width"], first["height"], first["mode"], first["frames"]) == (80, 60, "RGB", 1)
    assert second["source"] == str(other)


def test_convert_takes_options_of_the_format_and_the_engine(photo: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small.jpg", tmp_path / "large.jpg"
    done("convert", photo, small, "-O", "quality=10", "--workers", 1, "--memory-limit", "200MiB")
    done("convert", photo, large, "-O", "quality=95", "-O", "subsampling=0")
    assert small.stat().st_size < large.stat().st_size
    done("convert", photo, tmp_path / "a.dat", "--format", "tiff", "-O", "compression=zstd")
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.dat"), imgrs.open(photo))


def test_an_image_is_opened_as_told(photo: Path, tmp_path: Path) -> None:
    pages = [Pillow.new("L", (30, 20), shade) for shade in (10, 20)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    done("convert", tmp_path / "pages.tif", tmp_path / "second.png", "--page", 1)
    assert int(imgrs.open(tmp_path / "second.png").compute().max()) == 20
    turned = tmp_path / "turned.jpg"
    imgrs.open(photo).save(turned, exif=photograph())
    upright = imgrs.open(turned, orient=True)
    assert upright.size == (60, 80)
    assert "60x80" in done("info", turned, "--orient")
    done("apply", "blur(1)", turned, tmp_path / "upright.png", "--orient")
    np.testing.assert_array_equal(imgrs.open(tmp_path / "upright.png"), upright.blur(1))
    done("batch", "blur(1)", turned, "-o", tmp_path / "batch.png", "--orient")
    np.testing.assert_array_equal(imgrs.open(tmp_path / "batch.png"), upright.blur(1))
    for command in ("explain", "estimate", "bench", "profile"):
        missing = run(command, "blur(1)", tmp_path / "pages.tif", "--page", 2)
        assert missing.exit_code == 1, command
        assert "page must be" in missing.stderr


def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole, cut, out = saved(picture(3, (500, 400)), "JPEG"), tmp_path / "cut.jpg", tmp_path / "out.png"
    cut.write_bytes(whole[: len(whole) * 3 // 5])
    assert run("convert", cut, out).exit_code == 1
    told = run("convert", cut, out, "--on-error", "fill")
    assert told.exit_code == 0
    assert re.fullmatch(r"imgrs: .*cut\.jpg.* is 0: damaged\(\) lists what is damaged\n", told.stderr)
    with pytest.warns(imgrs.DamagedImageWarning):
        run("--traceback", "convert", shutil.copy(cut, tmp_path / "again.jpg"), out, "--on-error", "fill")
    np.testing.assert_array_equal(imgrs.open(out)[:150], imgrs.open(whole)[:150])
    assert not imgrs.open(out)[399:].compute().any()


def test_apply_is_the_chain_of_verbs(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done("apply", "resize(40, 30, resample='bilinear').brightness(-10).sharpen(1.1)", photo, out)
    expected = imgrs.open(photo).resize((40, 30), resample="bilinear").brightness(-10).sharpen(1.1)
    with Pillow.open(out) as made:
        np.testing.assert_array_equal(made, expected)


def test_pipes() -> None:
    image = imgrs.fromarray(np.random.default_rng(2).integers(0, 256, (30, 40, 3), np.uint8))
    file = io.BytesIO()
    image.save(file, "png")
    command = [*COMMAND, "apply", "rotate90()", "-", "-", "--format", "png"]
    made = subprocess.run(command, input=file.getvalue(), capture_output=True, check=True)
    np.testing.assert_array_equal(imgrs.open(made.stdout), image.rotate90())


def test_bad_standard_input_is_called_so() -> None:
    for command in (("info", "-"), ("convert", "-", "x.png")):
        result = run(*command, input=b"no image")
        assert result.exit_code == 1
        assert result.output.startswith("imgrs: the standard input is text; the known formats are")
    cut = io.BytesIO()
    imgrs.new("RGB", (40, 30)).save(cut, "tiff", compression="none")
    result = run("apply", "blur(1)", "-", "x.png", input=cut.getvalue()[:100])
    assert result.output.startswith("imgrs: the standard input: its first directory would be at byte")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("side", [20, 500])
def test_a_standard_output_that_is_closed_ends_a_command_quietly(side: int, unbuffered: str, tmp_path: Path) -> None:
    imgrs.fromarray(np.random.default_rng(2).integers(0, 256, (side, side, 3), np.uint8)).save(tmp_path / "a.png")
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "convert", str(tmp_path / "a.png"), "-", "--format", "png"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    made = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writer)
    assert made.stderr == b""
    assert made.returncode == 1


def test_run_applies_a_recipe_to_many(photo: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(imgrs.pipeline().resize((40, 30)).invert().to_json())
    report = json.loads(done("run", recipe, f"{photo.parent}/*.png", "-o", f"{tmp_path}/out/{{stem}}.png", "--json"))
    assert [row["status"] for row in report["results"]] == ["saved"]
    np.testing.assert_array_equal(
        imgrs.open(tmp_path / "out" / "photo.png"), imgrs.open(photo).resize((40, 30)).invert()
    )


def test_batch_fails_where_an_image_did(photo: Path, tmp_path: Path) -> None:
    out = f"{tmp_path}/out/{{stem}}.jpg"
    assert "1 saved in" in done("batch", "blur(1)", photo.parent, "-o", out, "-O", "quality=80", "--resume")
    assert "1 kept in" in done("batch", "blur(1)", photo.parent, "-o", out, "-O", "quality=80", "--resume")
    (photo.parent / "bad.png").write_bytes(b"bad")
    result = run("batch", "blur(1)", photo.parent, "-o", out)
    assert result.exit_code == 1
    assert "1 saved, 1 failed in" in result.output
    stopped = run("batch", "blur(1)", photo.parent, "-o", out, "--on-error", "raise")
    assert stopped.exit_code == 1
    assert stopped.stderr.startswith("imgrs: ")
    assert "bad.png" in stopped.stderr
    for command in ("batch", "run"):
        assert "The exit status is 1 where a file failed, and 2 where" in " ".join(done(command, "--help").split())


def test_a_recipe_is_edited_on_the_command_line(photo: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.json", tmp_path / "photo.png"
    text = imgrs.pipeline().sharpen(1.1).to_json()
    recipe.write_text(text.replace("1.1", "1.5"))
    result = run("run", recipe, photo, "-o", out)
    assert result.exit_code == 2
    assert "imgrs run --edited" in result.output
    for arguments, strength in (((), 1.5), (("--param", "sharpen_1__strength=2"), 2)):
        done("run", recipe, photo, "-o", out, "--edited", *arguments)
        np.testing.assert_array_equal(imgrs.open(out), imgrs.open(photo).sharpen(strength))
    done("run", "-", photo, "-o", out, "--param", "sharpen_1__strength=0.5", input=text.encode())
    np.testing.assert_array_equal(imgrs.open(out), imgrs.open(photo).sharpen(0.5))


def test_a_recipe_in_an_image_is_run(photo: Path, tmp_path: Path) -> None:
    imgrs.open(photo).invert().save(tmp_path / "first.png", recipe=True)
    done("run", tmp_path / "first.png", photo, "-o", tmp_path / "second.png")
    np.testing.assert_array_equal(imgrs.open(tmp_path / "second.png"), imgrs.open(photo).invert())


def test_options_of_a_format_may_be_none(photo: Path, tmp_path: Path) -> None:
    imgrs.open(photo).save(photo.with_suffix(".jpg"), exif=photograph())
    done("convert", photo.with_suffix(".jpg"), tmp_path / "a.jpg", "-O", "exif=None")
    with Pillow.open(photo.with_suffix(".jpg")) as before, Pillow.open(tmp_path / "a.jpg") as after:
        assert dict(before.getexif())
        assert not dict(after.getexif())


def test_explain_and_estimate_compute_nothing(photo: Path) -> None:
    text = done("explain", "brightness(3).blur(2)", photo, "--sink", "tiff", "--workers", 2)
    expected = imgrs.open(photo).brightness(3).blur(2).explain("tiff", workers=2)
    known = [line for line in expected.splitlines() if "free" not in line and "limit" not in line]
    assert "%3 = blur(%2)" in text
    assert set(known) <= set(text.splitlines())
    found = json.loads(done("estimate", "brightness(3).blur(2)", photo, "--json"))
    assert set(found) == {"peak_bytes", "read_bytes", "seconds", "tasks", "scratch_bytes"}
    assert found["read_bytes"] > 0
    assert "peak_bytes" in done("estimate", "blur(2)", photo)


def test_explain_and_profile_print_json(photo: Path) -> None:
    steps = "brightness(3).blur(2)"
    found = json.loads(done("explain", steps, photo, "--sink", "tiff", "--workers", 2, "--json"))
    same = imgrs.open(photo).brightness(3).blur(2).explain("tiff", as_json=True, workers=2)
    assert found["graph"] == json.loads(same)["graph"]
    assert [node["op"] for node in found["graph"]] == ["open", "brightness", "blur"]
    measured = json.loads(done("profile", steps, photo, "--sink", "tiff", "--workers", 2, "--json", "--no-progress"))
    assert measured["tiles"] == sum(stage["tiles"] for stage in measured["stages"]) > 0
    assert measured["plan"]["optimized"] == found["optimized"]


def test_explain_estimate_and_profile_take_the_options_of_a_format(photo: Path) -> None:
    tiled = ("--sink", "tiff", "-O", "tile=16", "--chunks", "20,20", "--workers", 2)
    assert "6 tiles of 32x32" in done("explain", "blur(2)", photo, *tiled)
    found = json.loads(done("estimate", "blur(2)", photo, *tiled, "--json"))
    said: dict[str, Any] = {"sink": "tiff", "chunks": (20, 20), "workers": 2}
    assert found["tasks"] == imgrs.estimate(imgrs.open(photo).blur(2), tile=16, **said).tasks
    assert found["tasks"] != imgrs.estimate(imgrs.open(photo).blur(2), **said).tasks
    assert "6 tiles of 32x32" in done("profile", "blur(2)", photo, *tiled, "--no-progress")


@pytest.fixture
def blurred(monkeypatch: pytest.MonkeyPatch) -> list[Blur]:
    """One for each tile that was blurred."""
    found: list[Blur] = []
    compute = Blur.compute

    def counted(self: Blur, *args: Any) -> Any:
        found.append(self)
        return compute(self, *args)

    monkeypatch.setattr(Blur, "compute", counted)
    return found


def test_bench_computes_as_often_as_told(photo: Path, blurred: list[Blur]) -> None:
    assert re.search(r"\d megapixels/s", done("bench", "blur(1)", photo, "--runs", 1, "--chunks", "80,60"))
    assert len(blurred) == 2  # a first time, and a run
    found = json.loads(done("bench", "blur(1)", photo, "--runs", 3, "--json", "--chunks", "80,60"))
    assert len(found["runs"]) == 3
    assert found["rate"] == pytest.approx(80 * 60 / 1e6 / found["seconds"])
    assert len(blurred) == 2 + 4


def test_a_cache_keeps_results_between_the_runs_of_a_command(photo: Path, blurred: list[Blur]) -> None:
    done("bench", "blur(2).mean()", photo, "--runs", 3, "--chunks", "80,60", "--cache", "1000001")
    assert len(blurred) == 1


def test_profile_tells_what_each_step_took_and_saves_a_map(photo: Path, tmp_path: Path) -> None:
    heat = tmp_path / "heat.png"
    text = done("profile", "blur(2)", photo, "--sink", "tiff", "--heat-map", heat, "--chunks", "16,16", "--no-progress")
    graph, _, measured = text.partition("\nmeasured\n")
    assert "%2 = blur(%1)" in graph
    assert "stage 2: blur (output)" in measured
    assert "    encode " in measured  # as a TIFF
    with Pillow.open(heat) as image:
        assert image.size == (512, 384)  # of 80x60
        assert (253, 231, 37) in {color for _, color in image.getcolors(1 << 20) or ()}  # the slowest tile


def test_tiles_are_as_large_as_told(photo: Path) -> None:
    assert "40x30" in done("explain", "blur(2)", photo, "--chunks", "40,30")
    for wrong in ("40", "40,x", "40,30,20"):
        result = run("explain", "blur(2)", photo, "--chunks", wrong)
        assert result.exit_code == 2
        assert "is not two whole numbers, such as 1024,512" in result.output


def test_a_bar_is_drawn_where_asked_for(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    assert run("apply", "blur(1)", photo, target, "--progress").stderr
    assert not run("apply", "blur(1)", photo, target, "--no-progress").stderr


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("info", "none.png"), "no such file"),
        (("apply", "crop(0, 0, 99, 99)", "{photo}", "x.png"), "leaves the 80x60 image"),
        (("batch", "blur(1)", "none/*.png", "-o", "{{stem}}.png"), "nothing matches"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(arguments: tuple[str, ...], told: str, photo: Path) -> None:
    result = run(*(argument.format(photo=photo) for argument in arguments))
    assert result.exit_code == 1
    assert told in result.output
    assert result.output.startswith("imgrs: ")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("apply", "blur(-1)", "none.png", "x.png"), "blur"),
        (("apply", "blurr(1)", "none.png", "x.png"), "'blurr' is not a verb; did you mean 'blur'?"),
        (("convert", "none.png", "x.nothing"), "no format has the extension '.nothing'; give --format, one of"),
        (("convert", "none.png", "x.png", "--format", "nothing"), "format must be one of"),
        (("convert", "none.png", "-"), "saving to the standard output needs --format, such as --format png"),
        (("convert", "none.png", "x.png", "--memory-limit", "much"), 'memory_limit must be bytes or text such as "512MiB"'),
        (("bench", "blur(1)", "none.png", "--cache", "much"), "cache must be"),
        (("explain", "blur(1)", "none.png", "--sink", "nothing"), "format must be one of"),
        (("explain", "blur(1)", "none.png", "-O", "quality=80"), "-O needs --sink, such as --sink tiff"),
        (("profile", "blur(1)", "none.png", "--heat-map", "x.nothing"), "no format has the extension"),
        (("batch", "blur(1)", "none.png", "-o", "{{what}}.png"), "out may name"),
        (("batch", "blur(1)", "none.png", "-o", "x.png", "--format", "nothing"), "format must be one of"),
        (("batch", "blur(1)", "none.png", "-o", "x.jpg", "-O", "qualty=80"), "no option 'qualty' (did you mean 'quality'?)"),
        (("batch", "blur(1)", "none.png", "-o", "x.jpg", "-O", "quality=800"), "batch: JPEG quality must be"),
        (("batch", "blur(1)", "a.png", "b.png", "-o", "x.jpg"), "batch: a.png and b.png would both be saved as x.jpg; use"),
        (("batch", "blur(1)", "none.png", "-o", "none.png"), "batch: none.png would replace the source"),
        (("run", "{recipe}", "none.png", "-o", "x.jpg", "-O", "qualty=80"), "no option 'qualty' (did you mean 'quality'?)"),
        (("convert", "none.png", "x.jpg", "-O", "qualty=80"), "JPEG has no option 'qualty' (did you mean 'quality'?)"),
        (("apply", "blur(1)", "none.png", "x.jpg", "-O", "quality=800"), "JPEG quality must be"),
        (("explain", "blur(1)", "none.png", "--sink", "jpeg", "-O", "qualty=8"), "JPEG has no option 'qualty'"),
        (("batch", "blur(1)", "-", "-o", "x.png"), "batch: '-' is no source of many images; imgrs apply reads"),
        (("batch", "web.json", "none.png", "-o", "x.png"), "'web.json' is a file, and no verbs; imgrs run takes recipes"),
        (("run", "{recipe}", "-", "-o", "x.png"), "run: '-' is no source of many images"),
        (("run", "{latin}", "none.png", "-o", "x.png"), "the text is not JSON: its bytes are not UTF-8"),
        (("run", "{words}", "none.png", "-o", "x.png"), "is neither JSON nor an image with a recipe"),
        (("run", "{photo}", "none.png", "-o", "x.png"), "holds no recipe"),
        (("run", "{recipe}", "none.png", "-o", "x.png", "--param", "blur_1__size=3"), "there is no 'blur_1__size'"),
        (("convert", "none.png"), "imgrs: missing argument 'TARGET'; see imgrs convert --help"),
        (("explain", "blur(1)", "none.png", "--chunks", "40"), "invalid value for '--chunks': '40' is not two whole numbers"),
        (("convert", "none.png", "x.png", "-O", "quality"), "-O needs NAME=VALUE, got 'quality'; see imgrs convert --help"),
        (("info", "none.png", "--jsn"), "see imgrs info --help"),
        (("convert", "none.png", "x.png", "--workers", "0"), "invalid value for '--workers': 0 is not in the range x>=1; see"),
        (("run", "none.json", "none.png", "-o", "x.png"), "'none.json' does not exist; see imgrs run --help"),
        (("no-such-command",), "; see imgrs --help"),
        (("--no-such-option",), "; see imgrs --help"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_line_and_exit_with_2_before_anything_is_opened(
    arguments: tuple[str, ...], told: str, photo: Path, tmp_path: Path
) -> None:
    files = {name: tmp_path / name for name in ("recipe", "latin", "words")}
    files["recipe"].write_text(imgrs.pipeline().blur(1).to_json())
    files["latin"].write_bytes(b'{"schema": "\xe9"}')
    files["words"].write_text("blur(2)")
    result = run(*(argument.format(photo=photo, **files) for argument in arguments))
    assert result.exit_code == 2
    assert told in result.output
    assert result.output.startswith("imgrs: ")
    assert len(result.output.splitlines()) == 1


def test_info_tells_of_each_file_that_it_can_read(photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"bad")
    result = run("info", photo, bad, photo)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [f"{photo}: PNG 80x60 RGB uint8"] * 2
    assert result.stderr.startswith(f"imgrs: {bad} is text")
    assert len(result.stderr.splitlines()) == 1
    result = run("info", "--json", photo, bad)
    first, second = json.loads(result.stdout)
    assert result.exit_code == 1
    assert first["width"] == 80
    assert second.keys() == {"source", "error"}
    assert second["source"] == str(bad)
    assert "is text" in second["error"]


def test_help_is_shown_where_no_command_is_given() -> None:
    result = run()
    assert result.exit_code == 2
    assert result.output.startswith("Usage: imgrs [OPTIONS] COMMAND")
    assert "\nCommands:\n" in result.output


def test_traceback_shows_how_a_command_is_called() -> None:
    result = run("--traceback", "convert", "none.png")
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: imgrs convert [OPTIONS] SOURCE TARGET\n")
    assert "Missing argument 'TARGET'" in result.stderr


def test_a_traceback_can_be_had() -> None:
    shown = subprocess.run([*COMMAND, "--traceback", "info", "none.png"], capture_output=True, text=True)
    assert "Traceback" in shown.stderr
    assert "ImageNotFoundError" in shown.stderr
    assert shown.returncode == 1


def test_a_traceback_of_a_wrong_argument_can_be_had() -> None:
    command = [*COMMAND, "--traceback", "apply", "blur(-1)", "none.png", "x.png"]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert "imgrs.errors.ArgumentError" in shown.stderr.splitlines()[-1]
    assert shown.returncode == 1


def test_an_interrupt_exits_with_130_and_leaves_no_file(tmp_path: Path) -> None:
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    imgrs.new("RGB", (20_000, 20_000), (1, 2, 3)).save(source, compression="none", tile=2048)
    command = [*COMMAND, "apply", "blur(40).rotate(7).blur(50)", str(source), str(target)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not any(path.name.startswith(".") for path in tmp_path.iterdir()):  # the work folder of the save
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.strip().endswith("imgrs: interrupted")
    assert not target.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert "_IMGRS_COMPLETE" in done("completion", shell)


@pytest.mark.skipif(os.name != "posix", reason="click asks for bash's version")
def test_commands_complete() -> None:
    environment = {**os.environ, "_IMGRS_COMPLETE": "bash_complete", "COMP_WORDS": "imgrs est", "COMP_CWORD": "1"}
    code = "from imgrs.cli import main; main(prog_name='imgrs')"
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "estimate" in shown.stdout


# The text of a chain


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("", imgrs.pipeline()),
        ("resize(800, 600)", imgrs.pipeline().resize((800, 600))),
        ("resize((800, 600)).blur(radius=2)", imgrs.pipeline().resize((800, 600)).blur(radius=2)),
        ("crop(1, 2, 30, 40).pad(3, 'edge')", imgrs.pipeline().crop((1, 2, 30, 40)).pad(3, "edge")),
        (" brightness(-3)\n.contrast(1.5) ", imgrs.pipeline().brightness(-3).contrast(1.5)),
        ("convolve([[0, 1, 0], [1, 4, 1], [0, 1, 0]], scale=8)",
         imgrs.pipeline().convolve([[0, 1, 0], [1, 4, 1], [0, 1, 0]], scale=8)),
    ],
)  # fmt: skip
def test_text_is_read_as_verbs(text: str, made: imgrs.Pipeline) -> None:
    assert pipeline_of(text) == made


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "blur(__import__('os'))", "blur(2) + blur(3)", "blur", "blur(2).size", "lambda: 0",
        "blur(*[2])", "blur(**{'radius': 2})", "save('x.png')", "compute()", "apply(3)", "_node()", "blur(2)(3)", "blur(2",
        "\0", "blur(2)).blur(3", "blur(2))(blur(3)", "blur(2),", "# nothing",
        "(" * 5_000, "blur(" + "-" * 50_000 + "1)", "blur(" + "9" * 5_000 + ")", "a" * 200_000, "blur([x for x in (1,)])",
        "blur(f'{2}')", "blur(2);blur(3)", "x = 3", "resize(800)", "brightness('x')", "map_tiles(3)",
    ],
)  # fmt: skip
def test_nothing_else_is_taken(text: str) -> None:
    with pytest.raises(imgrs.ImgrsError):
        pipeline_of(text)


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        (".".join(["blur(2)"] * 501), imgrs.LimitError, "501 verbs are more than 500; write a recipe instead"),
        (".".join(["blur(2)"] * 5_000), imgrs.LimitError, "5,000 verbs are more than 500; write a recipe instead"),
        ("blur(" + "9" * 5_000 + ")", imgrs.LimitError, "a number has 5,000 digits, more than 100"),
        ("blur(" + "-" * 50_000 + "1)", imgrs.LimitError, "is nested too deeply"),
        ("blur(" + "-" * 900 + "1)", imgrs.ArgumentTypeError, "got what is nested too deeply"),
        ("blur(2)\0", imgrs.ArgumentError, "is not a chain of verbs: it holds a null character"),
        ("  blur(2))", imgrs.ArgumentError, "is not a chain of verbs: unmatched ')' at column 10"),
        ("blur(1)\n  .sharpen(1))", imgrs.ArgumentError, "unmatched ')' at line 2, column 14"),
        ("blurr(2)", imgrs.ArgumentError, "'blurr' is not a verb; did you mean 'blur'?"),
        ("qqq(2)", imgrs.ArgumentError, "'qqq' is not a verb; verbs are the methods of imgrs.Pipeline, such as"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_text_is_told_in_its_own_terms(text: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as raised:
        pipeline_of(text)
    assert type(raised.value) is error
    assert told in str(raised.value)
    assert len(str(raised.value)) < 250
    for leaked in ("<unknown>", "recursion", "sys."):
        assert leaked not in str(raised.value)


def test_a_text_of_500_verbs_is_taken() -> None:
    assert len(pipeline_of(".".join(["blur((2))"] * 500)).params) == 500


def test_a_format_is_an_option_too(tmp_path: Path) -> None:
    imgrs.new("RGB", (9, 9)).save(tmp_path / "a.png")
    for target in ("b.png", "-"):
        path = target if target == "-" else str(tmp_path / target)
        result = CliRunner().invoke(main, ["convert", str(tmp_path / "a.png"), path, "-O", "format=PNG"])
        assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["convert", str(tmp_path / "a.png"), str(tmp_path / "b.tif"), "-O", "quality=80"])
    assert result.exit_code == 2
    assert "TIFF quality is of jpeg and webp" in result.output
