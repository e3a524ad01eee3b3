"""Alembic migrations of the metastore's schema, in order. A released one is never changed."""
