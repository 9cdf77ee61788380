"""Which results of a batch are there already: a journal beside them, a line for each as it was saved."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from imgrs.errors import SaveError


@dataclass(frozen=True)
class Entry:
    """A result that was saved: what it was made from, and what the file then was."""

    key: str
    size: int
    mtime_ns: int


class Done:
    """The journal of all calls with one template. A line that a killed process left half is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        self._begins = "" if text.endswith("\n") or not text else "\n"
        for line in text.splitlines():
            try:
                output, *entry = json.loads(line)
                self._entries[output] = Entry(*entry)
            except (ValueError, TypeError):
                continue

    @classmethod
    def of(cls, template: str) -> Done:
        """The journal for the template ``out``, which names files on this host."""
        folder = os.path.dirname(template.partition("{")[0]) or "."
        digest = hashlib.blake2b(template.encode(), digest_size=4).hexdigest()
        return cls(Path(folder) / f".imgrs-batch-{digest}.jsonl")

    def key(self, output: str) -> str | None:
        """What ``output`` was made for, if it is there and as it was then."""
        entry = self._entries.get(output)
        return entry.key if entry is not None and entry == _entry(output, entry.key) else None

    def add(self, output: str, key: str) -> None:
        """Note that ``output`` was saved for ``key``."""
        entry = _entry(output, key)
        if entry is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(self._begins + json.dumps([output, entry.key, entry.size, entry.mtime_ns]) + "\n")
            self._begins = ""
        except OSError as error:
            raise SaveError(f"{self._path} could not be written: {error}") from error


def _entry(output: str, key: str) -> Entry | None:
    try:
        status = os.stat(output)
    except OSError:
        return None
    return Entry(key, status.st_size, status.st_mtime_ns)
