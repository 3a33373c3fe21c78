"""`dal demo`: the whole thing on a real data set and an embedded PostgreSQL."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the database in .dal/demo: the next run need not load it again.")
    ] = False,
) -> None:
    """Show what dal does, on every flight that left New York in 2013 and an embedded PostgreSQL."""
    from rich.console import Console

    from dal.demo.telling import tell

    tell(Console(highlight=False), keep=keep)
