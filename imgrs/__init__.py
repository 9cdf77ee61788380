"""Images as lazy dataflow graphs: build a pipeline, read what it will do, run it in tiles through Dask.

>>> import imgrs
>>> img = imgrs.new("RGB", (640, 480), (200, 120, 40)).blur(2).brightness(10)
>>> img.size, img.mode
((640, 480), 'RGB')
>>> img.compute().shape
(480, 640, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgrs.batches.batch import batch
from imgrs.batches.report import Report, Result
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
    MetadataWarning,
    SaveError,
    SourceChangedError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from imgrs.forecast import Estimate, estimate
from imgrs.functions import *  # noqa: F403  # a function for each verb of the class, made from it
from imgrs.functions import __all__ as _functions
from imgrs.image import Image, Statistic
from imgrs.monitor import Monitor, monitor
from imgrs.pipelines import Pipeline, pipeline
from imgrs.recipe_text import RecipeSource
from imgrs.timing import Benchmark, benchmark
from imgrs.together import compute_all, save_all

if TYPE_CHECKING:
    from imgrs.bridges.tiles import Tiles
    from imgrs.previews import Preview, PreviewStep
    from imgrs.profile import Profile
else:
    _LATER = {
        "Preview": "imgrs.previews",
        "PreviewStep": "imgrs.previews",
        "Profile": "imgrs.profile",
        "Tiles": "imgrs.bridges.tiles",
    }

    def __getattr__(name: str) -> Any:
        """What methods return, for annotations: loaded where it is asked for."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)

    def __dir__() -> list[str]:
        """The names of the package, with those that are loaded later."""
        return sorted({*globals(), *_LATER})


__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Benchmark",
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
    "MetadataWarning",
    "Monitor",
    "Pipeline",
    "Preview",
    "PreviewStep",
    "Profile",
    "RecipeSource",
    "Report",
    "Result",
    "SaveError",
    "SourceChangedError",
    "Statistic",
    "Tiles",
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
