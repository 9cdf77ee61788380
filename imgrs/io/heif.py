"""HEIF with HEVC inside (``.heic``), which is recognized and refused: see ``docs/decisions`` for the reason."""

from __future__ import annotations

EXTENSIONS = (".heic", ".heif", ".hif")
REASON = "its codec (HEVC) is not in any package under a permissive license"
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with ``head``, and is not AVIF, is HEIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS
