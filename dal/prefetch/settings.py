"""The checks that the settings of strategies and of the gate have in common."""

from __future__ import annotations

from dal.errors import UsageError

__all__ = ["share", "whole"]


def share(value: float, name: str) -> float:
    """Check a share between 0 and 1.

    Raises:
        UsageError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"{name} is {value!r}", hint=f"{name} is a share between 0 and 1, such as 0.2")
    return float(value)


def whole(value: int, name: str, *, least: int, most: int) -> int:
    """Check a whole number within bounds.

    Raises:
        UsageError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{name} is {value!r}", hint=f"{name} is a whole number from {least} to {most}")
    return value
