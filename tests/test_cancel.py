"""Ctrl-C: the call returns soon, nothing goes on behind it, files stay whole, and the next call works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import imgrs
from imgrs.config import settings
from imgrs.graph.op import Point, op
from imgrs.plan.choose import plan
from imgrs.run.graph import Builder
from imgrs.run.tasks import Stop, Work, make
from imgrs.types import Pixels, Spec

SCRIPT = """\
import multiprocessing, os, signal, sys, threading, time
import psutil
import imgrs
from imgrs.ops import filter

def main(scheduler, target):
    ran = []
    real = filter.Blur.compute
    filter.Blur.compute = lambda self, *given: (ran.append(1), open("started", "a").close(), real(self, *given))[-1]
    small = imgrs.new("RGB", (300, 300), (9, 9, 9))
    small.blur(50).compute()  # compiles what is needed
    os.unlink("started")
    img = imgrs.new("RGB", (20_000, 20_000), (9, 9, 9))
    for _ in range(6):
        img = img.blur(50)
    sent = []

    def interrupt():
        started = (lambda: len(psutil.Process().children())) if scheduler == "processes" else (lambda: len(ran) > 3)
        while not started():
            time.sleep(0.02)
        time.sleep(0.5)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    options = {"scheduler": scheduler, "workers": 2, "chunks": (1024, 1024)}
    try:
        img.save(target, **options) if target else img.compute(**options)
    except KeyboardInterrupt:
        took = time.monotonic() - sent[0]
    before = len(ran)
    time.sleep(1.5)
    after, children = len(ran), [c for c in psutil.Process().children() if "resource_tracker" not in " ".join(c.cmdline())]
    assert not any(child.cpu_percent(0.3) > 50 for child in children), children
    again = small.resize((2000, 2000)).blur(3).compute(scheduler=scheduler, workers=2, chunks=(512, 512))
    print(took < 5, after == before, int(again.min()), int(again.max()))

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("scheduler", ["threads", "sync", "processes"])
@pytest.mark.parametrize("target", ["", "a.tif"])
def test_ctrl_c_ends_a_long_call_and_nothing_runs_on(scheduler: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"old")
    (tmp_path / "script.py").write_text(SCRIPT)
    root = str(Path(__file__).parent.parent)
    run = subprocess.run(
        [sys.executable, "script.py", scheduler, target],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert run.stdout.split() == ["True", "True", "9", "9"], run.stderr
    assert "Traceback" not in run.stderr
    assert (tmp_path / "a.tif").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} <= {"a.tif", "script.py", "started"}


computed: list[tuple[str, int]] = []
blurred = threading.Event()
go_on = threading.Event()


@op
class Held(Point):
    """Notes that it is computed, and waits until it may go on."""

    number: int

    def apply(self, *pixels: Pixels, spec: Spec, prepared: object) -> Pixels:
        computed.append(("held", self.number))
        blurred.set()
        go_on.wait(20)
        return pixels[0]


