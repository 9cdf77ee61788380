"""Benchmarks of an image compute it, as often as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import imgrs


def test_a_benchmark_computes_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    compute = imgrs.Image.compute

    def counted(self: imgrs.Image, **options: Any) -> Any:
        calls.append(options)
        return compute(self, **options)

    monkeypatch.setattr(imgrs.Image, "compute", counted)
    made = imgrs.benchmark(imgrs.new("RGB", (200, 100)).blur(1), runs=4, workers=1)
    assert calls == [{"workers": 1, "cache": False}] * 5
    assert len(made.runs) == 4
    assert made.seconds == np.median(made.runs)
    assert made.rate == pytest.approx(0.02 / made.seconds)
    assert f"{made.rate:,.1f} megapixels/s" in str(made)


@pytest.mark.usefixtures("usual_options")
def test_a_cache_is_timed_only_where_it_is_given() -> None:
    cache = imgrs.Cache("64MiB")
    img = imgrs.new("RGB", (200, 100), (1, 2, 3)).blur(8)
    with imgrs.options(cache=cache):
        imgrs.benchmark(img, runs=2)
    assert (cache.hits, cache.misses, cache.bytes) == (0, 0, 0)
    imgrs.benchmark(img, runs=2, cache=cache)
    assert (cache.hits, cache.misses) == (2, 1)


@pytest.mark.parametrize("runs", [0, -1, 2.0, True])
def test_runs_are_whole_numbers(runs: Any) -> None:
    with pytest.raises(imgrs.ArgumentError, match="runs must be"):
        imgrs.benchmark(imgrs.new("L", (2, 2)), runs)


def test_only_images_are_timed() -> None:
    with pytest.raises(imgrs.ArgumentError, match="must be an imgrs"):
        imgrs.benchmark(np.zeros((2, 2)))  # type: ignore[arg-type]  # wrong on purpose
