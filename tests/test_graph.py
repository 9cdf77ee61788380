"""The graph as values: keys, walks, listings, and what other tools get."""

from __future__ import annotations

import subprocess
import sys

import fsspec
import networkx

import imgrs
from imgrs.graph.node import walk


def pipeline() -> imgrs.Image:
    base = imgrs.new("RGB", (40, 30), (1, 2, 3))
    return base.blur(3).blend("normal", base.crop((0, 0, 9, 9)), position=(4, 5))


LISTING = """\
%1 = new((1, 2, 3))                    40x30 RGB uint8
%2 = blur(%1, radius=3)                40x30 RGB uint8
%3 = crop(%1, (0, 0, 9, 9))            9x9 RGB uint8
%4 = blend(%2, %3, position=(4, 5))    40x30 RGB uint8"""

DOT = """\
digraph imgrs {
  rankdir=TB;
  node [shape=box, fontname="sans-serif"];
  n1 [label="new((1, 2, 3))\\n40x30 RGB uint8"];
  n2 [label="blur(radius=3)\\n40x30 RGB uint8"];
  n3 [label="crop((0, 0, 9, 9))\\n9x9 RGB uint8"];
  n4 [label="blend(position=(4, 5))\\n40x30 RGB uint8"];
  n1 -> n2;
  n1 -> n3;
  n2 -> n4;
  n3 -> n4;
}
"""


def test_listing() -> None:
    assert [line.split() for line in pipeline().listing().splitlines()] == [
        line.split() for line in LISTING.splitlines()
    ]


def test_listings_call_functions_by_their_names() -> None:
    img = imgrs.new("L", (4, 4)).map_tiles(abs)
    assert "map_tiles(%1, abs)" in img.listing()
    assert "map_tiles(%1, abs)" in img.explain()


def test_long_listings_leave_out_their_middle() -> None:
    img = imgrs.new("L", (9, 9))
    for _ in range(500):
        img = img.blur(1)
    lines = img.listing().splitlines()
    assert len(lines) < 80
    assert any("more" in line for line in lines)


def test_dot() -> None:
    assert pipeline().to_dot() == DOT


def test_networkx() -> None:
    graph = pipeline().to_networkx()
    assert networkx.is_directed_acyclic_graph(graph)
    assert [graph.nodes[i]["op"] for i in graph] == ["new", "blur", "crop", "blend"]
    assert graph.nodes[2]["parameters"] == {"radius": 3.0}
    assert {(a, b, d["position"]) for a, b, d in graph.edges(data=True)} == {(1, 2, 0), (1, 3, 0), (2, 4, 0), (3, 4, 1)}


def test_keys_are_equal_for_equal_meaning() -> None:
    base = imgrs.new("RGB", (40, 30))
    assert base.brightness(20).key == base.brightness(20.0).key
    assert base.resize((9, 9), "LANCZOS").key == base.resize((9, 9), 1).key
    assert base.brightness(20).key != base.brightness(21).key
    assert base.brightness(20) == base.brightness(20.0)
    assert hash(base.brightness(20)) == hash(base.brightness(20.0))


def test_keys_are_equal_in_another_process() -> None:
    script = "from tests.test_graph import pipeline; print(pipeline().key, hash(pipeline()))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [pipeline().key, str(hash(pipeline()))]


def test_walk_visits_each_node_once_inputs_first() -> None:
    img = imgrs.new("L", (4, 4))
    for _ in range(60):
        img = img + img  # 2^60 paths
    order = walk([img._node])
    assert len(order) == 61
    place = {node: i for i, node in enumerate(order)}
    assert all(place[i] < place[node] for node in order for i in node.inputs)


def test_specs_are_known_without_pixels() -> None:
    img = imgrs.new("RGBA", (3000, 2000)).resize((30, 20)).rotate(30, expand=True).edge_detect()
    assert (img.size, img.mode, img.shape, img.nbytes) == ((36, 34), "LA", (34, 36, 2), 34 * 36 * 2)
    assert imgrs.new("RGB", (5, 5)).histogram().shape == (256, 3)


def test_listings_name_urls_without_their_query() -> None:
    url = "memory://listed/photo.tif?key=secret"
    with fsspec.open(url, "wb") as file:
        imgrs.new("L", (8, 6), 7).save(file, "tiff")
    assert imgrs.open(url).listing() == "%1 = open(photo.tif)  8x6 L uint8"
