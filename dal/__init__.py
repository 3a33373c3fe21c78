"""The data access layer for SQLAlchemy and PostgreSQL."""
