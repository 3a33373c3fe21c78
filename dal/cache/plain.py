"""Plain values: what nobody can change, and everybody may share."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import uuid
from typing import Any

__all__ = ["PLAIN", "is_plain"]

PLAIN = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        dt.date,
        dt.datetime,
        dt.time,
        dt.timedelta,
        decimal.Decimal,
        uuid.UUID,
        ipaddress.IPv4Address,
        ipaddress.IPv4Interface,
        ipaddress.IPv4Network,
        ipaddress.IPv6Address,
        ipaddress.IPv6Interface,
        ipaddress.IPv6Network,
    }
)
"""Types whose values are the same for ever."""


def is_plain(value: Any) -> bool:
    """Tell whether a value can be shared as it is."""
    return type(value) in PLAIN or isinstance(value, enum.Enum)
