"""A child process that calls one function again and again; what work that holds the interpreter runs in.

The child is spawned, never forked: a fork would share the parent's connections and locks. What it runs travels by reference,
so it has to be importable by name. It ends when it is told to, when the pipe to its parent closes, and when the parent dies,
however that happens; Ctrl-C reaches the parent alone, which then ends its children. Threads are enough, and cheaper, for work
that waits or releases the interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from dal.errors import UsageError, WorkerLost

__all__ = ["Child", "check_portable"]

_PATIENCE = 5.0


def check_portable(work: object, *, what: str) -> None:
    """Refuse what another process could not be given.

    Args:
        work: A function, or whatever goes to the process.
        what: How the message calls it.

    Raises:
        UsageError: It cannot be pickled: a lambda, a function inside another one, an open connection.
    """
    main = sys.modules["__main__"]
    if getattr(work, "__module__", "") == "__main__" and not hasattr(main, "__file__"):
        raise UsageError(
            f"{what}: another process cannot import what was typed into an interpreter", hint="put the function into a file"
        )
    try:
        pickle.dumps(work)
    except Exception as error:
        name = getattr(work, "__qualname__", None) or repr(work)
        raise UsageError(
            f"{what}: {name} cannot be handed to another process ({error})",
            hint="define it with def at the top of a module, or leave processes=True out",
        ) from error


class Child:
    """One process, called through a pipe by one thread at a time.

    Args:
        make: Called once in the child; what it returns is called with each value, and closed if it has `close()`.
        args: Arguments of `make`.
        name: The process's name.

    Example:
        >>> child = Child(str, name="example")       # doctest: +SKIP
        >>> child.call(7)                            # doctest: +SKIP
    """

    def __init__(self, make: Callable[..., Callable[[Any], Any]], *args: Any, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, pickle.dumps((make, args))), name=name, daemon=True)
        self._ready = False
        try:
            self._process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            theirs.close()

    def call(self, value: Any) -> Any:
        """Call the function in the child.

        Args:
            value: Its argument; has to be picklable.

        Returns:
            What it returned.

        Raises:
            Exception: What it raised, with the child's traceback as a note.
            WorkerLost: The process ended meanwhile.
        """
        if not self._ready:
            self._answer()
            self._ready = True
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        try:
            self._pipe.send_bytes(data)
        except OSError as error:
            raise self._lost() from error
        return self._answer()

    def end(self, *, at_once: bool = False) -> None:
        """End the process: after the call it is at, or at once.

        Args:
            at_once: Do not wait for the call; may be called from any thread.
        """
        if at_once and self._process.is_alive():
            self._process.terminate()
        elif not at_once:
            self._pipe.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_PATIENCE)

    def _answer(self) -> Any:
        try:
            succeeded, value = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if succeeded:
            return value
        raise value

    def _lost(self) -> WorkerLost:
        self._process.join(_PATIENCE)
        code = self._process.exitcode
        if not self._ready and code == 1:
            return WorkerLost(
                f"the process {self._process.name!r} ended before it was ready; its standard error says why",
                hint='in a script, start the work below `if __name__ == "__main__":`',
            )
        return WorkerLost(
            f"the process {self._process.name!r} ended with code {code}",
            hint="a negative code is a signal: -9 is often the system running out of memory" if code and code < 0 else "",
        )


def _serve(pipe: Connection, packed: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), name="dal-parent", daemon=True).start()
    try:
        make, args = pickle.loads(packed)
        call = make(*args)
    except Exception as error:
        _send(pipe, False, error)
        return
    _send(pipe, True, None)
    try:
        _answer_all(pipe, call)
    finally:
        close = getattr(call, "close", None)
        if close is not None:
            close()


def _answer_all(pipe: Connection, call: Callable[[Any], Any]) -> None:
    while True:
        try:
            value = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        except Exception as error:
            _send(pipe, False, error)
            continue
        try:
            answer = call(value)
        except Exception as error:
            _send(pipe, False, error)
        else:
            _send(pipe, True, answer)


def _send(pipe: Connection, succeeded: bool, value: Any) -> None:
    try:
        data = _packed_error(value) if not succeeded else pickle.dumps((True, value), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        data = _packed_error(
            UsageError(f"what the function returned cannot be handed back: {error}", hint="return plain values")
        )
    try:
        pipe.send_bytes(data)
    except OSError:
        sys.exit(0)


def _packed_error(error: BaseException) -> bytes:
    told = "in the other process:\n" + "".join(traceback.format_exception(error)).rstrip()
    error.add_note(told)
    try:
        data = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)
    except Exception:
        stand_in = WorkerLost(f"{type(error).__name__}: {error}")
        stand_in.add_note(told)
        return pickle.dumps((False, stand_in), pickle.HIGHEST_PROTOCOL)
    return data


def _follow(sentinel: int) -> None:
    # A parent that was killed closes nothing: without this the child would finish its call first, or wait in a debugger.
    wait([sentinel])
    os._exit(1)
