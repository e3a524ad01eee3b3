"""The task state store and the asset state store: small JSON values that survive tries, and runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from boraflow.rpc.errors import not_found, precondition
from boraflow_metastore.store import asset_lists
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.writer import Transaction

_BATCH = 500
_ENTRY = "key, value_json, changed_us, expires_us, actor"


class TaskOwner(NamedTuple):
    """A task instance."""

    run_key: str
    task_id: str
    map_index: int


class AssetOwner(NamedTuple):
    """An asset; its entries belong to name and URI together."""

    name: str
    uri: str


Owner = TaskOwner | AssetOwner


class StoredEntry(NamedTuple):
    """An entry; ``expires_us`` 0 is never."""

    key: str
    value_json: str
    changed_us: int
    expires_us: int
    actor: str


def _place(owner: Owner) -> tuple[str, str, tuple[Any, ...]]:
    """Return the table, the condition and its values."""
    if isinstance(owner, TaskOwner):
        return "task_state_store", "run_key = ? AND task_id = ? AND map_index = ?", tuple(owner)
    return "asset_state_store", "name = ? AND uri = ?", tuple(owner)


def task_owner(
    session: Session, dag_id: str, run_id: str, task_id: str, map_index: int
) -> TaskOwner:
    """Return a task instance that people name.

    Raises:
        ApiError: there is none.
    """
    row = session.row(
        "SELECT t.run_key FROM task_instance t JOIN dag_run r ON r.run_key = t.run_key"
        " WHERE r.dag_id = ? AND r.run_id = ? AND t.task_id = ? AND t.map_index = ?",
        (dag_id, run_id, task_id, map_index),
    )
    if row is None:
        index = "" if map_index < 0 else f" with map index {map_index}"
        raise not_found(
            "TASK_NOT_FOUND",
            f"run {run_id!r} of DAG {dag_id!r} has no task instance {task_id!r}{index}",
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
        )
    return TaskOwner(str(row[0]), task_id, map_index)


def any_task_owner(session: Session, dag_id: str, run_id: str, task_id: str) -> TaskOwner:
    """Return a task of a run, of which nobody says the map index.

    Raises:
        ApiError: there is no such run.
    """
    row = session.row(
        "SELECT run_key FROM dag_run WHERE dag_id = ? AND run_id = ?", (dag_id, run_id)
    )
    if row is None:
        raise not_found(
            "RUN_NOT_FOUND", f"DAG {dag_id!r} has no run {run_id!r}", dag_id=dag_id, run_id=run_id
        )
    return TaskOwner(str(row[0]), task_id, -1)


def asset_owner(session: Session, name: str, uri: str) -> AssetOwner:
    """Return an active asset by its name, else by its URI.

    Raises:
        ApiError: there is none.
    """
    column, value = ("name", name) if name else ("uri", uri)
    row = session.row(f"SELECT name, uri FROM asset WHERE {column} = ? AND active = 1", (value,))
    if row is None:
        raise not_found(
            "ASSET_NOT_FOUND",
            f"there is no active asset with the {column} {value!r}: a DAG must name it as an inlet, an outlet or"
            " in its schedule",
            asset=value,
        )
    return AssetOwner(str(row[0]), str(row[1]))


def named_asset(session: Session, name_or_uri: str) -> AssetOwner:
    """Return an asset that people name, active or not.

    Raises:
        ApiError: there is none.
    """
    name, uri, _ = asset_lists.find_asset(session, name_or_uri)
    return AssetOwner(name, uri)


def open_task(session: Session, attempt_id: str) -> tuple[TaskOwner, str]:
    """Return the task instance of an attempt that is open, and how its writes are signed.

    Raises:
        ApiError: the attempt is closed: what it still says comes too late; or it is of no task.
    """
    row = session.row(
        "SELECT a.run_key, a.task_id, a.map_index, a.outcome, r.dag_id, r.run_id FROM attempt a"
        " JOIN dag_run r ON r.run_key = a.run_key WHERE a.attempt_id = ?",
        (attempt_id,),
    )
    if row is None or row[3]:
        raise precondition(
            "ATTEMPT_NOT_OPEN",
            f"attempt {attempt_id!r} is not open: state stores are for running attempts",
            attempt_id=attempt_id,
        )
    return TaskOwner(row[0], row[1], row[2]), f"task {row[4]} {row[5]} {row[1]} {row[2]}"


def open_watch(session: Session, attempt_id: str) -> dict[AssetOwner, str] | None:
    """Return the assets of an open attempt that watches, with their watchers' names; None for any other attempt."""
    row = session.row(
        "SELECT payload_json FROM attempt WHERE attempt_id = ? AND kind = 'watch' AND outcome = ''",
        (attempt_id,),
    )
    if row is None:
        return None
    assets = json.loads(row[0])["watch"]["assets"]
    return {AssetOwner(one["name"], one["uri"]): one["watcher"] for one in assets}


