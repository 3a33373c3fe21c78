"""A loader strategy for what a policy speaks of: nothing is loaded with the row, whatever the mapping says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import RelationshipProperty, lazyload
from sqlalchemy.orm.interfaces import LoaderStrategy

from dal.loading._internals.names import DEFAULT_TOKEN, SELECT, WildcardLoad, missing
from dal.loading._internals.statements import apply_load

__all__ = [
    "default_strategy",
]

_NEVER_SWAPPED = frozenset({"noload", None, "write_only", "dynamic"})


@RelationshipProperty.strategy_for(lazy="dal_on_touch")
class _OnTouch(LoaderStrategy):
    """Load nothing with the row, whatever the mapping says: the attribute's first touch asks the policy."""

    __slots__ = ()

    def _mapped(self) -> Any | None:
        lazy = self.parent_property.lazy
        if lazy in _NEVER_SWAPPED or lazy in {"select", True}:
            return self.parent_property.strategy
        return self.parent_property._get_strategy(SELECT) if self._has_class_level_loader() else None

    def _has_class_level_loader(self) -> bool:
        return bool(self.parent_property._get_strategy(SELECT).is_class_level)

    def setup_query(self, *arguments: Any, **options: Any) -> None:
        mapped = self._mapped()
        if mapped is not None:
            mapped.setup_query(*arguments, **options)

    def create_row_processor(
        self,
        context: Any,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        result: Any,
        adapter: Any,
        populators: Any,
    ) -> None:
        mapped = self._mapped()
        if mapped is not None:
            mapped.create_row_processor(context, query_entity, path, None, mapper, result, adapter, populators)


def default_strategy(compile_state: Any, mapper_entities: Sequence[Any] | None) -> None:
    """Leave every relationship that no option names to its first touch."""
    if {"_WildcardLoad._set_relationship_strategy", "_DEFAULT_TOKEN"} & {*missing()}:
        everything: Any = lazyload("*")
    else:
        everything = WildcardLoad()._set_relationship_strategy(DEFAULT_TOKEN, {"lazy": "dal_on_touch"})
    apply_load(everything, compile_state, mapper_entities)
