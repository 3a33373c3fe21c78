"""Optional dependencies: imported when used, and named with the line that installs them when missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from dal.errors import MissingExtra


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted name of the module.
        extra: The extra of dal that installs it.
        purpose: What needs it, as the start of a sentence.

    Returns:
        The imported module.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise MissingExtra(
            f"{purpose} needs the package {error.name!r}, which is not installed", hint=f"pip install 'dal[{extra}]'"
        ) from error
