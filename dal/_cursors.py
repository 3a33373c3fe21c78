"""How cursors of pages are signed: `CursorConfig`, part of the configuration of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dal._tables import as_table, known_keys
from dal._values import positive_duration, truth
from dal.durations import Duration
from dal.errors import ConfigError

__all__ = ["CursorConfig"]

SHORTEST_KEY = 16


@dataclass(frozen=True, init=False)
class CursorConfig:
    """The keys that sign cursors, and how long a cursor is good for.

    Args:
        keys: Secrets of 16 bytes or more. The first signs, all of them verify: put a new one in front, and take the old
            one away when no cursor of it is in use any more.
        production: Refuse to go on without a key of its own. Otherwise a development key is made once a process, so that
            cursors end with it and are not understood by other processes.
        expires: How long a cursor is good for; by default for ever.

    Raises:
        ConfigError: There is no key in production, a key is short, or a value is of the wrong type.

    Example:
        >>> CursorConfig(keys=["a secret of 16 bytes or more"], expires="1h")
        CursorConfig(production=False, expires=3600.0)
    """

    keys: tuple[bytes, ...] = field(repr=False)
    production: bool
    expires: float | None

    def __init__(self, *, keys: Sequence[str | bytes] = (), production: bool = False, expires: Duration | None = None) -> None:
        if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence):
            raise ConfigError("cursors.keys: this is not a list", hint="write keys=[...], the key that signs first")
        object.__setattr__(self, "keys", tuple(_key(each) for each in keys))
        object.__setattr__(self, "production", truth(production, "production"))
        object.__setattr__(self, "expires", None if expires is None else positive_duration(expires, "expires"))
        if self.production and not self.keys:
            raise ConfigError(
                "cursors: production is on, but there is no key to sign cursors with",
                hint="give every process the same secret: CursorConfig(keys=[os.environ['CURSOR_KEY']], production=True)",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.keys, self.production, self.expires)

    @classmethod
    def from_table(cls, table: object, where: str) -> CursorConfig | None:
        """Read the table `cursors` of a configuration file.

        Args:
            table: Its content, or None where there is none.
            where: What messages call it.

        Returns:
            The settings, or None where there are none.

        Raises:
            ConfigError: A key is unknown or a value bad.
        """
        if table is None:
            return None
        known = dict(known_keys(as_table(table, where), _NAMES, f"{where}."))
        if isinstance(known.get("production"), str):
            known["production"] = _TRUTHS.get(known["production"].lower(), known["production"])
        return cls(**known)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], prefix: str) -> CursorConfig | None:
        """Read `DAL_CURSORS__KEYS` (separated by commas), `DAL_CURSORS__PRODUCTION` and `DAL_CURSORS__EXPIRES`.

        Args:
            environ: The environment.
            prefix: What the names start with: `DAL_`.

        Returns:
            The settings, or None where there is none of them.

        Raises:
            ConfigError: A name is unknown or a value bad.
        """
        start = f"{prefix}CURSORS__"
        given = {name.removeprefix(start): text for name, text in environ.items() if name.startswith(start)}
        known_keys(given, {name.upper() for name in _NAMES}, start)
        table: dict[str, Any] = {name.lower(): text for name, text in given.items()}
        if "keys" in table:
            table["keys"] = [each for each in table["keys"].split(",") if each]
        return cls.from_table(table or None, start.rstrip("_"))

    def info(self) -> dict[str, CursorConfig]:
        """Return what goes into the `info` of a sessionmaker or session, for code that has no Database.

        Example:
            >>> from sqlalchemy.orm import sessionmaker
            >>> sessions = sessionmaker(info=CursorConfig(keys=["a secret of 16 bytes or more"]).info())
        """
        return {INFO_KEY: self}


INFO_KEY = "dal.cursors"

_NAMES = ("keys", "production", "expires")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def _rebuilt(keys: tuple[bytes, ...], production: bool, expires: float | None) -> CursorConfig:
    return CursorConfig(keys=keys, production=production, expires=expires)


def _key(given: object) -> bytes:
    if isinstance(given, (str, bytes)):
        key = given.encode() if isinstance(given, str) else given
        if len(key) >= SHORTEST_KEY:
            return key
    raise ConfigError(
        f"cursors.keys: a key is a secret of {SHORTEST_KEY} bytes or more, as text or bytes",
        hint=f'make one: python -c "import secrets; print(secrets.token_urlsafe({2 * SHORTEST_KEY}))"',
    )
