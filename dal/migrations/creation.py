"""Create the database itself where it is missing: the step before the first migration.

For development, tests and first installations. In production the operator makes the database, and the application's
role is rightly not allowed to.
"""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from dal.config import DatabaseConfig
from dal.errors import ConnectFailed

__all__ = ["create_database"]


def create_database(database: str | URL) -> bool:
    """Create a database unless it is there; many instances may do so at once.

    Args:
        database: Its URL; the role has to be allowed to create databases.

    Returns:
        Whether this call made it.

    Raises:
        ConfigError: The URL cannot be read.
        ConnectFailed: The server does not answer, or refuses.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     create_database(f"sqlite:///{folder}/shop.db"), create_database(f"sqlite:///{folder}/shop.db")
        (True, False)
    """
    # Imported here: it brings in a column type for every need.
    from sqlalchemy_utils import functions

    url = DatabaseConfig(url=database).url
    if functions.database_exists(url):
        return False
    try:
        functions.create_database(url)
    except DBAPIError as error:
        if functions.database_exists(url):
            return False
        cause = str(error.orig).strip().splitlines()[0]
        raise ConnectFailed(
            f"the database {url.database!r} at host {url.host or 'the local socket'} cannot be created: {cause}",
            hint="is the server up, and may this role create databases? ALTER ROLE ... CREATEDB",
            orig=error.orig,
        ) from error
    return True
