"""SARIF 2.1.0, which code hosts show beside the lines of a change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from dal.detection.reports.record import FindingRecord, ScopeRecord

__all__ = ["as_sarif"]

_RULES = {
    "n-plus-one": "A relationship is loaded for each parent on its own",
    "column-n-plus-one": "Columns are loaded for each object on its own",
    "repeated-statement": "The same statement is sent again and again from one place",
    "row-by-row-writes": "Rows are written one at a time",
    "multiplied-rows": "Joined collections multiply each other's rows",
    "unused-eager-load": "A relationship is loaded eagerly and never read",
    "unused-columns": "Columns are fetched and never read",
}


def as_sarif(scopes: Sequence[ScopeRecord]) -> str:
    """Write findings as SARIF; one found in several tests is one result."""
    merged: dict[tuple[str, str, str, int], tuple[FindingRecord, list[str]]] = {}
    for scope in scopes:
        for finding in scope["findings"]:
            key = (finding["rule"], finding["subject"], finding["file"], finding["line"])
            merged.setdefault(key, (finding, []))[1].append(scope["name"])
    driver = {
        "name": "dal",
        "informationUri": "https://pypi.org/project/dal/",
        "rules": [{"id": rule, "shortDescription": {"text": text}} for rule, text in _RULES.items()],
    }
    results = [_result(finding, names) for finding, names in merged.values()]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=1)


def _result(finding: FindingRecord, names: list[str]) -> dict[str, Any]:
    text = f"{finding['message']}. Write: {finding['fix']}"
    identity = "|".join((finding["rule"], finding["subject"], finding["file"], finding["function"]))
    return {
        "ruleId": finding["rule"],
        "level": "warning",
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": finding["file"].replace("\\", "/")},
                    "region": {"startLine": max(finding["line"], 1)},
                }
            }
        ],
        "partialFingerprints": {"dal/v1": hashlib.sha256(identity.encode()).hexdigest()[:32]},
        "properties": {"queries": finding["queries"], "seenIn": names[:20]},
    }