def test_the_ops_behind_the_one_that_is_interrupted_are_not_computed() -> None:
    computed.clear()
    blurred.clear()
    go_on.clear()
    img = imgrs.new("L", (40, 40))
    for number in range(3):
        img = img.apply(Held(number))
    made = plan([img._node], settings(optimizer="off", scheduler="threads"))
    builder = Builder(made, lambda node: node.key, None)
    (key,) = builder.outputs(made.stages[0], None, lambda row, column: "tile", lambda i: ())
    function, program, work = builder.graph[key]
    assert function is make
    told: list[BaseException] = []

    def tile() -> None:
        try:
            make(builder.graph[program], work)
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=tile)
    thread.start()
    assert blurred.wait(20)
    ender = threading.Thread(target=builder.close)
    ender.start()
    while not work.stop():
        time.sleep(0.001)
    go_on.set()
    thread.join()
    ender.join()
    assert [number for _, number in computed] == [0]
    assert isinstance(told[0], KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        make(builder.graph[program], work)  # nor does a tile begin


def test_the_end_of_a_run_waits_for_tiles_that_are_being_made_but_not_for_ever() -> None:
    stop = Stop()
    with stop:
        assert not stop.stop(patience=0.01)
    assert stop.stop(patience=0.01)


def test_a_run_within_a_task_ends_with_its_run() -> None:
    stop = Stop()
    with stop:
        inner = Stop()
        with inner:
            assert not inner()
    beside = Stop()
    stop.stop()
    assert inner()
    assert not beside()
    with pytest.raises(KeyboardInterrupt), inner:
        pass


def test_other_processes_are_told_nothing() -> None:
    import pickle

    stop = Stop()
    stop.stop()
    assert not pickle.loads(pickle.dumps(stop))()
    region = imgrs.new("L", (4, 4))._node.spec.region
    assert pickle.loads(pickle.dumps(Work(region, stop=stop))) == Work(region)


def test_a_tile_that_fails_stops_the_others(tmp_path: Path) -> None:
    done: list[int] = []
    lock = threading.Lock()

    def fails(tile: Pixels) -> Pixels:
        with lock:
            done.append(1)
            if len(done) == 2:
                raise ZeroDivisionError
        time.sleep(0.05)
        return tile

    img = imgrs.fromarray(np.zeros((400, 400), np.uint8)).map_tiles(fails)
    with pytest.raises(imgrs.ComputeError):
        img.save(tmp_path / "a.tif", tile=16, chunks=(16, 16), scheduler="threads", workers=2)
    count = len(done)
    time.sleep(0.2)
    assert len(done) == count
    assert not list(tmp_path.iterdir())


def test_ctrl_c_on_a_cluster_lets_go_of_what_waits(tmp_path: Path) -> None:
    from distributed import Client

    def slow(tile: Pixels) -> Pixels:
        Path(tmp_path / f"{time.monotonic_ns()}").touch()
        time.sleep(0.3)
        return tile

    def interrupt() -> None:
        while not any(tmp_path.iterdir()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    img = imgrs.new("L", (200, 200)).map_tiles(slow)
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            img.compute(scheduler=client, chunks=(20, 20))
        time.sleep(1.0)
        count = len(list(tmp_path.iterdir()))
        assert count < 10
        time.sleep(1.0)
        assert len(list(tmp_path.iterdir())) == count


GROUP = """\
import os, signal, sys, threading, time
import imgrs

def slow(tile):
    time.sleep(0.3)
    return tile

def interrupt():
    time.sleep(3)
    os.killpg(os.getpgrp(), signal.SIGINT)  # as a terminal does

if __name__ == "__main__":
    threading.Thread(target=interrupt).start()
    try:
        imgrs.new("L", (2000, 2000)).map_tiles(slow).compute(scheduler="processes", workers=2, chunks=(100, 100))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_processes_that_ctrl_c_reaches_too_end_quietly(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(GROUP)
    run = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True, text=True, check=False, timeout=90, start_new_session=True,
    )  # fmt: skip
    assert (run.stdout, run.stderr) == ("interrupted\n", "")


def test_a_batch_that_is_interrupted_ends_with_the_images_that_are_being_made(tmp_path: Path) -> None:
    tiles: list[int] = []

    def slow(tile: Pixels) -> Pixels:
        tiles.append(1)
        if len(tiles) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return tile

    for name in "abcd":
        imgrs.new("L", (1000, 1000)).save(tmp_path / f"{name}.tif")
    with pytest.raises(KeyboardInterrupt):
        imgrs.batch(str(tmp_path / "*.tif"), lambda img: img.map_tiles(slow), str(tmp_path / "out" / "{stem}.tif"),
                    workers=2, chunks=(50, 50), tile=16, optimizer="off")  # fmt: skip
    count = len(tiles)
    assert count < 400, "one image has as many tiles"
    time.sleep(0.3)
    assert len(tiles) == count
    assert not list((tmp_path / "out").iterdir())
