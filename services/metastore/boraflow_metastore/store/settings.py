"""Variables, connections and tokens: rows as they are stored, with their secrets still encrypted."""

from __future__ import annotations

from typing import NamedTuple

from boraflow_metastore.store.database import Session, is_duplicate
from boraflow_metastore.store.writer import Transaction

# --- variables -----------------------------------------------------------------------------------


class StoredVariable(NamedTuple):
    """A variable; the value is encrypted."""

    key: str
    value: str
    description: str


_VARIABLE = "SELECT key, value, description FROM variable"


def find_variable(session: Session, key: str) -> StoredVariable | None:
    """Return a variable, or None."""
    row = session.row(f"{_VARIABLE} WHERE key = ?", (key,))
    return StoredVariable(*row) if row else None


def list_variables(session: Session, after: str, limit: int) -> list[StoredVariable]:
    """Return variables by key."""
    return [
        StoredVariable(*r)
        for r in session.rows(f"{_VARIABLE} WHERE key > ? ORDER BY key LIMIT ?", (after, limit))
    ]


def put_variable(transaction: Transaction, variable: StoredVariable) -> None:
    """Create or replace a variable."""
    transaction.execute(
        "INSERT INTO variable (key, value, description, changed_us) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
        " description = excluded.description, changed_us = excluded.changed_us",
        (*variable, transaction.now),
    )
    transaction.changes.append(("variable", "", "", variable.key))


def delete_variable(transaction: Transaction, key: str) -> bool:
    """Delete a variable; return whether there was one."""
    found = transaction.execute("DELETE FROM variable WHERE key = ?", (key,)).rowcount > 0
    if found:
        transaction.changes.append(("variable", "", "", key))
    return found


# --- connections ---------------------------------------------------------------------------------


class StoredConnection(NamedTuple):
    """A connection; password and extra are encrypted, empty for none."""

    conn_id: str
    conn_type: str
    host: str
    login: str
    password: str
    schema: str
    port: int
    extra: str
    description: str


_CONNECTION = "SELECT conn_id, conn_type, host, login, password, schema, port, extra, description FROM connection"


def find_connection(session: Session, conn_id: str) -> StoredConnection | None:
    """Return a connection, or None."""
    row = session.row(f"{_CONNECTION} WHERE conn_id = ?", (conn_id,))
    return StoredConnection(*row) if row else None


def list_connections(session: Session, after: str, limit: int) -> list[StoredConnection]:
    """Return connections by conn_id."""
    return [
        StoredConnection(*r)
        for r in session.rows(
            f"{_CONNECTION} WHERE conn_id > ? ORDER BY conn_id LIMIT ?", (after, limit)
        )
    ]


def put_connection(transaction: Transaction, connection: StoredConnection) -> None:
    """Create or replace a connection."""
    columns = (*StoredConnection._fields, "changed_us")
    sets = ", ".join(f"{c} = excluded.{c}" for c in columns[1:])
    transaction.execute(
        f"INSERT INTO connection ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT (conn_id) DO UPDATE SET {sets}",
        (*connection, transaction.now),
    )
    transaction.changes.append(("connection", "", "", connection.conn_id))


def delete_connection(transaction: Transaction, conn_id: str) -> bool:
    """Delete a connection; return whether there was one."""
    found = transaction.execute("DELETE FROM connection WHERE conn_id = ?", (conn_id,)).rowcount > 0
    if found:
        transaction.changes.append(("connection", "", "", conn_id))
    return found


# --- tokens --------------------------------------------------------------------------------------


class StoredToken(NamedTuple):
    """A token; only the SHA-256 of its secret is known."""

    name: str
    role: str
    digest: str
    created_us: int
    expire_us: int
    revoked: int


_TOKEN = "SELECT name, role, digest, created_us, expire_us, revoked FROM token"


def list_tokens(session: Session, after: str, limit: int) -> list[StoredToken]:
    """Return tokens by name."""
    return [
        StoredToken(*r)
        for r in session.rows(f"{_TOKEN} WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
    ]


def all_tokens(session: Session) -> list[StoredToken]:
    """Return all tokens."""
    return [StoredToken(*r) for r in session.rows(_TOKEN)]


def add_token(transaction: Transaction, token: StoredToken) -> bool:
    """Store a new token; return False when the name is taken by one that is not revoked."""
    transaction.execute("DELETE FROM token WHERE name = ? AND revoked = 1", (token.name,))
    try:
        done = transaction.execute(
            "INSERT INTO token (name, role, digest, created_us, expire_us, revoked)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
            token,
        )
    except Exception as error:
        if is_duplicate(error):
            return False
        raise
    return done.rowcount == 1


def replace_token(transaction: Transaction, token: StoredToken) -> None:
    """Store a token in place of the one of that name."""
    transaction.execute(
        "DELETE FROM token WHERE name = ? OR digest = ?", (token.name, token.digest)
    )
    add_token(transaction, token)


def revoke_token(transaction: Transaction, name: str) -> bool:
    """Revoke a token; return whether there is one of that name."""
    return transaction.execute("UPDATE token SET revoked = 1 WHERE name = ?", (name,)).rowcount > 0


def drop_old_sessions(transaction: Transaction, now_us: int) -> None:
    """Remove people's sessions that are over."""
    transaction.execute(
        "DELETE FROM token WHERE name LIKE ? AND (revoked = 1 OR expire_us <= ?)", ("%#%", now_us)
    )


def end_session(transaction: Transaction, digest: str) -> str:
    """Remove a person's session; return its name, or nothing."""
    row = transaction.row(
        "SELECT name FROM token WHERE digest = ? AND name LIKE ?", (digest, "%#%")
    )
    if row is None:
        return ""
    transaction.execute("DELETE FROM token WHERE digest = ?", (digest,))
    return str(row[0])
