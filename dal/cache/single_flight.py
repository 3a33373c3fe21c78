"""SingleFlight: of many callers that miss one key at one time, one fetches, and the others wait for it."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """The keys being fetched now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Future[T | None]] = {}

    def join(self, key: Hashable) -> tuple[Future[T | None], bool]:
        """Take part in the flight for a key.

        Args:
            key: What is missed.

        Returns:
            What will hold the value, or None where fetching it failed; and whether the caller is to fetch it.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Future()
            return flight, True

    def land(self, key: Hashable, value: T | None) -> None:
        """End the flight that the caller leads; those who come now begin another.

        Args:
            key: What was missed.
            value: What was fetched; None sends the others for it themselves.
        """
        with self._lock:
            flight = self._flights.pop(key)
        flight.set_result(value)

    def under_way(self, key: Hashable) -> bool:
        """Tell whether somebody is fetching a key."""
        return key in self._flights
