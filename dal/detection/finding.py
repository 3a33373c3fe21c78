"""What all findings have in common: the protocol that reports, baselines and observers are written against."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Finding"]


class Finding(Protocol):
    """What every finding says.

    Attributes:
        rule: Name of the rule, one word with dashes.
        subject: The relationship, columns or statement it is about.
        queries: Statements that make it up.
        seconds: Time they took in the driver, in seconds.
        saves: Statements that the fix would save.
        call_site: The application's line that caused it, as `file:line in function`.
        loaded_at: The line that loaded the parents, or None.
        stack: The lines from `call_site` outwards.
        fix: The line to write.
        alternatives: Other lines that would do.
        sql: The statement, with placeholders; never with values.
        message: One sentence.
    """

    @property
    def rule(self) -> str:
        """See the class."""
        ...

    @property
    def subject(self) -> str:
        """See the class."""
        ...

    @property
    def queries(self) -> int:
        """See the class."""
        ...

    @property
    def seconds(self) -> float:
        """See the class."""
        ...

    @property
    def saves(self) -> int:
        """See the class."""
        ...

    @property
    def call_site(self) -> str:
        """See the class."""
        ...

    @property
    def loaded_at(self) -> str | None:
        """See the class."""
        ...

    @property
    def stack(self) -> tuple[str, ...]:
        """See the class."""
        ...

    @property
    def fix(self) -> str:
        """See the class."""
        ...

    @property
    def alternatives(self) -> tuple[str, ...]:
        """See the class."""
        ...

    @property
    def sql(self) -> str:
        """See the class."""
        ...

    @property
    def message(self) -> str:
        """See the class."""
        ...
