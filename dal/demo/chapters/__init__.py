"""The chapters of `dal demo`, in the order they are told. A capability adds a file here and a line below."""

from dal.demo.chapters import background, changes, found, outage, pages, parallel, policies, rows, schema

__all__ = ["CHAPTERS"]

CHAPTERS = (
    schema.CHAPTER,
    rows.CHAPTER,
    policies.CHAPTER,
    found.CHAPTER,
    pages.CHAPTER,
    outage.CHAPTER,
    parallel.CHAPTER,
    background.CHAPTER,
    changes.CHAPTER,
)