def find(session: Session, owner: Owner, key: str, now: int) -> StoredEntry | None:
    """Return an entry that has not expired, or None."""
    table, where, values = _place(owner)
    row = session.row(
        f"SELECT {_ENTRY} FROM {table} WHERE {where} AND key = ?"
        " AND (expires_us = 0 OR expires_us > ?)",
        (*values, key, now),
    )
    return StoredEntry(*row) if row else None


def entries(session: Session, owner: Owner, after: str, limit: int, now: int) -> list[StoredEntry]:
    """Return entries by key that have not expired."""
    table, where, values = _place(owner)
    return [
        StoredEntry(*r)
        for r in session.rows(
            f"SELECT {_ENTRY} FROM {table} WHERE {where} AND key > ?"
            " AND (expires_us = 0 OR expires_us > ?) ORDER BY key LIMIT ?",
            (*values, after, now, limit),
        )
    ]


def put(transaction: Transaction, owner: Owner, entry: StoredEntry) -> None:
    """Create or replace an entry."""
    table, _, values = _place(owner)
    columns = (*owner._fields, *entry._fields)
    keys = ", ".join((*owner._fields, "key"))
    transaction.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({keys}) DO UPDATE SET value_json = excluded.value_json,"
        " changed_us = excluded.changed_us, expires_us = excluded.expires_us, actor = excluded.actor",
        (*values, *entry),
    )


def delete(transaction: Transaction, owner: Owner, key: str) -> bool:
    """Delete an entry; return whether there was one."""
    table, where, values = _place(owner)
    return (
        transaction.execute(
            f"DELETE FROM {table} WHERE {where} AND key = ?", (*values, key)
        ).rowcount
        > 0
    )


def clear(transaction: Transaction, owner: Owner, *, all_map_indexes: bool = False) -> int:
    """Delete all entries of an owner; return how many."""
    table, where, values = _place(owner)
    if all_map_indexes and isinstance(owner, TaskOwner):
        where, values = "run_key = ? AND task_id = ?", tuple(owner[:2])
    return int(transaction.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount)


def clear_succeeded(transaction: Transaction, owners: Sequence[tuple[str, str, int]]) -> None:
    """Delete the entries of task instances that succeeded."""
    for owner in owners:
        clear(transaction, TaskOwner(*owner))


def count_expired(session: Session, now: int) -> int:
    """Return how many entries of tasks have expired."""
    row = session.row(
        "SELECT count(*) FROM task_state_store WHERE expires_us > 0 AND expires_us <= ?", (now,)
    )
    return int(row[0]) if row else 0


def remove_expired(transaction: Transaction) -> int:
    """Delete some entries of tasks that have expired; return how many."""
    keys = "run_key, task_id, map_index, key"
    return int(
        transaction.execute(
            f"DELETE FROM task_state_store WHERE ({keys}) IN (SELECT {keys} FROM task_state_store"
            " WHERE expires_us > 0 AND expires_us <= ? LIMIT ?)",
            (transaction.now, _BATCH),
        ).rowcount
    )
