"""How a run reads its source: into the first queue, with what each item's `ack` needs, until it is over or told to stop.

Told to stop, it reads no more. Where items are acknowledged the source stays open until those that were read are stored and
acknowledged: a change stream that is closed takes no acknowledgement any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from time import perf_counter
from typing import Any

from dal.pipeline.acks import Acks
from dal.pipeline.channel import Aborted, Channel
from dal.pipeline.meter import Meter
from dal.pipeline.runtime import Runtime

__all__ = ["Intake"]

_PAUSE = 0.01


class Intake:
    """Reads a source.

    Args:
        source: Where items come from.
        channels: The queues of the run; the first is filled.
        runtime: What the run runs on.
        acks_at_the_end: Whether items are acknowledged only when everything is stored.
        failed: Called with an error of the source.
    """

    def __init__(
        self,
        source: Any,
        channels: Sequence[Channel],
        runtime: Runtime,
        *,
        acks_at_the_end: bool,
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._source, self._channels, self._runtime = source, channels, runtime
        self._acks_at_the_end, self._failed = acks_at_the_end, failed
        self.meter = Meter()
        self.acks: Acks | None = None
        self.exhausted = self.stopped = self._aborted = False

    def read(self) -> None:
        """Read until the source is over, or the run."""
        meter, began = self.meter, perf_counter()
        first = self._channels[0]
        try:
            with closing(self._runtime.items(self._source)) as items:
                try:
                    self._offer_all(items, began)
                finally:
                    meter.passed = meter.items
                    meter.busy = perf_counter() - began - meter.waiting_for_output
                    first.end()
                self._settle()
            self.exhausted = not self.stopped
        except Aborted:
            return
        except BaseException as error:
            if not self.stopped:
                self._failed(f"reading stopped after {meter.items:,} items", error)

    def stop(self) -> None:
        """Read no more."""
        self.stopped = True
        if self.acks is None or self.acks.settled():
            self.end_source()

    def abort(self) -> None:
        """Wait for nothing any more."""
        self._aborted = True

    def stopped_and_settled(self) -> bool:
        """Tell whether nothing is left to be acknowledged, after `stop`."""
        return self.stopped and self.acks is not None and self.acks.settled()

    def end_source(self) -> None:
        """Tell a source that waits for something, if there is a way to."""
        for name in ("stop", "close"):
            end = getattr(self._source, name, None)
            if callable(end):
                with suppress(Exception):
                    end()
                break
        self._runtime.interrupt("dal-pipeline-source")

    def _offer_all(self, items: Any, began: float) -> None:
        meter, channel = self.meter, self._channels[0]
        for item in items:
            if self.stopped:
                return
            if not meter.items and callable(getattr(item, "ack", None)):
                self._track()
            meter.items += 1
            if channel.offer(item, self.acks.begin(item) if self.acks else None):
                waited = perf_counter()
                meter.busy = waited - began - meter.waiting_for_output
                channel.wait_for_room()
                meter.waiting_for_output += perf_counter() - waited

    def _track(self) -> None:
        self.acks = Acks(self._runtime.acknowledge, at_the_end=self._acks_at_the_end)
        for channel in self._channels:
            channel.tracked = True

    def _settle(self) -> None:
        while self.stopped and self.acks is not None and not self.acks.settled() and not self._aborted:
            self._runtime.pause(_PAUSE)
