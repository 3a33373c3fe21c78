"""Validation of rows: by a function, or by a model of pydantic or msgspec.

A function gets a dict by attribute names, with values of the mapping's types, and returns what is to be written: the dict,
another one, or an object. What it raises is the reason why the row is rejected. A model gets the fields as they are in the
file, since it has types of its own; what it makes of them is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Validate", "reads_text", "validator_of"]

Validate = Callable[[dict[str, Any]], Any] | type
"""A function of a row, or a pydantic or msgspec model."""


def reads_text(validate: Validate | None) -> bool:
    """Tell whether a validation takes the fields of a text file as they are."""
    return isinstance(validate, type) and (_is_pydantic(validate) or _is_msgspec(validate))


def validator_of(validate: Validate) -> Callable[[dict[str, Any]], Any]:
    """Return a function of one row.

    Args:
        validate: A function or a model.
    """
    if isinstance(validate, type) and _is_pydantic(validate):
        check: Callable[[dict[str, Any]], Any] = validate.model_validate  # type: ignore[attr-defined]
        return check
    if isinstance(validate, type) and _is_msgspec(validate):
        import msgspec

        return lambda row: msgspec.convert(row, validate, strict=False)
    return validate


def _is_pydantic(model: type) -> bool:
    return hasattr(model, "model_validate") and hasattr(model, "model_fields")


def _is_msgspec(model: type) -> bool:
    return hasattr(model, "__struct_fields__")
