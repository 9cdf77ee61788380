"""Zarr and OME-Zarr, in and out."""
