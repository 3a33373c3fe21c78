"""The migration environment of the flights example: `dal migrate` runs it, and plain `alembic` too."""

from alembic import context

from dal.demo.models import Base
from dal.migrations.environment import connection, include_object

with connection(context.config) as opened:
    context.configure(
        connection=opened,
        target_metadata=Base.metadata,
        include_object=include_object,
        render_as_batch=opened.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
