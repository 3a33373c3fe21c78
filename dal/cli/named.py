"""What a name such as `app.models:Flight` on the command line means."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from dal.errors import ConfigError

__all__ = ["named"]


def named(name: str, option: str) -> Any:
    """Import what a name means.

    Args:
        name: Such as `app.models:Flight`.
        option: The option it was given to, for errors.

    Raises:
        ConfigError: The name is malformed, or there is nothing of that name.
    """
    match = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", name)
    if match is None:
        raise ConfigError(f"{option}: {name!r} is not accepted", hint="write module:name, such as app.models:Flight")
    try:
        return getattr(import_module(match[1]), match[2])
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{option}: the module {error.name!r} cannot be imported", hint="run the command in the folder that holds it"
        ) from error
    except AttributeError:
        raise ConfigError(f"{option}: {match[1]} has no {match[2]!r}", hint="check the name of the class") from None
