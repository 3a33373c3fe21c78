"""What all findings have in common; reports, baselines and observers are written against it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

__all__ = ["Finding"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Finding(ABC):
    """What every finding says; tell them apart by their class.

    Args:
        queries: Statements that make it up.
        call_site: The application's line that caused it, as `file:line in function`.
        fix: The line to write.
        seconds: Time the statements took in the driver, in seconds.
        saves: Statements that the fix would save.
        loaded_at: The line that loaded the parents, or None.
        stack: The lines from `call_site` outwards.
        alternatives: Other lines that would do.
        sql: The statement, with placeholders; never with values.
        rule: Name of the rule, one word with dashes.
    """

    queries: int
    call_site: str
    fix: str
    seconds: float = 0.0
    saves: int = 0
    loaded_at: str | None = None
    stack: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    sql: str = ""
    rule: str

    @property
    @abstractmethod
    def subject(self) -> str:
        """The relationship, columns or statement it is about."""

    @property
    @abstractmethod
    def message(self) -> str:
        """One sentence."""

    def __repr__(self) -> str:
        # What is its own comes first.
        names = [field.name for field in fields(self)]
        own = [name for name in names if name not in Finding.__dataclass_fields__]
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in dict.fromkeys([*own, *names]))
        return f"{type(self).__name__}({shown})"
