"""Which database a command works on: --url, --config, DAL_URL, or a database.yaml in the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dal.config import DatabaseConfig
from dal.errors import ConfigError

__all__ = ["ConfigOption", "UrlOption", "database_config", "see_the_application"]

UrlOption = Annotated[
    str | None, typer.Option("--url", help="SQLAlchemy URL of the database. Others on this machine can read it.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="database.yaml or database.toml.")]

_DEFAULT_FILES = ("database.yaml", "database.yml", "database.toml")


def database_config(url: str | None, config: Path | None) -> DatabaseConfig:
    """Find the settings of the database a command works on.

    Args:
        url: What `--url` says.
        config: What `--config` says.

    Returns:
        The settings of the first of: `--url`, `--config`, `DAL_URL`, a default file in the current folder.

    Raises:
        ConfigError: None of them is there, or the one that is cannot be read.
    """
    if url is not None and config is not None:
        raise ConfigError("--url and --config both name a database", hint="leave one of them out")
    if url is not None:
        return DatabaseConfig(url=url)
    if config is not None:
        return DatabaseConfig.from_file(config)
    if os.environ.get("DAL_URL"):
        return DatabaseConfig.from_env()
    for name in _DEFAULT_FILES:
        if Path(name).is_file():
            return DatabaseConfig.from_file(name)
    raise ConfigError(
        "no database is named",
        hint="add --url postgresql+psycopg://user@host/database or --config database.yaml, or export DAL_URL",
    )


def see_the_application() -> None:
    """Let `app.models` be found in the current folder, as `python -m` does."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
