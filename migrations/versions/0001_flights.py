"""Create the five tables of the flights

No foreign keys: the data names planes, destinations and hours of weather that it does not have.

Revision: 0001
Follows:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "airlines",
        sa.Column("carrier", sa.String(2), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
    )
    op.create_table(
        "airports",
        sa.Column("faa", sa.String(3), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("alt", sa.Integer(), nullable=False),
        sa.Column("tz", sa.Integer(), nullable=False),
        sa.Column("dst", sa.String(1), nullable=False),
        sa.Column("tzone", sa.String()),
    )
    op.create_table(
        "planes",
        sa.Column("tailnum", sa.String(6), primary_key=True),
        sa.Column("year", sa.Integer()),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("manufacturer", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("engines", sa.Integer(), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("speed", sa.Integer()),
        sa.Column("engine", sa.String(), nullable=False),
    )
    op.create_table(
        "weather",
        sa.Column("origin", sa.String(3), primary_key=True),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("temp", sa.Double()),
        sa.Column("dewp", sa.Double()),
        sa.Column("humid", sa.Double()),
        sa.Column("wind_dir", sa.Integer()),
        sa.Column("wind_speed", sa.Double()),
        sa.Column("wind_gust", sa.Double()),
        sa.Column("precip", sa.Double(), nullable=False),
        sa.Column("pressure", sa.Double()),
        sa.Column("visib", sa.Double(), nullable=False),
        sa.Column("time_hour", sa.DateTime(timezone=True), primary_key=True),
    )
    op.create_table(
        "flights",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("dep_time", sa.Integer()),
        sa.Column("sched_dep_time", sa.Integer(), nullable=False),
        sa.Column("dep_delay", sa.Integer()),
        sa.Column("arr_time", sa.Integer()),
        sa.Column("sched_arr_time", sa.Integer(), nullable=False),
        sa.Column("arr_delay", sa.Integer()),
        sa.Column("carrier", sa.String(2), nullable=False),
        sa.Column("flight", sa.Integer(), nullable=False),
        sa.Column("tailnum", sa.String(6)),
        sa.Column("origin", sa.String(3), nullable=False),
        sa.Column("dest", sa.String(3), nullable=False),
        sa.Column("air_time", sa.Integer()),
        sa.Column("distance", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("minute", sa.Integer(), nullable=False),
        sa.Column("time_hour", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_flights_carrier", "flights", ["carrier"])
    op.create_index("ix_flights_tailnum", "flights", ["tailnum"])
    op.create_index("ix_flights_dest", "flights", ["dest"])
    op.create_index("ix_flights_time_hour_id", "flights", ["time_hour", "id"])


def downgrade() -> None:
    for table in ("flights", "weather", "planes", "airports", "airlines"):
        op.drop_table(table)
