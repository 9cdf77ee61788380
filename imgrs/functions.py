"""Each verb as a function: ``imgrs.resize(img, (800, 600))`` is ``img.resize((800, 600))``."""

from __future__ import annotations

from imgrs.image import Image

brightness = Image.brightness
contrast = Image.contrast
gamma = Image.gamma
exposure_adjust = Image.exposure_adjust
invert = Image.invert
solarize = Image.solarize
posterize = Image.posterize
threshold = Image.threshold
saturate = Image.saturate
grayscale = Image.grayscale
sepia = Image.sepia
hue_rotate = Image.hue_rotate
convert = Image.convert
blur = Image.blur
box_blur = Image.box_blur
sharpen = Image.sharpen
unsharp_mask = Image.unsharp_mask
edge_detect = Image.edge_detect
edge_enhance = Image.edge_enhance
edge_enhance_more = Image.edge_enhance_more
emboss = Image.emboss
crop = Image.crop
pad = Image.pad
resize = Image.resize
rotate = Image.rotate
rotate90 = Image.rotate90
rotate180 = Image.rotate180
rotate270 = Image.rotate270
rotate_left = Image.rotate_left
rotate_right = Image.rotate_right
flip_left_right = Image.flip_left_right
flip_top_bottom = Image.flip_top_bottom
split = Image.split
blend = Image.blend
histogram = Image.histogram
auto_contrast = Image.auto_contrast
save = Image.save

__all__ = [
    "auto_contrast",
    "blend",
    "blur",
    "box_blur",
    "brightness",
    "contrast",
    "convert",
    "crop",
    "edge_detect",
    "edge_enhance",
    "edge_enhance_more",
    "emboss",
    "exposure_adjust",
    "flip_left_right",
    "flip_top_bottom",
    "gamma",
    "grayscale",
    "histogram",
    "hue_rotate",
    "invert",
    "pad",
    "posterize",
    "resize",
    "rotate",
    "rotate90",
    "rotate180",
    "rotate270",
    "rotate_left",
    "rotate_right",
    "saturate",
    "save",
    "sepia",
    "sharpen",
    "solarize",
    "split",
    "threshold",
    "unsharp_mask",
]
