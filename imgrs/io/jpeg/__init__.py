"""JPEG, by restart markers where a file has them, and out with some."""
