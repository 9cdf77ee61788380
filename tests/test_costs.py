"""What the planner knows of costs: measured where there is a measurement, by locality elsewhere, and what it makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgrs
from imgrs import config
from imgrs.graph.op import Op
from imgrs.io import format_for, open_source
from imgrs.ops.filter import Blur
from imgrs.ops.fused import PointRun
from imgrs.ops.source import Open
from imgrs.ops.tiles import MapTiles
from imgrs.ops.tone import Brightness, Contrast
from imgrs.plan import cost
from imgrs.plan.choose import plan
from imgrs.plan.stages import Sink
from imgrs.run.save import sink_of
from imgrs.types import Spec
from tests.examples import op_classes

RGB = Spec(1000, 1000, 3, False, "uint8", "srgb")
UNMEASURED = {"auto_contrast", "map_tiles", "merge", "point_run"}
"""Ops that take something else than an RGB image, cost what a user's function costs, or are the sum of others."""


@pytest.mark.parametrize("cls", [cls for cls in op_classes() if cls.name not in UNMEASURED], ids=lambda cls: cls.name)
def test_every_op_was_measured(cls: type[Op]) -> None:
    rows = cost.measured()["ops"][cls.name]
    assert rows
    for points in rows.values():
        reaches = [reach for reach, _ in points]
        assert reaches == sorted(set(reaches))
        assert all(nanoseconds > 0 for _, nanoseconds in points)


def test_costs_lie_on_lines_between_what_was_measured() -> None:
    points = [(2.0, 10.0), (4.0, 20.0), (8.0, 20.0)]
    assert [cost.between(points, at) for at in (0, 2, 3, 4, 6, 9)] == [10.0, 10.0, 15.0, 20.0, 20.0, 20.0]


def test_wider_windows_cost_more_until_they_are_wide() -> None:
    assert cost.per_pixel(Blur(6.0), RGB, RGB) > cost.per_pixel(Blur(1.0), RGB, RGB)
    assert cost.per_pixel(Blur(300.0), RGB, RGB) == cost.per_pixel(Blur(200.0), RGB, RGB)


def test_a_run_costs_what_its_ops_cost() -> None:
    ops = (Brightness(3), Contrast(1.2))
    assert cost.per_pixel(PointRun(ops), RGB, RGB) == sum(cost.per_pixel(op, RGB, RGB) for op in ops)


def test_what_was_not_measured_is_told_by_its_locality(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "measured", lambda: {"ops": {}, "decode": {}, "encode": {}})
    assert cost.per_pixel(Blur(6.0), RGB, RGB) > cost.per_pixel(Blur(1.0), RGB, RGB) > 0
    assert cost.per_pixel(MapTiles(np.copy, 0, None), RGB, RGB) > 0
    assert cost.encoding("TIFF deflate", RGB) > 0


def test_formats_cost_what_they_were_measured_at(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    known = cost.measured()
    for name in ("a.tif", "a.jpg", "a.png", "a.bmp", "a.webp", "a.npy", "a.ppm", "a.qoi"):
        path = tmp_path / name
        imgrs.fromarray(pixels).save(path)
        assert open_source(path).codec in known["decode"]
        spec = imgrs.open(path)._node.spec
        assert format_for(str(path), None).encoder(spec, {}, {}).codec in known["encode"]
    op = Open(open_source(tmp_path / "a.jpg"))
    assert cost.decoding(op, RGB) == known["decode"]["JPEG"] * 3
    assert cost.decoding(replace(op, shrink=8), RGB) == known["decode"]["JPEG 1/8"] * 3


def seconds(img: imgrs.Image, sink: Sink | None = None, **options: Any) -> float:
    sinks = [] if sink is None else [sink]
    settings = config.settings(scheduler="threads", memory_limit="4GiB", chunks=(2048, 2048), **options)
    return plan([img._node], settings, sinks).forecast.seconds


@pytest.mark.parametrize("format", ["tiff", "png", "jpeg", "webp"])
def test_a_forecast_counts_the_encoding(format: str) -> None:
    img = imgrs.new("RGB", (6_000, 6_000)).brightness(3)
    sink = sink_of(img._output("-", format, {}))
    assert sink.codec
    assert seconds(img, sink, workers=2) > seconds(img, workers=2) + 36e6 * cost.encoding(sink.codec, RGB) / 2e9 * 0.5


def test_more_workers_do_not_quicken_what_one_task_does(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3_000, 3_000, 3), np.uint8)
    imgrs.fromarray(pixels).save(tmp_path / "a.webp")
    img = imgrs.open(tmp_path / "a.webp").brightness(3)
    op = img._node.inputs[0].op
    assert isinstance(op, Open)
    decoding = 9e6 * cost.decoding(op, img._node.spec) / 1e9
    assert seconds(img, workers=1) > seconds(img, workers=8) > decoding


def test_what_is_dear_to_make_is_kept_and_what_is_cheap_is_not() -> None:
    dear = imgrs.new("RGB", (10_000, 10_000)).rotate(7)
    cheap = imgrs.new("RGB", (10_000, 10_000)).brightness(7)
    for base, kept in ((dear, True), (cheap, False)):
        text = base.blend("normal", base.rotate180()).explain(scheduler="threads", memory_limit="4GiB")
        assert ("kept (computed" in text) == kept
