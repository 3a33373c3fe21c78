"""Rows encoded ahead of their COPY, and a row cut out of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dal import Database
from dal.bulk.encoding import Encoded, Encoder
from dal.bulk.wire import BadRow, Wire

TYPES = ["int8", "text"]
texts = st.one_of(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5), st.just("x" * 20_000))


@pytest.fixture(params=[True, False], ids=["binary", "text"])
def encoder(pg: Database, request: pytest.FixtureRequest) -> Iterator[Encoder]:
    with pg.engine.connect() as connection:
        yield Encoder(Wire(connection), TYPES, binary=request.param)


def shown(encoded: Encoded) -> tuple[bytes, int, list[object]]:
    return b"".join(encoded.blocks), encoded.ends[-1], list(encoded.rows)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(-5, 5), texts), min_size=1, max_size=30), st.data())
def test_what_is_left_is_as_if_the_row_had_never_been_there(
    encoder: Encoder, rows: list[tuple[int, str]], data: st.DataObject
) -> None:
    encoded = encoder.encoded(rows)
    while rows:
        index = data.draw(st.integers(0, len(rows) - 1))
        encoded, rows = encoder.without(encoded, index), [*rows[:index], *rows[index + 1 :]]
        assert shown(encoded) == shown(encoder.encoded(rows))


def test_what_is_asked_meanwhile_may_fail(encoder: Encoder) -> None:
    rows = [(each, "x" * 20_000) for each in range(9)]

    def failing() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        encoder.encoded(rows, failing)
    with pytest.raises(BadRow) as raised:
        encoder.encoded([*rows, (9, "\ud800")])
    assert raised.value.index == 9
