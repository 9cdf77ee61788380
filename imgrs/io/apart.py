"""Decoders that may end the process on damaged data run in a child process: its end is an error there, and none here.

The child is started when it is first needed, serves one request at a time, and ends with the process that started it.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
from typing import Any

import numpy as np

from imgrs.errors import CorruptImageError
from imgrs.types import Pixels

PATIENCE = 60.0
"""Seconds that a tile may take."""
_LENGTH = struct.Struct("<Q")
_SCRIPT = os.path.join(os.path.dirname(__file__), "apart_child.py")


def decoded_apart(name: str, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pixels:
    """What imagecodecs' decoder ``name`` makes of ``data``.

    Raises ``ValueError`` where that is of another shape or type, ``CorruptImageError`` for all else.
    """
    answer = _child.ask(pickle.dumps((name, data, shape, dtype)))
    if answer[:1] == b"+":
        return np.frombuffer(answer, dtype, offset=1).reshape(shape)
    kind = ValueError if answer[:1] == b"?" else CorruptImageError
    raise kind(answer[1:].decode())


class _Child:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, request: bytes) -> bytes:
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            patience = threading.Timer(PATIENCE, process.kill)
            patience.start()
            try:
                process.stdin.write(_LENGTH.pack(len(request)) + request)
                process.stdin.flush()
                head = process.stdout.read(_LENGTH.size)
                answer = process.stdout.read(*_LENGTH.unpack(head)) if len(head) == _LENGTH.size else b""
            except BrokenPipeError:
                answer = b""
            finally:
                patience.cancel()
            if not answer:
                process.kill()
                raise CorruptImageError(f"its decoder ended with code {process.wait()}")
            return answer

    def _running(self) -> subprocess.Popen[bytes]:
        """The child of this process: a fork of it must not talk to the child of the one before."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._owner = os.getpid()
        return self._process


_child = _Child()
