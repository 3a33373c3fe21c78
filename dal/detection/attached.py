"""Values that belong to objects of the application, found by the object and gone with it.

A `WeakKeyDictionary` says the same and takes ten times as long to say that it knows nothing.
"""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ref

__all__ = ["Attached"]

T = TypeVar("T")


class Attached(dict[int, tuple[T, "ref[object]"]], Generic[T]):
    """Values by the identity of what they belong to.

    Example:
        >>> class Thing: ...
        >>> thing, attached = Thing(), Attached()
        >>> attached.put(thing, "known")
        >>> attached.of(thing), len(attached)
        ('known', 1)
        >>> del thing
        >>> len(attached)
        0
    """

    def put(self, target: object, value: T) -> None:
        """Attach a value to an object, in place of what was there.

        Args:
            target: The object; it is not kept alive.
            value: The value.
        """
        key = id(target)

        def gone(dead: ref[object]) -> None:
            known = self.get(key)
            if known is not None and known[1] is dead:
                del self[key]

        self[key] = (value, ref(target, gone))

    def of(self, target: object) -> T | None:
        """Return the value of an object, None where it has none."""
        found = self.get(id(target))
        return found[0] if found is not None else None
