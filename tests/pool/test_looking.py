"""A socket is looked at the same way with libc's poll() and without."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from dal.pool import looking
from dal.pool.looking import HANG_UP, Look


@pytest.fixture(params=["libc", "no libc", "tasks"])
def line(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Look, socket.socket]]:
    if request.param == "no libc":
        monkeypatch.setattr(looking, "_libc_poll", None)
    here, there = socket.socketpair()
    with here, there:
        yield Look(here.fileno(), threads=request.param != "tasks"), there


def test_silence_is_nothing(line: tuple[Look, socket.socket]) -> None:
    look, _ = line
    assert not look.poll(0)
    assert look.events() == 0


def test_what_arrived_is_seen_and_stays(line: tuple[Look, socket.socket]) -> None:
    look, there = line
    there.send(b"a notification")
    assert look.poll(0)
    assert look.events() == select.POLLIN
    assert look.poll(0)


def test_an_end_is_told_from_an_arrival(line: tuple[Look, socket.socket]) -> None:
    look, there = line
    there.send(b"last words")
    there.close()
    assert look.poll(0)
    assert look.events() & HANG_UP
