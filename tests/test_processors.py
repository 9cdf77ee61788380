"""Integer pixels are the same on every x86-64 processor: older ones are played by switching instruction sets off."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import applications, op_classes
from tests.oracle import evaluate

BASELINE = {
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
    "OPENCV_CPU_DISABLE": "AVX2,FP16,AVX512F,AVX512-SKX,AVX512-CLX,AVX512-ICL",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NUMBA_CPU_NAME": "nehalem",
    "NUMBA_CPU_FEATURES": "",
}


def digests() -> dict[str, str]:
    """A digest of what each op makes of every kind of image whose samples are integers, source and result."""
    found = {}
    for cls in op_classes():
        for i, node in enumerate(applications(cls)):
            if all(spec.dtype != "float32" for spec in [node.spec, *(n.spec for n in node.inputs)]):
                found[f"{cls.name} {i}"] = hashlib.sha256(evaluate(node).tobytes()).hexdigest()
    return found


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the switches are those of x86-64")
def test_integers_do_not_depend_on_the_instruction_set(tmp_path: Path) -> None:
    script = "from tests.test_processors import digests\nfor name, digest in digests().items(): print(name, digest)"
    environment = {**os.environ, **BASELINE, "IMGRS_CACHE_DIR": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    here = digests()
    assert len(here) > 100
    assert dict(line.rsplit(" ", 1) for line in run.stdout.splitlines()) == here
