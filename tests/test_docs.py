"""The documentation is true: its code runs, prints what is shown, and leaves out no name and no operation.

The Python blocks of a page run one after another in one process, in an empty folder. A block with a main guard is a
program of its own. A block of text after ``<!-- prints -->`` is part of what the block before it prints, where ``...``
stands for anything, and so is a comment behind a ``print``. Blocks in other languages are not run.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dask.config
import pytest
from click.testing import CliRunner

import imgrs
from imgrs.cli import main
from imgrs.forecast import MACHINERY
from imgrs.image import Image
from imgrs.instead import INSTEAD

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "imgrs"
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]}
README = PAGES["README.md"].read_text(encoding="utf-8")
ELSEWHERE = {"docs/watching.md"}
"""Pages whose own tests run them, and look at more than what they print."""
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:(?:(?!^```).)*?^<!-- prints -->\n```(?:text|json)\n(?P<shown>.*?)^```)?",
    re.M | re.S,
)
RUNNER = """\
import json, sys
blocks = json.load(open(sys.argv[1]))
scope = {"__name__": "__main__"}
for line, name, code in blocks:
    print(f"\\0{line}\\0", end="", flush=True)
    exec(compile("\\n" * line + code, name, "exec"), scope)
"""


def blocks(page: str) -> list[tuple[int, str, str | None]]:
    """The Python blocks of a page: the line before each, its code, and what it is shown to print."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 1, m["code"], m["shown"]) for m in BLOCK.finditer(text)]


def fenced(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page].read_text(encoding="utf-8"), re.M | re.S)


