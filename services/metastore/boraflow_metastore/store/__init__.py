"""The database: the only place of Boraflow with SQL.

Two ways of access: :mod:`.writer`, the one writing transaction after another, with group commit; and
:mod:`.reader`, snapshots that never wait for it. Times are integer microseconds, 0 (or NULL for dates that may
be the epoch itself) is none, exactly as on the wire, so that the hot path converts nothing.
"""
