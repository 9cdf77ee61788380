"""The files of a folder that is written: on this host or one that shares its disk, or behind a URL."""

from __future__ import annotations

import os


def write_file(folder: str, name: str, data: bytes) -> None:
    """Write a file of ``folder``, a path or a URL; ``name`` may have slashes."""
    if "://" in folder:
        from imgrs.io.remote import pipe

        pipe(f"{folder}/{name}", data)
        return
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def read_file(folder: str, name: str) -> bytes:
    """The content of a file of a local folder."""
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()
