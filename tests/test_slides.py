"""Slides through openslide: what it reads is what comes, at every level, from threads and processes, or a clear error."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openslide
import pytest
import tifffile
from PIL import ImageCms

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, SourceChangedError, UnsupportedFormatError
from imgrs.io.resource import FileResource, resource_of
from imgrs.io.slides import SlideReader
from tests.test_tiff import reader_of, smooth, written_svs
from tests.tiffs import jpeg

Array = npt.NDArray[Any]


def written_vms(folder: Path) -> Path:
    """A slide as Hamamatsu's older scanners write it: an index beside JPEGs with a restart marker behind each tile."""
    data = smooth(3, (1_024, 512))
    images = {"a.jpg": data, "a_map.jpg": data[::4, ::4].copy(), "a_macro.jpg": data[:64, :96].copy()}
    for name, pixels in images.items():
        (folder / name).write_bytes(jpeg(pixels, restart_marker_blocks=4, subsampling=0))
    (folder / "a.opt").write_bytes(b"")
    path = folder / "a.vms"
    path.write_text(
        "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\nImageFile=a.jpg\nMapFile=a_map.jpg\n"
        "MacroImage=a_macro.jpg\nOptimisationFile=a.opt\nPhysicalWidth=1000000\nPhysicalHeight=500000\nSourceLens=20\n"
    )
    return path


@pytest.fixture
def vms(tmp_path: Path) -> Path:
    return written_vms(tmp_path)


def level_of(path: Path, level: int) -> Array:
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))


def test_a_slide_is_what_openslide_reads(vms: Path) -> None:
    img, reader = imgrs.open(vms), reader_of(vms)
    assert (img.format, img.mode, img.size) == ("SLIDE", "RGB", (1_024, 512))
    assert reader.reads_regions
    assert reader.shrinks == (1, 2, 4, 8, 16, 32)
    for level, shrink in enumerate(reader.shrinks):
        expected = level_of(vms, level)
        np.testing.assert_array_equal(reader.read(reader.shrunk(shrink).region, shrink), expected)
    assert "shrink=8" in img.resize((60, 30)).explain(optimizer="fast")
    assert img.info["properties"]["openslide.vendor"] == "hamamatsu"
    assert img.metadata["properties"]["hamamatsu.SourceLens"] == "20"


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_a_slide_is_read_in_tiles(scheduler: str, vms: Path) -> None:
    img = imgrs.open(vms)
    computed = img.compute(chunks=(96, 80), workers=2, scheduler=scheduler)
    np.testing.assert_array_equal(computed, level_of(vms, 0))
    again = pickle.loads(pickle.dumps(img))
    assert again.key == img.key
    np.testing.assert_array_equal(again.crop((700, 300, 900, 500)).compute(), computed[300:500, 700:900])


def test_images_beside_a_slide_are_its_pages(vms: Path) -> None:
    img = imgrs.open(vms)
    assert img.n_frames == 2
    macro = img.page(1)
    assert (macro.info["name"], macro.size) == ("macro", (96, 64))
    with openslide.OpenSlide(vms) as slide:
        np.testing.assert_array_equal(macro.compute(), np.asarray(slide.associated_images["macro"].convert("RGB")))
    np.testing.assert_array_equal(macro.crop((10, 20, 50, 40)).compute(), macro.compute()[20:40, 10:50])
    assert macro.key != img.key
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        img.page(2)


def test_a_slide_is_known_by_its_content(vms: Path) -> None:
    other = vms.rename(vms.with_suffix(".index"))
    np.testing.assert_array_equal(imgrs.open(other).compute(), level_of(other, 0))
    with pytest.raises(UnsupportedFormatError, match="known formats are"):
        imgrs.open(other.read_bytes())  # bytes have no files beside them
    with pytest.raises(UnsupportedFormatError, match="local files only"):
        SlideReader(resource_of(other.read_bytes()))


@pytest.mark.parametrize("name", ["a.vms", "a.jpg"])
def test_a_slide_that_changed_is_refused(name: str, vms: Path) -> None:
    img = imgrs.open(vms)
    key = img.key
    assert img.compute().shape == (512, 1_024, 3)
    part = vms.with_name(name)
    part.write_bytes(part.read_bytes() + b"\n")
    with pytest.raises(SourceChangedError, match=name):
        img.compute()
    assert imgrs.open(vms).key != key


