"""How far a stream was read, given out and done with; what comes again after a lost connection is left out, to the change."""

from __future__ import annotations

from collections import deque

from dal.streams.change import Change, Transaction
from dal.streams.decode import Decoder

__all__ = ["Progress"]

_ALL = 2**62


class Progress:
    """The books of one consumer of one slot; places are bytes of the server's log.

    Attributes:
        received: The end of what came.
        confirmed: The end of what is done with: it never has to be sent again.
        mark: The end of the last transaction that was read completely.
        clock: The server's time up to which everything committed was read, in seconds since 1970.
        horizon: Where the log ended at a time that is waited for, and that time.
    """

    def __init__(self) -> None:
        self.received = self.confirmed = self.mark = 0
        self.clock = 0.0
        self.horizon: tuple[int, float] | None = None
        self._unacknowledged: deque[Transaction] = deque()
        self._skip_below = 0
        self._partly: Transaction | None = None
        self._dropping = False

    @property
    def waits(self) -> bool:
        """Whether something that was given out is not done with."""
        return bool(self._unacknowledged)

    def restart(self, mark: int) -> None:
        """Forget what was given out: everything behind the mark, or behind what is done with, comes again.

        Args:
            mark: Where to begin; 0: behind what is done with.
        """
        self._unacknowledged.clear()
        self._partly = self.horizon = None
        self.mark = self._skip_below = mark
        self.received = self.confirmed = max(self.confirmed, mark)

    def interrupted(self, decoder: Decoder) -> None:
        """Note that the connection is lost, perhaps in the middle of a transaction."""
        half = decoder.transaction
        if half is not None and not self._dropping:
            half.count = max(half.count, decoder.skip)
            self._partly = half
        decoder.forget()

    def begin(self, decoder: Decoder, body: bytes) -> None:
        """Read the begin of a transaction, which may have been given out before, whole or in part."""
        transaction = decoder.begin(body)
        self._dropping = transaction.lsn < self._skip_below
        partly, self._partly = self._partly, None
        decoder.skip = _ALL if self._dropping else 0
        if partly is not None and partly.lsn == transaction.lsn:
            decoder.skip, decoder.transaction = partly.count, partly
            partly.count = 0
        elif not self._dropping:
            self._unacknowledged.append(transaction)

    def commit(self, decoder: Decoder, body: bytes, found: list[Change]) -> None:
        """Read the end of a transaction."""
        transaction = decoder.commit(body, found)
        self.received = max(self.received, transaction.end)
        if not self._dropping:
            self.mark = self._skip_below = max(self.mark, transaction.end)
            self.clock = max(self.clock, transaction.micros / 1e6)
        self._dropping = False
        self._settle(between=True)

    def heard(self, end: int) -> None:
        """Note between transactions that the log was read up to here without a change for this stream."""
        self.received = max(self.received, end)
        self._settle(between=True)

    def acknowledge(self, change: Change, *, between: bool) -> None:
        """Note that everything up to a change is done with."""
        transaction = change._transaction
        transaction.acknowledged = max(transaction.acknowledged, change._sequence)
        for earlier in self._unacknowledged:
            if earlier.lsn >= transaction.lsn:
                break
            earlier.acknowledged = earlier.count
        self._settle(between=between)

    def acknowledge_all(self, *, between: bool) -> None:
        """Note that everything read so far is done with."""
        for transaction in self._unacknowledged:
            transaction.acknowledged = transaction.count
        self._settle(between=between)

    def _settle(self, *, between: bool) -> None:
        waiting = self._unacknowledged
        while waiting and waiting[0].whole:
            self.confirmed = max(self.confirmed, waiting.popleft().end)
        if not between:
            return
        if not waiting:
            self.confirmed = max(self.confirmed, self.received)
        if self.horizon is not None and self.received >= self.horizon[0]:
            self.clock = max(self.clock, self.horizon[1])
            self.horizon = None
