"""What to use instead of names that Pillow's images have and ours have not. docs/from-pillow.md has the same table."""

from __future__ import annotations

from collections.abc import Mapping

_NEW = "images do not change: change an array, and use imgrs.fromarray(array)"
_THERE = "use img.to_pil(), which has it, on a small image"

INSTEAD: Mapping[str, str] = {
    "alpha_composite": 'use img.blend("normal", other), which gives a new image',
    "apply_transparency": "nothing is needed: transparency is a band once a file is open",
    "draft": "use img.thumbnail(size), which decodes at a reduced scale",
    "entropy": _THERE,
    "filter": "use img.blur, box_blur, unsharp_mask, emboss, edge_enhance or convolve",
    "frombytes": "use imgrs.frombytes(mode, size, data), which gives a new image",
    "getbands": "use img.mode and img.bands",
    "getbbox": _THERE,
    "getcolors": _THERE,
    "getdata": "use img.compute(), an array",
    "getexif": 'use img.metadata, by names, or img.info["exif"], as bytes',
    "getextrema": "use img.extrema(), which is lazy",
    "getpixel": "use img[y : y + 1, x : x + 1].compute(), or index the array of img.compute()",
    "getxmp": 'use img.info["xmp"], as bytes',
    "load": "nothing is needed; img.compute() gives the pixels, and img.persist() keeps them",
    "paste": 'use img.blend("normal", other, mask, position), which gives a new image',
    "point": "use img.curve(points), img.levels(black, white, gamma) or img.map_tiles(function)",
    "putalpha": 'use imgrs.merge("RGBA", [*img.convert("RGB").split(), alpha]), which gives a new image',
    "putdata": _NEW,
    "putpixel": _NEW,
    "quantize": _THERE,
    "reduce": 'use img.resize(size, "box")',
    "seek": "use img.page(number)",
    "show": "use img.to_pil().show(); notebooks show an image that ends a cell",
    "tell": "use img.page(number), which gives one of img.n_frames",
    "transform": "use img.rotate(angle) or img.resize(size, box=box)",
    "verify": "use img.damaged(), which decodes the file",
}
