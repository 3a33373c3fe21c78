"""Give an application its own migration environment: what `dal migrate init` writes."""

from __future__ import annotations

import re
from importlib import import_module, resources
from os import PathLike
from pathlib import Path
from string import Template

from sqlalchemy import MetaData

from dal.errors import ConfigError, UsageError

__all__ = ["init"]


def init(folder: str | PathLike[str] = "migrations", *, metadata: str) -> list[Path]:
    """Write `env.py`, `script.py.mako` and `versions/` into a folder, and `alembic.ini` beside it if there is none.

    Args:
        folder: A folder that does not exist or is empty.
        metadata: Where the models are: `app.models:Base`, or `app.models:metadata` for a bare MetaData.

    Returns:
        The files written.

    Raises:
        ConfigError: `metadata` names nothing that has a MetaData.
        UsageError: The folder is not empty.
    """
    module, name, attribute = _locate(metadata)
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"folder: {str(folder)!r} exists and is not empty", hint="name another one with --folder")
    (target / "versions").mkdir(parents=True)
    values = {"module": module, "name": name, "metadata": attribute, "folder": target.name}
    written = [
        _write(target / "env.py", _template("env.py.template").substitute(values)),
        _write(target / "script.py.mako", _template("script.py.mako").template),
        _write(target / "versions" / ".gitkeep", ""),
    ]
    ini = target.parent / "alembic.ini"
    if not ini.exists():
        written.append(_write(ini, _template("alembic.ini.template").substitute(values)))
    return written


def _locate(metadata: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", metadata)
    if match is None:
        raise ConfigError(f"metadata: {metadata!r} is not accepted", hint="write module:name, such as app.models:Base")
    module, name = match[1], match[2]
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"metadata: the module {error.name!r} cannot be imported", hint="run the command in the folder that holds it"
        ) from error
    if isinstance(found, MetaData):
        return module, name, name
    if isinstance(getattr(found, "metadata", None), MetaData):
        return module, name, f"{name}.metadata"
    raise ConfigError(
        f"metadata: {module} has no {name!r} that is a MetaData or has one", hint="name the declarative base: app.models:Base"
    )


def _template(name: str) -> Template:
    return Template(resources.files("dal.migrations").joinpath("template", name).read_text(encoding="utf-8"))


def _write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path
