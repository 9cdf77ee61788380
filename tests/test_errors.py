"""Bad input: a clear error of the family, nothing lost, no partial file, no library's traceback as the message."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

import imgrs
from imgrs.graph.node import Node
from imgrs.image import Image
from imgrs.ops.stats import AutoContrast

Array = npt.NDArray[Any]


@pytest.fixture
def img() -> Image:
    return imgrs.new("RGB", (40, 30), (1, 2, 3))


AT_THE_CALL: dict[str, Callable[[Any], Any]] = {
    "brightness text": lambda img: img.brightness("x"),
    "brightness far": lambda img: img.brightness(400),
    "blur nan": lambda img: img.blur(float("nan")),
    "blur far": lambda img: img.blur(1e9),
    "crop outside": lambda img: img.crop((0, 0, 41, 30)),
    "crop empty": lambda img: img.crop((5, 5, 5, 9)),
    "resize zero": lambda img: img.resize((0, 10)),
    "resize filter": lambda img: img.resize((9, 9), "sharpest"),
    "resize text": lambda img: img.resize("big"),
    "rotate nan": lambda img: img.rotate(float("nan")),
    "rotate filter": lambda img: img.rotate(3, resample="lanczos"),
    "rotate fill": lambda img: img.rotate(3, fillcolor=(1, 2)),
    "contrast missing": lambda img: img.contrast(),
    "posterize": lambda img: img.posterize(9),
    "levels": lambda img: img.levels(200, 100),
    "curve": lambda img: img.curve([(0, 0), (0, 9)]),
    "convolve": lambda img: img.convolve([[1, 2], [3, 4]]),
    "color_matrix": lambda img: img.color_matrix([[1, 2]]),
    "convert": lambda img: img.convert("PAL"),
    "merge": lambda img: imgrs.merge("RGB", [img]),
    "blend": lambda img: img.blend("normal", "photo.png"),
    "blend mode": lambda img: img.blend("nicest", img),
    "cmyk": lambda img: img.convert("CMYK").brightness(3),
    "url": lambda img: imgrs.open("nosuch://example.org/a.png"),
    "new": lambda img: imgrs.new("RGB", (0, 5)),
    "fromarray": lambda img: imgrs.fromarray(np.zeros((3, 3), np.int64)),
    "options": lambda img: img.compute(chunks=(0, 5)),
    "unknown option": lambda img: img.compute(tiles=3),
    "save option": lambda img: img.save(io.BytesIO(), "png", qualty=3),
    "save format": lambda img: img.save("/nowhere/a.xyz"),
}


@pytest.mark.parametrize("name", AT_THE_CALL)
def test_wrong_arguments_fail_at_the_call(name: str, img: Image) -> None:
    with pytest.raises((imgrs.ArgumentError, imgrs.UnsupportedFormatError)) as caught:
        AT_THE_CALL[name](img)
    assert len(str(caught.value)) > 20
    assert "Traceback" not in str(caught.value)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(imgrs.ImageNotFoundError, match=r"missing\.tif"):
        imgrs.open(tmp_path / "missing.tif")
    with pytest.raises(imgrs.ImgrsError):
        imgrs.open(tmp_path)
    for content in (b"", b"only text, and a bit of it\n" * 9, b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"):
        path = tmp_path / "file.tif"
        path.write_bytes(content)
        with pytest.raises(imgrs.ImgrsError, match=r"file\.tif"):
            imgrs.open(path)


@pytest.mark.parametrize(
    ("content", "is_text"),
    [
        (b"only text", True),
        (b"<!DOCTYPE html>\r\n<html>\n\t<body>404 Not Found</body>\n</html>\n", True),
        ("\ufeff# Café crème\n".encode() + "é\n".encode() * 30, True),
        (b"a" * 63 + "é".encode(), True),  # of which a half is looked at
        (b"a" * 20 + b"\xe9t\xe9\n", False),  # Latin-1, for all we know
        (b"text\0with a zero\n", False),
        (bytes(range(1, 60)), False),
        (b"\xc3", False),
    ],
)
def test_text_is_told_as_text(content: bytes, is_text: bool) -> None:
    kind = "text" if is_text else "not an image of a known format"
    with pytest.raises(imgrs.UnsupportedFormatError, match=f"^<bytes> is {kind}; the known formats are TIFF"):
        imgrs.open(content)


def test_an_empty_path_is_told_as_one() -> None:
    with pytest.raises(imgrs.ArgumentError, match=r"^open: the path is empty$"):
        imgrs.open("")


@pytest.mark.parametrize("extension", ["tif", "png", "jpg", "webp", "bmp", "gif", "npy"])
def test_truncated_files(extension: str, photo: Array, tmp_path: Path) -> None:
    path = tmp_path / f"photo.{extension}"
    imgrs.fromarray(photo).save(path)
    content = path.read_bytes()
    for length in (20, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:length])
        with pytest.raises(imgrs.ImgrsError, match="photo"):
            imgrs.open(path).compute()


def test_a_file_that_is_cut_to_its_head_is_told_as_cut_off(tmp_path: Path) -> None:
    photo = imgrs.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8))
    for name, least in (("a.jpg", 2_000), ("a.png", 1_032)):
        path = tmp_path / name
        photo.save(path)
        path.write_bytes(path.read_bytes()[: photo.nbytes // least // 2])
        for how in ("raise", "fill"):
            with pytest.raises(
                imgrs.TruncatedImageError, match=rf"{name} ends before its image does.*max-decode-ratio"
            ):
                imgrs.open(path, on_error=how)
        path.write_bytes(path.read_bytes() + (b"\xff\xd9" if name == "a.jpg" else b"\0\0\0\0IEND\xaeB`\x82"))
        with pytest.raises(imgrs.LimitError, match=name):  # whole, it claims what it cannot hold
            imgrs.open(path)


def test_a_tiff_that_is_cut_within_its_tables_says_so_and_logs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((750, 1000, 3), np.uint8), rowsperstrip=16, compression="zlib")
    content = path.read_bytes()
    for length, there in ((200, "0 offsets"), (450, "47 offsets and 1 lengths")):
        path.write_bytes(content[:length])
        with pytest.raises(imgrs.CorruptImageError, match=f"need 47 strips, .* {there}.*cut off"):
            imgrs.open(path)
    script = f"import imgrs\ntry: imgrs.open({str(path)!r})\nexcept imgrs.CorruptImageError: pass"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr == ""


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"pyramid": True}])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.9])
def test_a_tiff_whose_directory_was_cut_off_says_where_it_would_be(
    share: float, options: dict[str, Any], photo: Array, tmp_path: Path
) -> None:
    path = tmp_path / "cut.tif"
    imgrs.fromarray(photo).save(path, compression="none", **options)
    content = path.read_bytes()
    big = options.get("bigtiff", False)
    offset = int.from_bytes(content[8:16] if big else content[4:8], "little")
    kept = int(len(content) * share)
    assert offset > kept, "the directory is to stand at the end"
    path.write_bytes(content[:kept])
    told = rf"cut\.tif: its first directory would be at byte {offset:,}, and the file has {kept:,}; it was cut off$"
    with pytest.raises(imgrs.TruncatedImageError, match=told):
        imgrs.open(path)


def test_what_is_written_only_says_so_when_it_is_opened(tmp_path: Path) -> None:
    img = imgrs.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    for extension in ("raw", "dzi", "iiif"):
        img.save(tmp_path / f"a.{extension}")
    with pytest.raises(imgrs.UnsupportedFormatError, match=r"a\.raw.*use imgrs\.open_raw\(\)"):
        imgrs.open(tmp_path / "a.raw")
    for name in ("a.dzi", "a.iiif", "a.iiif/info.json"):
        with pytest.raises(imgrs.UnsupportedFormatError, match=f"{name} is .*written only"):
            imgrs.open(tmp_path / name)


def test_a_folder_that_is_not_there_is_to_be_made_first(img: Image, tmp_path: Path) -> None:
    targets: list[tuple[str, dict[str, Any]]] = [("a.png", {}), ("a.dzi", {}), ("a.tif", {"resume": True})]
    for name, options in targets:
        with pytest.raises(imgrs.SaveError, match=r"no folder .*nowhere; create the folder first") as told:
            img.save(tmp_path / "nowhere" / name, **options)
        assert "untouched" not in str(told.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("target", "taken"), [("a.zarr", "a.zarr"), ("a.iiif", "a.iiif"), ("a.dzi", "a_files")])
def test_a_format_of_folders_does_not_replace_a_file(target: str, taken: str, img: Image, tmp_path: Path) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(imgrs.SaveError, match=f"{taken} is a file, and this format is a folder"):
        img.save(tmp_path / target)
    assert (tmp_path / taken).read_text() == "mine"


def test_explain_speaks_of_its_own_argument(img: Image) -> None:
    with pytest.raises(imgrs.ArgumentError, match=r"^explain: sink must be one of TIFF, .*'foo'"):
        img.explain("foo")
    with pytest.raises(imgrs.ArgumentError, match=r"^explain: JPEG cannot hold"):
        img.astype("float32").explain("jpeg")
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^profile: sink must be a name, got int"):
        img.profile(3)  # type: ignore[arg-type]  # which is what is tried


def test_what_a_check_says_of_a_save_is_kept_where_it_is_told_for_another_method(img: Image) -> None:
    with pytest.raises(imgrs.ArgumentError) as raised:
        img.explain("tiff", compression="save: format must")
    assert str(raised.value).startswith("explain: TIFF compression must be one of ")
    assert str(raised.value).endswith("got 'save: format must'")


def test_a_corrupt_tile_is_named(photo: Array, tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    imgrs.fromarray(photo).save(path, tile=64, compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[9], tiff.pages[0].databytecounts[9]
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = b"\xff" * length
    path.write_bytes(content)
    img = imgrs.open(path)
    assert img.crop((0, 0, 64, 64)).compute().shape == (64, 64, 3)  # what is whole can be read
    with pytest.raises(imgrs.CorruptImageError, match=r"tile"):
        img.compute()


def test_absurd_dimensions_are_refused(tmp_path: Path) -> None:
    import struct

    header = struct.pack(">IIBBBBB", 4_000_000_000, 4_000_000_000, 8, 2, 0, 0, 0)
    import zlib

    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(imgrs.ImgrsError, match="bomb"):
        imgrs.open(path)


def test_unsupported_samples_are_named(tmp_path: Path) -> None:
    path = tmp_path / "complex.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.complex64))
    with pytest.raises(imgrs.UnsupportedFormatError, match="complex"):
        imgrs.open(path)


def test_a_source_that_changed_or_went_is_told(photo: Array, tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    imgrs.fromarray(photo).save(path)
    img = imgrs.open(path)
    imgrs.fromarray(photo[:50]).save(path)
    with pytest.raises(imgrs.SourceChangedError, match="photo"):
        img.compute()
    path.unlink()
    with pytest.raises(imgrs.ImgrsError, match="photo"):
        img.compute()


def broken(tile: Array) -> Array:
    raise ZeroDivisionError("of the user")


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_a_users_exception_is_placed(scheduler: str, photo: Array) -> None:
    with pytest.raises(imgrs.ComputeError, match=r"(?s)map_tiles.*\(\d+, \d+,.*test_errors.py:\d+.*of the user"):
        imgrs.fromarray(photo).map_tiles(broken).compute(scheduler=scheduler, workers=2)


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_errors_know_the_operation_and_the_tile(scheduler: str, photo: Array, tmp_path: Path) -> None:
    with pytest.raises(imgrs.ComputeError) as failed:
        imgrs.fromarray(photo).map_tiles(broken).compute(scheduler=scheduler, workers=2, chunks=(4096, 4096))
    assert (failed.value.op, failed.value.tile) == ("map_tiles", (0, 0, photo.shape[1], photo.shape[0]))
    path = tmp_path / "photo.tif"
    imgrs.fromarray(photo).save(path, tile=64)
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(imgrs.CorruptImageError) as damaged:
        imgrs.open(path).invert().compute(scheduler=scheduler, workers=2, chunks=(64, 64))
    assert (damaged.value.op, damaged.value.tile) == ("open", (0, 0, 64, 64))
    assert imgrs.ArgumentError("outside of runs").op is None


def test_a_file_decoded_in_turn_is_told_too(photo: Array, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    imgrs.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(imgrs.CorruptImageError) as damaged:
        imgrs.open(path).invert().compute()
    assert damaged.value.op == "open"
    assert damaged.value.tile is not None


def test_a_failed_save_leaves_the_old_file(photo: Array, tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    path.write_bytes(b"old")
    with pytest.raises(imgrs.ComputeError):
        imgrs.fromarray(photo).map_tiles(broken).save(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["photo.tif"]


def test_a_full_disk_enospc_leaves_the_old_file(photo: Array, tmp_path: Path, monkeypatch: Any) -> None:
    def full(descriptor: int) -> None:  # systems that set blocks aside late say so when the file is brought to the disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "photo.tif"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(imgrs.SaveError, match="No space left"):
        imgrs.fromarray(photo).save(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["photo.tif"]
    with pytest.raises(imgrs.SaveError, match="No space left"):
        imgrs.fromarray(photo).save("/dev/full", "TIFF")


def test_a_limit_on_file_sizes_leaves_the_old_file(photo: Array, tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    path.write_bytes(b"old")
    script = (
        "import resource, signal, imgrs, numpy as np\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    imgrs.fromarray(pixels).save('photo.tif')\n"
        "except imgrs.SaveError as error:\n    print('told:', error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "told:" in run.stdout, run.stderr
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["photo.tif"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_save_leaves_the_old_file(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "photo.tif").write_bytes(b"old")
    script = (
        "import imgrs, time\n"
        "def slow(tile):\n    open('started', 'w').close()\n    time.sleep(0.2)\n    return tile\n"
        "imgrs.new('RGB', (3000, 3000)).map_tiles(slow).save('photo.tif', chunks=(512, 512))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    os.kill(run.pid, how)
    _, stderr = run.communicate(timeout=60)
    assert (tmp_path / "photo.tif").read_bytes() == b"old"
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.tif", "started"]


def test_a_plan_that_does_not_fit_is_refused_before_reading() -> None:
    from tests.test_public import Unreadable

    img = Image(Node(Unreadable(40_000))).resize((20_000, 20_000)).blur(300)
    with pytest.raises(imgrs.MemoryBudgetError, match="memory_limit"):
        img.compute(memory_limit="1MiB")


def test_an_array_for_which_there_is_no_room_is_refused_with_the_way_out() -> None:
    img = imgrs.new("RGB", (10, 10), 3).resize((10**7, 10**7))  # more than a process can address
    told = r"10000000x10000000 RGB uint8 image takes 300,000,000,000,000 bytes, too many; save\(\) it .* a crop\(\)$"
    for compute in (img.compute, img.tobytes, lambda: imgrs.compute_all(img, img.mean())):
        with pytest.raises(imgrs.MemoryBudgetError, match=told):
            compute()
    assert np.unique(img.crop((10**7 - 9, 0, 10**7, 9)).compute()).tolist() == [3]


def test_verbs_check_what_they_can_before_they_look_at_the_image() -> None:
    img: Any = imgrs.new("RGB", (40, 30))
    with pytest.raises(imgrs.ArgumentError, match=r"^rotate: resample must be one of nearest, bilinear, bicubic, got"):
        img.rotate(180, resample="lanczos")  # for which no filter is used
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^thumbnail: size must be a size \(width, height\), got 5$"):
        img.thumbnail(5)
    with pytest.raises(imgrs.ArgumentError, match=r"^thumbnail: resample must be one of"):
        img.thumbnail((50, 50), "cubic")
    with pytest.raises(imgrs.ArgumentError, match=r"^remove_transparency: background must be a number, one for"):
        img.remove_transparency("whiter")
    with pytest.raises(imgrs.ArgumentError, match=r"^slice: band must be below 3 for RGB images, got 3$"):
        img[:, :, 3]
    assert img[:, :, -1] == img[:, :].getchannel(2)


def test_statistics_are_no_images_and_images_no_statistics() -> None:
    img = imgrs.new("RGB", (40, 30))
    for wrong in (lambda: img.histogram().sharpen(), lambda: img.mean() + 1, lambda: img.extrema().histogram()):
        with pytest.raises(imgrs.ArgumentError, match=r"^\w+ needs an image, not a statistic, as input 1$"):
            wrong()
    with pytest.raises(imgrs.ArgumentError, match=r"^combine needs an image, not a statistic, as input 2$"):
        img + img.mean()
    with pytest.raises(
        imgrs.ArgumentError, match=r"^auto_contrast needs a statistic, such as histogram\(\), as input 2$"
    ):
        img.apply(AutoContrast(), img)
    np.testing.assert_array_equal(img.histogram()[10:20, 1:], np.asarray(img.histogram())[10:20, 1:])
