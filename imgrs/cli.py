"""The command line: ``imgrs demo`` and ``imgrs explain``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
@click.version_option(package_name="imgrs-lazy")
def main() -> None:
    """Images as lazy dataflow graphs, run in tiles through Dask."""


@main.command()
@click.option("--side", default=10_000, show_default=True, type=click.IntRange(256), help="Pixels a side of the image.")
@click.option("--folder", default="imgrs-demo", show_default=True, type=click.Path(path_type=Path), help="For results.")
def demo(side: int, folder: Path) -> None:
    """Make a large photograph, grade it and shrink it, and tell what was done and how fast."""
    from imgrs.demo import run

    run(side, folder)


if __name__ == "__main__":
    main()
