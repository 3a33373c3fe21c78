"""One run of a pipeline: a source and its stages, all at work at the same time, with a bounded queue between each two.

The source and every worker run beside the caller, who waits, tells the progress and is the one that Ctrl-C reaches. Whatever
ends the run early, an error, a signal, a `stop()`, ends every worker: each finishes the batch it is at, nothing more is begun,
processes are ended, and what was read and not stored is told.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from dal._processes import Child
from dal.errors import StageFailed
from dal.pipeline.channel import Aborted, Channel
from dal.pipeline.intake import Intake
from dal.pipeline.meter import Meter, stage_report
from dal.pipeline.rejects import Rejects
from dal.pipeline.report import PipelineReport, RejectedItem
from dal.pipeline.runtime import Runtime
from dal.pipeline.stage import Stage
from dal.pipeline.work import After, Done, Refused, finished, reason_of

__all__ = ["Run"]

_log = logging.getLogger("dal.pipeline")

_AHEAD = 4
_SHORT, _GRACE = 1.0, 10.0
_AT_ITEM = 'look at `error.item`; run(on_error="reject") without max_rejected sets such items aside and goes on'
_AT_STAGE = "`__cause__` is its error, with the line that raised it; `error.report` tells what is stored"


class Run:
    """One run.

    Args:
        source: Where items come from.
        stages: The stages; the last one stores.
        runtime: What it runs on.
        rejects: Takes rejected items.
        queue: Items in front of a stage, at most; by default four batches for each of its workers.
    """

    def __init__(
        self,
        source: Any,
        stages: Sequence[Stage],
        runtime: Runtime,
        *,
        rejects: Rejects,
        queue: int | None,
    ) -> None:
        self._stages, self._runtime, self._rejects = stages, runtime, rejects
        self._lock = threading.Lock()
        self._failure: StageFailed | None = None
        self._given_up = False
        self._children: list[Child] = []
        self._meters = [[Meter() for _ in range(stage.workers)] for stage in stages]
        self._folds: list[list[Any]] = [[] for _ in stages]
        self._channels = [
            Channel(
                runtime.gates(),
                size=queue or _AHEAD * stage.batch * stage.workers,
                batch=stage.batch,
                patience=stage.patience,
                producers=stages[place - 1].workers if place else 1,
            )
            for place, stage in enumerate(stages)
        ]
        self._intake = Intake(
            source,
            self._channels,
            runtime,
            acks_at_the_end=any(stage.kind == "aggregate" for stage in stages),
            failed=lambda said, error: self._fail("source", None, said, error),
        )
        self._began = perf_counter()
        self._seconds: float | None = None

    def run(self, interval: float, progress: Callable[[PipelineReport], object] | None) -> PipelineReport:
        """Run it to its end.

        Args:
            interval: Seconds between two calls of `progress`.
            progress: Called with a report of what has been done so far.

        Returns:
            What was done.

        Raises:
            StageFailed: A stage or the source failed; its error is the cause, and the report goes along.
        """
        try:
            self._watch(interval, progress)
            self._seconds = perf_counter() - self._began
            self._fail_if_failed()
            if self._intake.exhausted:
                self._finish()
        finally:
            self._close()
        report = self.report()
        if progress is not None:
            progress(report)
        return report

    def stop(self) -> None:
        """Read no more of the source, let what was read go through, and end; may be called from anywhere."""
        self._intake.stop()

    def report(self) -> PipelineReport:
        """Return what has been done so far."""
        seconds = self._seconds or perf_counter() - self._began
        reports = [stage_report("source", [self._intake.meter], None, seconds=seconds, ordered=True)]
        for stage, meters, channel in zip(self._stages, self._meters, self._channels, strict=True):
            reports.append(stage_report(stage.name, meters, channel, seconds=seconds, ordered=stage.ordered))
        complete = self._intake.exhausted and self._failure is None and not self._given_up
        return PipelineReport(stages=reports, rejected=tuple(self._rejects.kept), seconds=seconds, complete=complete)

    def _watch(self, interval: float, progress: Callable[[PipelineReport], object] | None) -> None:
        try:
            self._start()
            while not self._runtime.wait(interval):
                if self._failure is not None:
                    self._give_up()
                    break
                if self._intake.stopped_and_settled():
                    self._intake.end_source()
                if progress is not None:
                    progress(self.report())
        except BaseException as error:
            self._give_up()
            told = f"the pipeline was stopped: {self._summary()}"
            _log.warning(told)
            error.add_note(told)
            raise

    def _start(self) -> None:
        for stage in self._stages:
            for each in stage.after:
                if callable(check := getattr(each, "check", None)):
                    check()
        workers = [[self._worker(stage) for _ in range(stage.workers)] for stage in self._stages]
        for place, (stage, each) in reversed(list(enumerate(zip(self._stages, workers, strict=True)))):
            for worker, meter in zip(each, self._meters[place], strict=True):
                self._runtime.start(partial(self._work, place, worker, meter), f"dal-pipeline-{stage.name}")
        self._runtime.start(self._intake.read, "dal-pipeline-source")

    def _worker(self, stage: Stage) -> Any:
        if not stage.processes:
            return stage.worker(refusing=not self._rejects.stop)
        make, arguments = stage.portable()
        child = Child(make, *arguments, False, name=f"dal-pipeline-{stage.name}")
        self._children.append(child)
        return child.call

    def _work(self, place: int, worker: Any, meter: Meter) -> None:
        stage, channel = self._stages[place], self._channels[place]
        try:
            while True:
                began = perf_counter()
                items, origins = channel.take()
                ready = perf_counter()
                meter.waiting_for_input += ready - began
                if not items:
                    break
                meter.items += len(items)
                done: Done = self._runtime.call(worker, items)
                meter.busy += perf_counter() - ready
                self._hand_on(place, meter, items, origins, done)
            self._worker_ended(place, worker, meter)
        except Aborted:
            return
        except BaseException as error:
            self._fail(stage.name, None, "", error)
        finally:
            if place + 1 < len(self._stages):
                self._channels[place + 1].end()

    def _hand_on(self, place: int, meter: Meter, items: list[Any], origins: list[Any], done: Done) -> None:
        stage = self._stages[place]
        if stage.kind == "store":
            # Counted first: what is stored is stored, even where what was refused ends the run.
            meter.passed += len(done.items)
        if done.refused:
            self._refuse(stage, meter, items, done.refused)
            if origins:
                places = {each.place for each in done.refused}
                self._settle([origins[number] for number in places])
                origins = [origin for number, origin in enumerate(origins) if number not in places]
        if stage.kind == "store":
            self._settle(origins)
        elif done.items:
            self._pass_on(place, meter, done.items, origins)

    def _pass_on(self, place: int, meter: Meter, items: list[Any], origins: list[Any]) -> None:
        began = perf_counter()
        self._channels[place + 1].put(items, origins)
        meter.waiting_for_output += perf_counter() - began
        meter.passed += len(items)

    def _settle(self, origins: list[Any]) -> None:
        if self._intake.acks is not None and origins:
            self._intake.acks.done(origins)

    def _refuse(self, stage: Stage, meter: Meter, items: list[Any], refused: Sequence[Refused]) -> None:
        for each in refused:
            item = items[each.place]
            too_many = self._rejects.add(RejectedItem(stage.name, item, each.reason))
            if too_many is not None:
                self._fail(stage.name, item, too_many, each.error)
                raise Aborted
            meter.rejected += 1

    def _worker_ended(self, place: int, worker: Any, meter: Meter) -> None:
        stage = self._stages[place]
        if stage.kind != "aggregate":
            return
        states = self._runtime.call(worker, None)
        with self._lock:
            self._folds[place].append(states)
            last = len(self._folds[place]) == stage.workers
        if not last:
            return
        began = perf_counter()
        for keys, done in finished(stage.work, self._folds[place], stage.batch):
            meter.busy += perf_counter() - began
            self._refuse(stage, meter, keys, done.refused)
            # Acknowledged at the end, all of them: these items come from no single one of the source.
            self._pass_on(place, meter, done.items, [None] * len(done.items) if self._intake.acks else [])
            began = perf_counter()

    def _fail(self, stage: str, item: Any, said: str, error: BaseException | None) -> None:
        with self._lock:
            if self._failure is None and not self._given_up:
                reason = "" if error is None else reason_of(error)
                words = said if reason in said else f"{said}: {reason}" if said else reason
                hint = getattr(error, "hint", "") or (_AT_ITEM if said and stage != "source" else _AT_STAGE)
                self._failure = StageFailed(f"the stage {stage!r} failed: {words}", hint=hint, stage=stage, item=item)
                self._failure.__cause__ = error
        self._abort()

    def _abort(self) -> None:
        self._intake.abort()
        for channel in self._channels:
            channel.abort()
        for child in self._children:
            child.end(at_once=True)

    def _give_up(self) -> None:
        self._given_up = True
        self._abort()
        self._runtime.abort()
        if not self._runtime.wait(_SHORT):
            # A source that is waiting may have a way to be told.
            self._intake.end_source()
            if not self._runtime.wait(_GRACE):
                _log.warning("after %s s something of the pipeline is still at work: it cannot be interrupted", _GRACE)

    def _close(self) -> None:
        for child in self._children:
            child.end()
        self._runtime.close()

    def _fail_if_failed(self) -> None:
        if self._failure is not None:
            report = self.report()
            self._failure.report = report
            self._failure.add_note(f"so far: {self._summary()}")
            raise self._failure

    def _finish(self) -> None:
        for stage in self._stages:
            for each in stage.after:
                try:
                    self._runtime.call(After(each), None)
                except Exception as error:
                    raise StageFailed(
                        f"everything is stored, but what comes after failed: {reason_of(error)}",
                        hint=getattr(error, "hint", "")
                        or "do it again by itself: the run need not be; `__cause__` is its error",
                        stage=stage.name,
                        report=self.report(),
                    ) from error
        if self._intake.acks is not None:
            self._intake.acks.all_done()

    def _summary(self) -> str:
        report = self.report()
        return f"{report.read:,} items read, {report.stored:,} stored, {report.refused:,} rejected"
