"""Where the migrations of the flights are."""

from __future__ import annotations

from pathlib import Path

__all__ = ["environment"]


def environment() -> Path:
    """Find the migrations of the flights: beside the models in an installed package, on top of a checkout otherwise.

    Returns:
        The folder with `env.py`.

    Example:
        >>> (environment() / "env.py").is_file()
        True
    """
    installed = Path(__file__).parent / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "migrations"
