from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal.durations import seconds
from dal.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "meant"),
    [("500ms", 0.5), ("30s", 30), ("10m", 600), ("1h", 3600), ("2d", 172800), ("1.5 h", 5400), ("7", 7), (3, 3.0), (0, 0)],
)
def test_what_people_write(written: str | float, meant: float) -> None:
    assert seconds(written, name="idle_timeout") == meant


def test_a_timedelta() -> None:
    assert seconds(timedelta(minutes=2), name="x") == 120


@given(st.floats(min_value=0, max_value=1e9))
def test_a_number_of_seconds_stays_what_it_is(number: float) -> None:
    assert seconds(number, name="x") == number


@pytest.mark.parametrize(
    "written", ["", "soon", "10 minutes", "-1s", -1, float("inf"), float("nan"), True, None, "1e3", "٣s", timedelta(seconds=-1)]
)
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ConfigError, match=r"idle_timeout: .* is not a duration") as caught:
        seconds(written, name="idle_timeout")  # type: ignore[arg-type]
    assert "'10m'" in caught.value.hint
