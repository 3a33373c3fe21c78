"""The command line: `dal`. One file a command; nothing here is imported by the rest of dal."""

from __future__ import annotations

import sys

from sqlalchemy.exc import DBAPIError

from dal._extras import require
from dal.errors import DalError

__all__ = ["main"]


def main() -> None:
    """Run the command line; exits with 1 on an error of dal or of the database, with 2 on a mistyped command."""
    try:
        require("typer", extra="cli", purpose="the command line")
        require("rich", extra="cli", purpose="the command line")
        from dal.cli.app import app

        app()
    except DalError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except DBAPIError as error:
        print(f"error: the database refused it: {str(error.orig).strip()}", file=sys.stderr)
        raise SystemExit(1) from None
