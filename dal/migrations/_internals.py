"""The private names of Alembic that dal uses, in one place.

`ScriptDirectory._upgrade_revs` and `_downgrade_revs` are what Alembic's own documentation of `EnvironmentContext` shows
as its example; there is no public name for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from alembic.script import ScriptDirectory

__all__ = ["steps_down", "steps_up"]


def steps_up(scripts: ScriptDirectory, target: str, current: Any) -> Iterable[RevisionStep]:
    """The steps from `current` up to `target`."""
    return cast("Iterable[RevisionStep]", scripts._upgrade_revs(target, current))


def steps_down(scripts: ScriptDirectory, target: str, current: Any) -> Iterable[RevisionStep]:
    """The steps from `current` down to `target`."""
    return cast("Iterable[RevisionStep]", scripts._downgrade_revs(target, current))
