"""Read a table of settings from a YAML or TOML file: environment variables filled in, unknown keys refused by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dal._extras import require
from dal.errors import ConfigError

__all__ = ["as_table", "known_keys", "read_table"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET = ("url", "pass", "secret", "key", "token")


def read_table(file: Path, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Read a file.

    Args:
        file: A `.yaml`, `.yml` or `.toml` file.
        environ: What `${NAME}` and `${NAME:-default}` in texts are replaced from. Inside a longer URL the value is
            quoted, so that a password may hold any character.

    Returns:
        Its outermost table.

    Raises:
        ConfigError: It cannot be read, is malformed, or names a variable that is not set.
        MissingExtra: A YAML file without `dal[yaml]`.
    """
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file}: cannot be read ({reason})", hint="check the path and its permissions") from error
    filled: Mapping[str, Any] = _filled(_parsed(file, content), environ, str(file))
    return filled


def known_keys(table: Mapping[str, Any], accepted: Iterable[str], where: str) -> Mapping[str, Any]:
    """Return a table as it is.

    Raises:
        ConfigError: It has a key that is not accepted.
    """
    names = sorted(accepted)
    for key, value in table.items():
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            secret = any(word in str(key).lower() for word in _SECRET) or not _harmless(value)
            shown = "" if secret else f" (with the value {value!r})"
            known = f"known keys: {', '.join(names)}"
            raise ConfigError(f"{where}{key}: unknown key{shown}", hint=f"did you mean {near[0]!r}? {known}" if near else known)
    return table


def as_table(value: object, where: str) -> Mapping[str, Any]:
    """Return a value that is a table.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, Mapping):
        shown = repr(value) if _harmless(value) else f"a {'list' if isinstance(value, list) else 'text'}"
        raise ConfigError(f"{where}: {shown} is not a table", hint="write keys and values below it")
    return value


def _harmless(value: object) -> bool:
    """Tell whether a value may be shown: a URL, or what may contain one, can hold a password."""
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and not {":", "@"} & set(value))


def _parsed(file: Path, content: str) -> Mapping[str, Any]:
    ending = file.suffix.lower()
    if ending == ".toml":
        import tomllib

        try:
            return tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file}: this is not TOML: {error}", hint="start with [database]") from error
    if ending in {".yaml", ".yml"}:
        yaml = require("yaml", extra="yaml", purpose="reading a YAML configuration")
        try:
            parsed = yaml.safe_load(content)
        except yaml.YAMLError as error:
            # Its own text, also as a cause in a traceback, quotes the line, which may hold a password.
            mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
            place = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
            raise ConfigError(f"{file}: this is not YAML: {problem}{place}", hint="start with 'database:'") from None
        return as_table({} if parsed is None else parsed, str(file))
    raise ConfigError(f"{file}: the ending {file.suffix!r} is not known", hint="use .yaml, .yml or .toml")


def _filled(value: Any, environ: Mapping[str, str], where: str) -> Any:
    if isinstance(value, str):
        in_url = "://" in value and not _VARIABLE.match(value)

        def replaced(match: re.Match[str]) -> str:
            found = _variable(match, environ, where)
            return quote(found, safe="") if in_url else found

        return _VARIABLE.sub(replaced, value)
    if isinstance(value, dict):
        return {key: _filled(item, environ, where) for key, item in value.items()}
    return [_filled(item, environ, where) for item in value] if isinstance(value, list) else value


def _variable(match: re.Match[str], environ: Mapping[str, str], where: str) -> str:
    found = environ.get(match[1], match[2])
    if found is None:
        raise ConfigError(
            f"{where}: ${{{match[1]}}} is used but the environment variable is not set",
            hint=f"export {match[1]}=... or write ${{{match[1]}:-default}}",
        )
    return found
