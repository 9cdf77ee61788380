"""Images as lazy dataflow graphs: build a pipeline, read what it will do, run it in tiles through Dask.

>>> import imgrs
>>> img = imgrs.new("RGB", (640, 480), (200, 120, 40)).blur(2).brightness(10)
>>> img.size, img.mode
((640, 480), 'RGB')
>>> img.compute().shape
(480, 640, 3)
"""

from __future__ import annotations

from imgrs.batches.batch import batch
from imgrs.cache import Cache
from imgrs.config import options, set_options
from imgrs.create import from_dask, fromarray, frombytes, images_equal, merge, new, open, open_raw
from imgrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    ComputeError,
    CorruptImageError,
    DamagedImageWarning,
    ImageNotFoundError,
    ImgrsError,
    LimitError,
    MemoryBudgetError,
    SaveError,
    SourceChangedError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from imgrs.forecast import Estimate, estimate
from imgrs.functions import *  # noqa: F403  # a function for each verb of the class, made from it
from imgrs.functions import __all__ as _functions
from imgrs.image import Image
from imgrs.monitor import Monitor, monitor
from imgrs.pipelines import Pipeline, pipeline
from imgrs.timing import benchmark
from imgrs.together import compute_all, save_all

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Cache",
    "ComputeError",
    "CorruptImageError",
    "DamagedImageWarning",
    "Estimate",
    "Image",
    "ImageNotFoundError",
    "ImgrsError",
    "LimitError",
    "MemoryBudgetError",
    "Monitor",
    "Pipeline",
    "SaveError",
    "SourceChangedError",
    "TruncatedImageError",
    "UnsupportedFormatError",
    "__version__",
    "batch",
    "benchmark",
    "compute_all",
    "estimate",
    "from_dask",
    "fromarray",
    "frombytes",
    "images_equal",
    "merge",
    "monitor",
    "new",
    "open",
    "open_raw",
    "options",
    "pipeline",
    "save_all",
    "set_options",
    *_functions,
]
