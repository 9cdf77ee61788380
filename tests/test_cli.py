"""The command line: each command does what its function does, prints it, and says what went wrong in one line."""

from __future__ import annotations

import io
import json
import os
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


def test_explain_and_estimate_compute_nothing(photo: Path) -> None:
    text = done("explain", "brightness(3).blur(2)", photo, "--sink", "tiff", "--workers", 2)
    assert "blur(%2)" in text or "blur" in text
    assert "forecast" in text
    found = json.loads(done("estimate", "brightness(3).blur(2)", photo, "--json"))
    assert set(found) == {"peak_bytes", "read_bytes", "seconds", "tasks", "scratch_bytes"}
    assert found["read_bytes"] > 0
    assert "peak_bytes" in done("estimate", "blur(2)", photo)


def test_bench_computes(photo: Path) -> None:
    assert "megapixels/s" in done("bench", "blur(1)", photo, "--runs", 1)
    assert len(json.loads(done("bench", "blur(1)", photo, "--runs", 2, "--json"))["runs"]) == 2


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("info", "none.png"), "no such file"),
        (("apply", "blur(-1)", "{photo}", "x.png"), "blur"),
        (("apply", "blurr(1)", "{photo}", "x.png"), "'blurr' is not a verb"),
        (("convert", "{photo}", "x.nothing"), "no format has the extension"),
        (("batch", "blur(1)", "none/*.png", "-o", "{{stem}}.png"), "nothing matches"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(arguments: tuple[str, ...], told: str, photo: Path) -> None:
    result = run(*(argument.format(photo=photo) for argument in arguments))
    assert result.exit_code == 1
    assert told in result.output
    assert result.output.startswith("imgrs: ")
    assert len(result.output.splitlines()) == 1


def test_wrong_calls_exit_with_2(photo: Path) -> None:
    for arguments in (("convert", photo), ("convert", photo, "x.png", "-O", "quality"), ("no-such-command",)):
        assert run(*arguments).exit_code == 2


def test_a_traceback_can_be_had() -> None:
    shown = subprocess.run([*COMMAND, "--traceback", "info", "none.png"], capture_output=True, text=True)
    assert "Traceback" in shown.stderr
    assert "ImageNotFoundError" in shown.stderr
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