def run(arguments: list[str], folder: Path) -> str:
    """What Python prints, with two workers and a known memory limit, by which plans are chosen."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_IMGRS__WORKERS": "2"}
    environment |= {"DASK_IMGRS__MEMORY_LIMIT": "4GiB", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, encoding="utf-8", check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(page: str, folder: Path) -> dict[int, str]:
    """What each block prints, by its line."""
    plain, out = [], {}
    for line, code, _ in blocks(page):
        if "__main__" in code:
            program = folder / f"line_{line}.py"
            program.write_text(code, encoding="utf-8")
            out[line] = run([program.name], folder)
        else:
            plain.append((line, page, code))
    if plain:
        (folder.parent / "runner.py").write_text(RUNNER, encoding="utf-8")
        (folder.parent / "blocks.json").write_text(json.dumps(plain), encoding="utf-8")
        parts = run(["../runner.py", "../blocks.json"], folder).split("\0")[1:]
        out.update(zip(map(int, parts[::2]), parts[1::2], strict=True))
    return out


@pytest.mark.skipif(os.environ.get("IMGRS_TEST_TINY") == "1", reason="pages run with the defaults")
@pytest.mark.parametrize("page", sorted(page for page in PAGES if blocks(page) and page not in ELSEWHERE))
def test_the_blocks_of_a_page_run_and_print_what_it_shows(page: str, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    out = printed(page, folder)
    for line, code, shown in blocks(page):
        for said in re.findall(r"^ *print\(.*\)  # (.*)$", code, re.M):
            assert f"{said}\n" in out[line], f"{page}:{line} prints\n{out[line]}"
        if shown is not None:
            pattern = re.escape(shown.rstrip("\n")).replace(re.escape("..."), ".*?")
            found = re.search(rf"(^|\n){pattern}(\n|$)", out[line], re.S)
            assert found, f"{page}:{line} prints\n{out[line]}"
    if page == "README.md":
        text = next(iter(out.values()))
        assert text.count("(4000, 3000) RGB") == 1  # the processes that it starts do none of it again


def test_what_a_page_shows_stands_behind_the_block_that_prints_it() -> None:
    for page, path in PAGES.items():
        marks = path.read_text(encoding="utf-8").count("<!-- prints -->")
        assert marks == sum(shown is not None for _, _, shown in blocks(page)), page


@pytest.mark.parametrize(
    "module",
    [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(PACKAGE.rglob("*.py"))
        if ">>>" in path.read_text(encoding="utf-8")
    ],
)
def test_the_examples_in_docstrings_print_what_they_say(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = [test for test in doctest.DocTestFinder().find(importlib.import_module(module)) if test.examples]
    assert found
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with dask.config.set(
        {"imgrs.chunks": None, "imgrs.optimizer": "exact"}
    ):  # also where the suite's defaults are others
        for test in found:
            assert runner.run(test).failed == 0, test.name


CONSOLES = [page for page in PAGES if fenced(page, "console")]
COMMAND = "#!{python}\nfrom imgrs.cli import main\nmain(prog_name='imgrs')\n"


@pytest.mark.skipif(os.name == "nt", reason="the commands are for a shell of Unix")
@pytest.mark.parametrize("page", CONSOLES)
def test_the_commands_of_a_page_run_and_print_what_it_shows(page: str, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    printed(page, folder)
    program = tmp_path / "bin" / "imgrs"
    program.parent.mkdir()
    program.write_text(COMMAND.format(python=sys.executable))
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for block in fenced(page, "console"):
        for command, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.M):
            done = subprocess.run(
                ["sh", "-c", command], cwd=folder, env={**environment, "COLUMNS": "80"}, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            assert done.returncode == 0, f"{command} prints\n{done.stdout}"
            pattern = re.escape(" ".join(shown.split())).replace(re.escape("..."), ".*?")
            assert re.fullmatch(pattern, " ".join(done.stdout.split())), f"{command} prints\n{done.stdout}"


def test_commands_that_pages_show_are_run() -> None:
    assert {page for page in PAGES if fenced(page, "(?:sh|bash|shell)")} == {"README.md"}  # whose own are run below
    for page in CONSOLES:
        for block in fenced(page, "console"):
            assert block.startswith("$ "), f"{page}: {block}"


def test_the_page_about_the_command_line_has_every_command() -> None:
    shown = re.findall(r"^\$ imgrs(?: (\w+))? --help$", "\n".join(fenced("docs/command_line.md", "console")), re.M)
    assert shown == ["", *sorted(main.commands)]


# The pages are complete

API = (DOCS / "api.md").read_text(encoding="utf-8")


def test_the_reference_has_every_public_name() -> None:
    named = set(re.findall(r"^\.\. auto\w+:: imgrs\.(\w+)$", API, re.M)) | set(re.findall(r"`imgrs\.(\w+)`", API))
    assert set(imgrs.__all__) - {"__version__"} <= named
    assert all(hasattr(imgrs, name) for name in named), "the reference has a name that is not there"


def test_every_public_name_says_what_it_is() -> None:
    for owner, names in ((imgrs, set(imgrs.__all__) - {"__version__"}), (Image, dir(Image))):
        for name in names:
            assert name.startswith("_") or (getattr(owner, name).__doc__ or "").strip(), name


GALLERY = (DOCS / "gallery.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```\{before-after\}\n(?::photo: (\w+)\n)?(?::silent:\n)?\n?(.*?)^```", GALLERY, re.M | re.S)
PICTURELESS = {
    "apply", "astype", "close", "compute", "copy", "damaged", "exif_transpose", "explain", "extrema", "histogram",
    "listing", "map_tiles", "mean", "page", "persist", "preview", "profile", "progressive", "recipe", "save", "to_bytes",
    "tiles", "to_dask", "to_dot", "to_multiscale", "to_networkx", "to_pil", "to_xarray", "tobytes",
}  # fmt: skip
"""Methods that make no other picture of an image, or one that depends on what they are given."""


def test_the_gallery_has_every_method_that_makes_a_picture() -> None:
    methods = {name for name, value in inspect.getmembers(Image, callable) if not name.startswith("_")}
    assert methods >= PICTURELESS
    code = "\n".join(code for _, code in SHOWN)
    assert {name for name in methods - PICTURELESS if f".{name}(" not in code} == set()


def test_what_the_gallery_shows_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    directive: Any = importlib.import_module("before_after")
    assert len(SHOWN) == GALLERY.count("{before-after}")
    for photo, code in SHOWN:
        before, after = directive.pair(code, photo or directive.PHOTOGRAPHS[0])
        assert not imgrs.images_equal(before, after), f"{code} shows nothing"


MIGRATION = (DOCS / "from-imgrs.md").read_text(encoding="utf-8")


def test_the_table_of_the_package_on_pypi_says_what_is_here() -> None:
    rows = re.findall(r"^\| (`(?:imgrs|Image)\..+?) \| (.+?) \|", MIGRATION, re.M)
    calls = [(*call, status) for names, status in rows for call in re.findall(r"`(imgrs|Image)\.(\w+)`", names)]
    assert len(calls) > 180
    for owner, name, status in calls:
        here = hasattr(imgrs, name) or (owner == "Image" and hasattr(Image, name))
        assert here == (status in ("same", "differs")), f"{owner}.{name}: {status}"
        assert status in ("same", "differs", "other name", "not there"), status


def test_names_of_colors_are_as_the_page_says() -> None:
    (row,) = re.findall(r"^\| `imgrs\.new`.*$", MIGRATION, re.M)
    assert '`"green"` is `(0, 128, 0)`; no `"transparent"`; also 16 bits, floats and CMYK' in row
    assert imgrs.new("RGB", (1, 1), "green").compute().tolist() == [[[0, 128, 0]]]
    with pytest.raises(imgrs.ArgumentError):
        imgrs.new("RGBA", (1, 1), "transparent")
    assert [imgrs.new(mode, (1, 1)).mode for mode in ("I;16", "F", "CMYK")] == ["I;16", "F", "CMYK"]


def test_the_page_about_pillow_has_the_names_that_errors_speak_of() -> None:
    page = (DOCS / "from-pillow.md").read_text(encoding="utf-8").partition("## Names that are not here")[2]
    rows = re.findall(r"^\| `im\.(\w+)` \| (.+) \|$", page, re.M)
    assert {name: told.replace("`", "") for name, told in rows} == INSTEAD
    assert [name for name, _ in rows] == sorted(INSTEAD)


# What the README says beside its code


def test_the_demo_takes_its_options_and_draws_no_bars_into_files(tmp_path: Path) -> None:
    assert "imgrs demo --side 2000 --folder" in README
    code = "from imgrs.cli import main; main()"
    command = [sys.executable, "-c", code, "demo", "--side", "256", "--folder", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert b"\r" not in done.stdout
    assert {path.name for path in (tmp_path / "demo").iterdir()} >= {"grade.tif", "heavy_processing.tif", "preview.png"}


def test_a_gigapixel_pyramid_fits_the_memory_that_is_given_for_it() -> None:
    code = next(code for _, code, _ in blocks("README.md") if "pyramid=True" in code)
    width, gigapixel = re.findall(r"resize\(width=([\d_]+)\)  # ([\d_]+) makes it a gigapixel", code)[0]
    assert int(width) < 4_000
    photo = imgrs.new("RGB", (4000, 3000), (200, 120, 40))
    large = photo.resize(width=int(gigapixel)).brightness(20).contrast(1.2).gamma(1.1)
    assert large.width * large.height > 1e9
    found = imgrs.estimate(large, sink="tiff", pyramid=True, memory_limit="512MiB", workers=2)
    assert found.peak_bytes <= (512 << 20) + MACHINERY


def test_what_pages_link_to_is_there() -> None:
    for page, path in PAGES.items():
        for linked in re.findall(r"\]\(((?!https?:|#|mailto:)[^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert (path.parent / linked).exists(), f"{page}: {linked}"


def test_the_extras_that_are_named_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for path in PAGES.values():
        for name, extra in re.findall(r"'([\w-]+)\[(\w+)\]'", path.read_text(encoding="utf-8")):
            assert name == project["name"]
            assert extra in project["optional-dependencies"]
    assert "imgrs-demo/" in (ROOT / ".gitignore").read_text().split()


def test_the_set_up_commands_are_one_line_each() -> None:
    first, _, last = fenced("README.md", "sh")
    assert [len(command.strip().splitlines()) for command in (first, last)] == [1, 1]


def test_the_shell_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    imgrs.new("RGB", (1000, 800), (200, 120, 40)).save("photo.tif")
    for line in fenced("README.md", "sh")[1].splitlines():
        program, *arguments = shlex.split(line)
        assert program == ".venv/bin/imgrs"
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    assert imgrs.open("web/photo.jpg").size == imgrs.open("small.png").size == (800, 640)
