"""Durations as people write them: `500ms`, `30s`, `10m`, `1h`, `2d`, or plain seconds."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from dal.errors import ConfigError

__all__ = ["Duration", "seconds"]

Duration = float | str | timedelta
"""Seconds as a number, a text such as `"500ms"`, `"30s"`, `"10m"`, `"1h"`, `"2d"`, or a timedelta."""

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", re.ASCII)


def seconds(value: Duration, *, name: str) -> float:
    """Turn a duration into seconds.

    Args:
        value: The duration.
        name: The setting it belongs to, for the error.

    Returns:
        Seconds, finite and not negative.

    Raises:
        ConfigError: It is no duration.

    Example:
        >>> seconds("10m", name="idle_timeout")
        600.0
    """
    found: float | None = None
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, str):
        match = _TEXT.fullmatch(value)
        found = float(match[1]) * _UNITS[match[2] or ""] if match else None
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    if found is None or not math.isfinite(found) or found < 0:
        raise ConfigError(
            f"{name}: {value!r} is not a duration",
            hint="write a number of seconds or a text such as '500ms', '30s', '10m', '1h', '2d'",
        )
    return found
