"""Change the schema by Alembic, from many instances at once, without applying anything twice.

`Migrations` is the Python face of `dal migrate`; the environment in the folder is an ordinary Alembic one, so the
`alembic` command and every tool that knows it keep working. Use it when the schema lives longer than one release.
Do not use it for a throw-away test schema: `Base.metadata.create_all(engine)` is shorter there.
"""

from dal.migrations.creation import create_database
from dal.migrations.differences import Difference
from dal.migrations.migrations import Migrations
from dal.migrations.scaffold import init
from dal.migrations.status import Revision, Status

__all__ = ["Difference", "Migrations", "Revision", "Status", "create_database", "init"]
