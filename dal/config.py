"""Settings: frozen, keyword-only, checked when made; from code, a YAML or TOML file, or the environment.

The same field names everywhere: `PoolConfig(min_pool_size=5)` in code, `connection_pool: {min_pool_size: 5}` in a file,
`DAL_POOL__MIN_POOL_SIZE=5` in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy.engine import URL

from dal._cursors import CursorConfig
from dal._tables import as_table, known_keys, read_table
from dal._values import database_url, positive_duration, statement, truth, whole_number
from dal.durations import Duration, seconds
from dal.errors import ConfigError

__all__ = ["CursorConfig", "DatabaseConfig", "PolicyConfig", "PoolConfig"]


@dataclass(frozen=True, init=False)
class PoolConfig:
    """How many connections are kept, how long, and how they are checked.

    Args:
        min_pool_size: Connections kept open and ready.
        max_pool_size: Connections at most, at least 1 and not below `min_pool_size`.
        connection_timeout: How long a borrower waits for a connection.
        idle_timeout: How long a connection above `min_pool_size` may lie idle before it is closed.
        max_lifetime: How long a connection lives before it is replaced by a new one.
        validation_query: The statement that proves a connection alive.
        test_on_borrow: Check a connection before handing it out; `"always"` sends `validation_query` every time.
        test_while_idle: Check idle connections in the background.
        retry_attempts: How often a unit of work is run again after a transient fault.
        retry_delay: The pause before the first of these, doubled and jittered from then on.

    Raises:
        ConfigError: A value is of the wrong type or range, or minimum and maximum contradict.

    Example:
        >>> PoolConfig(min_pool_size=2, idle_timeout="10m").idle_timeout
        600.0
    """

    min_pool_size: int
    max_pool_size: int
    connection_timeout: float
    idle_timeout: float
    max_lifetime: float
    validation_query: str
    test_on_borrow: bool | Literal["always"]
    test_while_idle: bool
    retry_attempts: int
    retry_delay: float

    def __init__(
        self,
        *,
        min_pool_size: int = 5,
        max_pool_size: int = 20,
        connection_timeout: Duration = 30.0,
        idle_timeout: Duration = 600.0,
        max_lifetime: Duration = 3600.0,
        validation_query: str = "SELECT 1",
        test_on_borrow: bool | Literal["always"] = True,
        test_while_idle: bool = True,
        retry_attempts: int = 3,
        retry_delay: Duration = 1.0,
    ) -> None:
        _seal(
            self,
            min_pool_size=whole_number(min_pool_size, "min_pool_size", at_least=0),
            max_pool_size=whole_number(max_pool_size, "max_pool_size", at_least=1),
            connection_timeout=positive_duration(connection_timeout, "connection_timeout"),
            idle_timeout=positive_duration(idle_timeout, "idle_timeout"),
            max_lifetime=positive_duration(max_lifetime, "max_lifetime"),
            validation_query=statement(validation_query, "validation_query"),
            test_on_borrow=test_on_borrow if test_on_borrow == "always" else truth(test_on_borrow, "test_on_borrow"),
            test_while_idle=truth(test_while_idle, "test_while_idle"),
            retry_attempts=whole_number(retry_attempts, "retry_attempts", at_least=0),
            retry_delay=seconds(retry_delay, name="retry_delay"),
        )
        if self.min_pool_size > self.max_pool_size:
            raise ConfigError(
                f"min_pool_size: {self.min_pool_size} is more than max_pool_size: {self.max_pool_size}",
                hint="raise max_pool_size or lower min_pool_size",
            )


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """A loading policy as a file names it; the names are resolved when the policy is used.

    Args:
        eager: Attributes loaded with the query: `"User.profile"`, or a tuple of them for one explicit path.
        otherwise: The name of the policy for everything else, or None to inherit it.

    Raises:
        ConfigError: A name is not of the form `"User.profile"`.

    Example:
        >>> PolicyConfig(eager=("User.profile",), otherwise="lazy").otherwise
        'lazy'
    """

    eager: tuple[str | tuple[str, ...], ...] = ()
    otherwise: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.eager, tuple) or not all(_is_path(path) for path in self.eager):
            raise ConfigError(f"eager: {self.eager!r} is not accepted", hint='write a tuple such as ("User.profile",)')
        if self.otherwise is not None and not isinstance(self.otherwise, str):
            raise ConfigError(f"otherwise: {self.otherwise!r} is not accepted", hint="write the name of a policy: 'lazy'")


@dataclass(frozen=True, init=False)
class DatabaseConfig:
    """Everything that opens a database.

    Args:
        url: SQLAlchemy's URL, as text or object.
        pool: Pool settings.
        policies: Loading policies by name.
        policy: The name of the policy used where nothing nearer is said.
        cursors: How the cursors of pages are signed.

    Raises:
        ConfigError: The URL cannot be read, a value is of the wrong type, or `policy` is not among `policies`.

    Example:
        >>> DatabaseConfig(url="postgresql+psycopg://app:secret@localhost/shop").url
        postgresql+psycopg://app:***@localhost/shop
    """

    url: URL
    pool: PoolConfig
    policies: Mapping[str, PolicyConfig]
    policy: str | None
    cursors: CursorConfig | None

    def __init__(
        self,
        *,
        url: str | URL,
        pool: PoolConfig | None = None,
        policies: Mapping[str, PolicyConfig] | None = None,
        policy: str | None = None,
        cursors: CursorConfig | None = None,
    ) -> None:
        if pool is not None and not isinstance(pool, PoolConfig):
            raise ConfigError(f"pool: a {type(pool).__name__} is not accepted", hint="write pool=PoolConfig(max_pool_size=20)")
        if cursors is not None and not isinstance(cursors, CursorConfig):
            raise ConfigError(f"cursors: a {type(cursors).__name__} is not accepted", hint="write CursorConfig(keys=[...])")
        for name, body in (policies or {}).items():
            if not isinstance(name, str) or not isinstance(body, PolicyConfig):
                raise ConfigError(
                    f"policies: {name!r}: a {type(body).__name__} is not accepted",
                    hint='write policies={"page": PolicyConfig(eager=("User.profile",))}',
                )
        _seal(
            self,
            url=database_url(url),
            pool=pool or PoolConfig(),
            policies=MappingProxyType(dict(policies or {})),
            policy=policy,
            cursors=cursors,
        )
        if policy is not None and policy not in self.policies:
            known = f"known: {', '.join(sorted(self.policies))}" if self.policies else "none is defined: name it below policies"
            raise ConfigError(f"policy: {policy!r} is not among the policies of this configuration", hint=known)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.url, self.pool, dict(self.policies), self.policy, self.cursors)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> DatabaseConfig:
        """Read a `.yaml`, `.yml` or `.toml` file with one table `database`.

        Args:
            path: The file. `${NAME}` and `${NAME:-default}` in its texts are replaced from the environment.
            environ: The environment; `os.environ` by default.

        Returns:
            The settings.

        Raises:
            ConfigError: The file is missing or malformed, a key is unknown or a value bad.
            MissingExtra: A YAML file without `dal[yaml]`.
        """
        file = Path(path)
        content = read_table(file, os.environ if environ is None else environ)
        top = known_keys(content, {"database"}, f"{file}: ")
        if "database" not in top:
            raise ConfigError(f"{file}: the table 'database' is missing", hint="start the file with 'database:'")
        table = known_keys(as_table(top["database"], f"{file}: database"), _FILE_KEYS, f"{file}: database.")
        if "url" not in table:
            raise ConfigError(f"{file}: database.url is missing", hint="url: postgresql+psycopg://user@host/database")
        return cls(
            url=table["url"],
            pool=_pool(table.get("connection_pool") or {}, f"{file}: database.connection_pool."),
            policies=_policies(table.get("policies") or {}, f"{file}: database.policies"),
            policy=table.get("policy"),
            cursors=CursorConfig.from_table(table.get("cursors"), f"{file}: database.cursors"),
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, prefix: str = "DAL_") -> DatabaseConfig:
        """Read `DAL_URL` and `DAL_POOL__MIN_POOL_SIZE`, `DAL_POOL__MAX_POOL_SIZE` and so on.

        Args:
            environ: The environment; `os.environ` by default.
            prefix: What the names start with.

        Returns:
            The settings.

        Raises:
            ConfigError: The URL is missing, a name under `DAL_POOL__` is unknown or a value bad.
        """
        source = os.environ if environ is None else environ
        url = source.get(f"{prefix}URL")
        if not url:
            raise ConfigError(
                f"the environment variable {prefix}URL is not set",
                hint=f"export {prefix}URL=postgresql+psycopg://user@host/database",
            )
        pool_prefix = f"{prefix}POOL__"
        found: dict[str, Any] = {}
        for name, text in source.items():
            if name.startswith(pool_prefix):
                found[name.removeprefix(pool_prefix).upper()] = text
            elif name.startswith(f"{prefix}POOL_"):
                right = f"{pool_prefix}{name.removeprefix(f'{prefix}POOL_')}"
                raise ConfigError(f"{name}: unknown name", hint=f"write {right}, with two underscores")
        known_keys(found, {key.upper() for key in _POOL_KEYS}, pool_prefix)
        pool: dict[str, Any] = {key.lower(): _typed(key.lower(), text) for key, text in found.items()}
        return cls(url=url, pool=PoolConfig(**pool), cursors=CursorConfig.from_env(source, prefix))


_POOL_KEYS = frozenset(item.name for item in fields(PoolConfig))
_FILE_KEYS = frozenset({"url", "connection_pool", "policies", "policy", "cursors"})


def _rebuilt(
    url: URL, pool: PoolConfig, policies: dict[str, PolicyConfig], policy: str | None, cursors: CursorConfig | None
) -> DatabaseConfig:
    return DatabaseConfig(url=url, pool=pool, policies=policies, policy=policy, cursors=cursors)


def _seal(settings: object, **checked: object) -> None:
    for name, value in checked.items():
        object.__setattr__(settings, name, value)


def _pool(table: object, where: str) -> PoolConfig:
    known = known_keys(as_table(table, where.rstrip(".")), _POOL_KEYS, where)
    # A number or truth value out of a variable, `max_pool_size: ${POOL_SIZE}`, arrives as text.
    values: dict[str, Any] = {key: _typed(key, value) if isinstance(value, str) else value for key, value in known.items()}
    return PoolConfig(**values)


def _policies(table: object, where: str) -> dict[str, PolicyConfig]:
    named = as_table(table, where)
    for name in named:
        if not isinstance(name, str):
            raise ConfigError(f"{where}: the name {name!r} is not a text", hint=f'write "{name}"')
    return {name: _policy(as_table(body, f"{where}.{name}"), f"{where}.{name}") for name, body in named.items()}


def _policy(body: Mapping[str, Any], where: str) -> PolicyConfig:
    known_keys(body, {"eager", "otherwise"}, f"{where}.")
    paths = body.get("eager") or []
    if not isinstance(paths, list) or not all(_is_path(path) for path in paths):
        raise ConfigError(f"{where}.eager: {paths!r} is not accepted", hint="write a list such as [User.profile, User.orders]")
    otherwise = body.get("otherwise")
    if otherwise is not None and not isinstance(otherwise, str):
        raise ConfigError(f"{where}.otherwise: {otherwise!r} is not accepted", hint="write the name of a policy: lazy")
    return PolicyConfig(eager=tuple(tuple(path) if isinstance(path, list) else path for path in paths), otherwise=otherwise)


def _is_path(path: object) -> bool:
    names = path if isinstance(path, (list, tuple)) else [path]
    return bool(names) and all(
        isinstance(name, str) and name.count(".") == 1 and name.replace(".", "").isidentifier() for name in names
    )


def _typed(key: str, text: str) -> object:
    if key in {"test_on_borrow", "test_while_idle"}:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if key in {"min_pool_size", "max_pool_size", "retry_attempts"}:
        return int(text) if re.fullmatch(r"-?\d+", text, re.ASCII) else text
    return text
