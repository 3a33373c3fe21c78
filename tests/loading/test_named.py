"""Policies as a configuration file names them."""

from __future__ import annotations

import pytest

from dal.config import PolicyConfig
from dal.errors import ConfigError
from dal.loading import named_policies


def test_words() -> None:
    named = named_policies(
        {
            "a": PolicyConfig(eager=("User.orders", ("User.orders", "Order.items")), otherwise="strict"),
            "b": PolicyConfig(eager=("User.tags",), otherwise="a"),
            "c": PolicyConfig(eager=("User.tags",)),
            "d": PolicyConfig(otherwise="lazy"),
        }
    )
    assert {name: repr(policy) for name, policy in named.items()} == {
        "a": "hybrid(eager=[User.orders, (User.orders -> Order.items)], otherwise=strict())",
        "b": "hybrid(eager=[User.tags, User.orders, (User.orders -> Order.items)], otherwise=strict())",
        "c": "eager(User.tags)",
        "d": "lazy()",
    }


def test_a_word_that_is_not_known() -> None:
    with pytest.raises(ConfigError, match=r"(?s)policies\.a\.otherwise: 'batch' is not a policy.*b, batched, lazy, strict"):
        named_policies({"a": PolicyConfig(otherwise="batch"), "b": PolicyConfig()})


@pytest.mark.parametrize("circle", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_a_circle(circle: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"-> .* is a circle"):
        named_policies({name: PolicyConfig(otherwise=other) for name, other in circle.items()})
