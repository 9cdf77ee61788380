"""One module for each library that is measured; all answer to the same few functions, and import nothing until asked.

``cannot(job)`` says why a library does not do a job, or nothing. ``prepare(settings)`` imports it and sets its threads.
``in_memory(array, chain, settings)`` gives an array, ``from_file(source, chain, settings)`` too, and ``to_file(source,
chain, target, options, settings)`` writes one. ``versions()`` is what to print, ``SETTINGS`` how it was used. A library has
its best form that is the same work to within the tolerance of the workload.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Peer:
    """A column of the tables: a library in a form."""

    name: str
    module: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> ModuleType:
        return importlib.import_module(f"benchmarks.peers.{self.module}")


OURS, VIPS, COPY = "imgrs", "libvips", "copy"
PEERS = {
    peer.name: peer
    for peer in (
        Peer(OURS, "ours"),
        Peer(VIPS, "vips"),
        Peer("Pillow", "pillow"),
        Peer("OpenCV", "opencv"),
        Peer("scikit-image", "scikit"),
        Peer("dask-image", "daskimage"),
        Peer("imgrs 0.3.8", "pypi"),
        Peer(COPY, "control"),
    )
}
"""Those that every workload is tried with."""
FURTHER = {
    peer.name: peer
    for peer in (
        Peer("libvips defaults", "vips", {"defaults": True}),
        Peer("libvips float", "vips", {"float": True}),
        Peer("libvips shrink-on-load", "vips", {"shrink": True}),
        Peer("copy in place", "control", {"in_place": True}),
        Peer("arithmetic", "control", {"arithmetic": True}),
    )
}
"""Forms that some workloads show beside the others; no target is measured by them."""
OTHERS = ("Pillow", "scikit-image", "dask-image", "imgrs 0.3.8")
"""Those whose best every workload has to beat."""


def peer(name: str) -> Peer:
    return PEERS.get(name) or FURTHER[name]
