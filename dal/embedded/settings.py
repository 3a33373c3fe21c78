"""The server settings a user asks for, checked before anything is started."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dal.errors import UsageError

__all__ = ["checked_settings", "effective_settings"]

_DEFAULTS = {"timezone": "UTC", "log_timezone": "UTC"}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
_OURS = frozenset(
    {
        "port",
        "listen_addresses",
        "unix_socket_directories",
        "unix_socket_permissions",
        "data_directory",
        "hba_file",
        "ident_file",
    }
)


def checked_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Check the form of server settings; whether the server knows them, it says itself.

    Args:
        settings: Values by name.

    Raises:
        UsageError: A name or a value cannot be one, or the setting is the embedded server's own.

    Example:
        >>> checked_settings({"wal_level": "logical"})
        {'wal_level': 'logical'}
    """
    for name, value in settings.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not the name of a server setting", hint='settings={"wal_level": "logical"}')
        if name in _OURS:
            raise UsageError(
                f"the setting {name} is the embedded server's own business", hint="tcp=True for a port of 127.0.0.1"
            )
        if not isinstance(value, str) or "\0" in value:
            raise UsageError(f"the setting {name} has to be text, not {value!r}", hint=f'settings={{"{name}": "..."}}')
    return dict(settings)


def effective_settings(asked: Mapping[str, str], *, temporary: bool) -> dict[str, str]:
    """Add the embedded server's defaults.

    Args:
        asked: What the user asks for; it wins.
        temporary: Whether the data need not survive a crash of the machine.
    """
    return {**_DEFAULTS, **(_FORGETFUL if temporary else {}), **asked}