@pytest.mark.parametrize("name", ["a.svs", "a.tif"])
def test_tiffs_may_be_read_through_openslide(name: str, tmp_path: Path) -> None:
    """They are not, as a rule; but both ways give the same pixels."""
    data, path = smooth(3, (900, 700)), tmp_path / name
    if name == "a.svs":
        written_svs(path, data, "jpeg")
    else:
        imgrs.fromarray(data).save(path, pyramid=True, tile=128)
    slide, tiff = SlideReader(FileResource.stat(path)), reader_of(path)
    assert tiff.format == "TIFF"
    assert slide.unit == tiff.unit
    assert set(slide.shrinks) <= set(tiff.shrinks)
    for shrink in slide.shrinks:
        region = slide.shrunk(shrink).region
        np.testing.assert_array_equal(slide.read(region, shrink), tiff.read(region, shrink))
    names = [slide.at(i).info["name"] for i in range(1, slide.frames)]
    assert names == (["label", "macro", "thumbnail"] if name == "a.svs" else [])


def test_what_was_not_scanned_has_the_color_of_the_background(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, Any] = {
        "photometric": "rgb",
        "tile": (240, 240),
        "iccprofile": profile,
        "compression": "jpeg",
        "metadata": None,
    }
    tifffile.imwrite(path, smooth(3, (480, 480)), description="Aperio Image Library v10\n", **options)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags[325].valueoffset
    data[at : at + 4] = bytes(4)  # openslide takes a tile of no bytes for one that was not scanned
    path.write_bytes(data)
    reader = SlideReader(FileResource.stat(path))
    with openslide.OpenSlide(path) as slide:
        assert not np.asarray(slide.read_region((0, 0), 0, (240, 240)))[..., 3].any()
        expected = np.asarray(slide.get_thumbnail((480, 480)))
    np.testing.assert_array_equal(reader.read(reader.spec.region), expected)
    assert (expected[:240, :240] == 255).all()
    assert "sRGB" in imgrs.open(path).metadata["icc_profile"]
    assert reader.info["icc_profile"] == profile


def test_tiles_that_overlap_go_through_openslide(tmp_path: Path) -> None:
    """A slide of Ventana stores the edges of its tiles twice, and says by how much in XML."""
    data, path = smooth(3, (128, 128)), tmp_path / "a.tif"
    joints = "".join(
        f'<TileJointInfo FlagJoined="1" Confidence="100" Direction="{direction}" Tile1="{one}" Tile2="{other}"'
        f' OverlapX="{16 * (direction == "RIGHT")}" OverlapY="0"/>'
        for direction, one, other in (("RIGHT", 1, 2), ("RIGHT", 4, 3), ("UP", 1, 4), ("UP", 2, 3))
    )
    scan = b'<iScan Magnification="20" ScanRes="0.5" UnitNumber="1"><AOI0 AOIScanned="1"/></iScan>'
    stitched = (
        '<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" NumRows="2" NumCols="2"'
        f' Pos-X="0" Pos-Y="0" Width="64" Height="64">{joints}</ImageInfo></SlideStitchInfo>'
        '<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    ).encode()
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for image, text, xml, options in (
            (data[:40, :30], "Label Image", scan, {}),
            (data, "level=0 mag=20 quality=95", stitched, {"tile": (64, 64)}),
        ):
            tags = [(700, 1, len(xml), xml, True)]
            file.write(image, photometric="rgb", description=text, metadata=None, extratags=tags, **options)
    assert openslide.OpenSlide.detect_format(path) == "ventana"
    img = imgrs.open(path)
    assert img.format == "SLIDE"
    assert img.width < 128
    np.testing.assert_array_equal(img.compute(), level_of(path, 0))


def test_a_damaged_slide_is_a_clear_error(vms: Path) -> None:
    good = vms.with_name("a.jpg").read_bytes()
    vms.with_name("a.jpg").write_bytes(good[: len(good) // 2])
    with pytest.raises(CorruptImageError, match=r"a\.vms"):
        imgrs.open(vms).compute()
    vms.with_name("a.jpg").write_bytes(good)
    np.testing.assert_array_equal(imgrs.open(vms).compute(), level_of(vms, 0))
    vms.with_name("a.jpg").unlink()
    with pytest.raises(CorruptImageError, match=r"a\.vms"):
        imgrs.open(vms)
    vms.write_text("[Something else]\n")
    with pytest.raises(UnsupportedFormatError, match="not a slide that openslide knows"):
        imgrs.open(vms)


def test_without_openslide_the_error_names_the_extra(vms: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(UnsupportedFormatError, match=r"a\.vms.*pip install 'imgrs-lazy\[wsi\]'"):
        imgrs.open(vms)
    with pytest.raises(UnsupportedFormatError, match="known formats are"):
        imgrs.open(vms.rename(vms.with_suffix(".index")))
