"""TIFF, BigTIFF and OME-TIFF, in and out."""
