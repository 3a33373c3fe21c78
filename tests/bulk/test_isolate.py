"""Finding bad rows among good ones: in how many tries, and by which line of a file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal.bulk.files.csv_file import Ahead, Span
from dal.bulk.files.records import Spans, line_starts, lines_of
from dal.bulk.isolate import isolate
from dal.bulk.refusal import Refused
from dal.bulk.wire import Wire


class Nowhere:
    """A connection that keeps what is asked of it to itself."""

    def savepoint(self) -> None: ...

    def undo(self) -> None: ...

    def release(self) -> None: ...


class Rows:
    """Rows of which some are bad; the first of them is named, as COPY does it, or none is."""

    def __init__(self, number: int, bad: set[int], *, named: bool = True) -> None:
        self.number, self.bad, self.named = number, bad, named
        self.tried: list[tuple[int, int]] = []
        self.kept: list[int] = []

    def __len__(self) -> int:
        return self.number

    def refusal(self, start: int, stop: int) -> Refused | None:
        at = min((index for index in self.bad if start <= index < stop), default=None)
        return None if at is None else Refused(at - start if self.named else None, "bad")

    def write(self, start: int, stop: int) -> None:
        self.tried.append((start, stop))
        refused = self.refusal(start, stop)
        if refused is not None:
            raise refused
        self.kept += range(start, stop)

    def matching(self, start: int, stop: int, key: tuple[Sequence[str], str]) -> Sequence[int]:
        return []


def rejected(rows: Rows, *, first: Refused | None = None) -> list[int]:
    found: list[int] = []
    isolate(cast("Wire", Nowhere()), rows, lambda index, refused: found.append(index), immediate=False, first=first)
    return found


@given(st.integers(1, 60), st.sets(st.integers(0, 59)), st.booleans(), st.booleans())
def test_every_bad_row_is_found_and_every_other_is_written(number: int, some: set[int], named: bool, tried: bool) -> None:
    rows = Rows(number, {index for index in some if index < number}, named=named)
    first = rows.refusal(0, number) if tried else None
    assert sorted(rejected(rows, first=first)) == sorted(rows.bad)
    assert sorted(rows.kept) == [index for index in range(number) if index not in rows.bad]


def test_what_was_tried_before_is_not_tried_again() -> None:
    once, again = Rows(100, {40}), Rows(100, {40})
    assert rejected(once, first=once.refusal(0, 100)) == rejected(again) == [40]
    assert once.tried == [(0, 40), (41, 100)]
    assert again.tried == [(0, 100), *once.tried]


@given(st.lists(st.sampled_from([b"a", b'"b\nc"', b'"\n\n"', b""]), min_size=1), st.booleans(), st.integers(0, 9))
def test_the_lines_of_records(fields: list[bytes], ended: bool, line: int) -> None:
    data = b"".join(b"1," + field + b"\n" for field in fields)
    data = data if ended else data[:-1]
    records = Spans(quote='"').records(data)
    assert list(line_starts(records, data, line)) == list(accumulate(map(lines_of, records), initial=line))


def test_a_span_may_be_read_ahead_and_comes_in_its_turn() -> None:
    spans = iter([Span(b"a\n", 1, 2), Span(b"b\n", 2, 4), Span(b"c\n", 3, 6)])
    ahead = Ahead(spans)
    found = []
    for span in ahead:
        found.append(span.data)
        ahead.read()
        ahead.read()
    assert found == [b"a\n", b"b\n", b"c\n"]
    with pytest.raises(StopIteration):
        next(ahead)
