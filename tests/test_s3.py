"""Buckets of S3, as the moto server plays them: regions, saves, stores and batches behind ``s3://``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

import imgrs
from imgrs.io import remote
from tests.test_remote import tiff

pytest.importorskip("s3fs")
pytest.importorskip("moto")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket, as s3fs sees it; this process finds its server and its keys by the environment, as anyone does."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    system = s3fs.S3FileSystem()
    system.mkdir("s3://bucket")
    yield system
    urlopen(Request(f"{server}/moto-api/reset", method="POST")).close()
    system.invalidate_cache()


def test_a_region_of_an_object_fetches_what_it_needs(bucket: Any, fetched: list[int]) -> None:
    content, data = tiff()
    bucket.pipe_file("s3://bucket/a.tif", content)
    img = imgrs.open("s3://bucket/a.tif")
    np.testing.assert_array_equal(img.crop((300, 300, 500, 500)), data[300:500, 300:500])
    assert 0 < sum(fetched) < len(content) / 2
    np.testing.assert_array_equal(img.compute(), data)


@pytest.mark.parametrize("name", ["b.png", "b.tif", "b.ome.zarr"])
def test_saves_go_to_buckets(name: str, bucket: Any) -> None:
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    data = tiff(300)[1]
    for added in (0, 5):  # the second replaces the first
        time.sleep(1.1 * bool(added))  # a bucket knows seconds, and a store is known by its documents, which are alike
        img = imgrs.fromarray(data).brightness(added)
        img.save(f"s3://bucket/{name}")
        np.testing.assert_array_equal(imgrs.open(f"s3://bucket/{name}"), img)
    assert [path for path in bucket.find("bucket") if not path.startswith(f"bucket/{name}")] == []


def test_an_object_that_changed_is_refused(bucket: Any) -> None:
    content, data = tiff(300)
    bucket.pipe_file("s3://bucket/a.tif", content)
    img = imgrs.open("s3://bucket/a.tif")
    imgrs.fromarray(data).invert().save("s3://bucket/a.tif")
    remote._blocks.__init__(32 << 20)  # type: ignore[misc]  # emptied
    with pytest.raises(imgrs.SourceChangedError, match="bucket/a"):
        img.compute()


def test_what_is_not_in_a_bucket_is_not_found(bucket: Any) -> None:
    with pytest.raises(imgrs.ImageNotFoundError):
        imgrs.open("s3://bucket/none.tif")
    with pytest.raises(imgrs.ImgrsError):
        imgrs.open("s3://none/none.tif")


def test_a_batch_finds_objects_by_a_pattern(bucket: Any) -> None:
    for i in range(3):
        bucket.pipe_file(f"s3://bucket/in/{i}.tif", tiff(64)[0])
    report = imgrs.batch("s3://bucket/in/*.tif", lambda img: img.resize((32, 32)), "s3://bucket/out/{stem}.png")
    assert [row["status"] for row in report.rows] == ["saved"] * 3
    assert sorted(bucket.ls("bucket/out")) == [f"bucket/out/{i}.png" for i in range(3)]
