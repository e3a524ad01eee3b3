"""What retention removes, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from boraflow.api.metastore.v1 import bundle_service_pb2
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.writer import Transaction

_BATCH = 500


class OldRun(NamedTuple):
    """A run whose belongings go."""

    run_key: str
    dag_id: str
    run_id: str


def old_runs(session: Session, before_us: int, limit: int) -> list[OldRun]:
    """Return finished runs that ended before a time and were not purged yet."""
    return [
        OldRun(*r)
        for r in session.rows(
            "SELECT run_key, dag_id, run_id FROM dag_run WHERE end_us > 0 AND purged = 0"
            " AND end_us < ? AND state IN ('success', 'failed') ORDER BY state, end_us LIMIT ?",
            (before_us, limit),
        )
    ]


def deleted_runs(session: Session, limit: int) -> list[OldRun]:
    """Return runs that were deleted and whose belongings are still there."""
    return [
        OldRun(*r)
        for r in session.rows("SELECT run_key, dag_id, run_id FROM purge LIMIT ?", (limit,))
    ]


def remove_batch(transaction: Transaction, run_key: str) -> int:
    """Remove some rows of a run; return how many."""
    count = 0
    for table, key in (
        ("xcom", "run_key, task_id, map_index, key"),
        ("task_state_store", "run_key, task_id, map_index, key"),
        ("hitl_detail", "attempt_id"),
        ("deadline", "run_key, number"),
        ("attempt", "attempt_id"),
        ("task_instance", "run_key, task_id, map_index"),
    ):
        left = _BATCH - count
        if left <= 0:
            break
        count += transaction.execute(
            f"DELETE FROM {table} WHERE ({key}) IN"
            f" (SELECT {key} FROM {table} WHERE run_key = ? LIMIT ?)",
            (run_key, left),
        ).rowcount
    return count


def mark_purged(transaction: Transaction, run_key: str) -> None:
    """Note that nothing but the run's row is left."""
    transaction.execute("UPDATE dag_run SET purged = 1 WHERE run_key = ?", (run_key,))


def forget_deleted(transaction: Transaction, run_key: str) -> None:
    """Note that nothing is left of a deleted run."""
    transaction.execute("DELETE FROM purge WHERE run_key = ?", (run_key,))


def remove_old_answers(transaction: Transaction, before_us: int) -> None:
    """Remove answers that nobody will ask for again."""
    transaction.execute("DELETE FROM request WHERE created_us < ?", (before_us,))


def old_watches(session: Session, before_us: int) -> list[str]:
    """Return attempts of watchers that ended before a time."""
    return [
        r[0]
        for r in session.rows(
            "SELECT attempt_id FROM attempt WHERE run_key = '' AND kind = 'watch' AND handled = 1"
            " AND released = 1 AND closed_us > 0 AND closed_us < ? LIMIT ?",
            (before_us, _BATCH),
        )
    ]


def remove_watches(transaction: Transaction, attempt_ids: Sequence[str]) -> None:
    """Remove attempts of watchers."""
    transaction.write_in("DELETE FROM attempt WHERE attempt_id IN :values", list(attempt_ids))


def remove_old_executors(transaction: Transaction, before_us: int) -> None:
    """Remove ended sessions that no attempt is left of."""
    transaction.execute(
        "DELETE FROM executor WHERE state = 'offline' AND attached_us < ? AND NOT EXISTS"
        " (SELECT 1 FROM attempt a WHERE (a.handled = 0 OR a.released = 0)"
        " AND a.executor_id = executor.executor_id)",
        (before_us,),
    )


def remove_old_audit(transaction: Transaction, before_us: int) -> None:
    """Remove old lines of the audit log."""
    transaction.execute("DELETE FROM audit WHERE time_us < ?", (before_us,))


def remove_old_asset_events(transaction: Transaction, before_us: int) -> int:
    """Remove some asset events from before a time, with what refers to them; return how many.

    Those that pend for a partition stay: it may take a year to be complete.
    """
    old = [
        r[0]
        for r in transaction.rows(
            "SELECT event_id FROM asset_event e WHERE time_us < ? AND handled = 1"
            " AND NOT EXISTS (SELECT 1 FROM partition_event p WHERE p.event_id = e.event_id)"
            " ORDER BY time_us LIMIT ?",
            (before_us, _BATCH),
        )
    ]
    for table in ("asset_event_alias", "asset_event_run", "asset_event"):
        transaction.write_in(f"DELETE FROM {table} WHERE event_id IN :values", old)
    return len(old)


def unused_manifests(session: Session, before_us: int) -> list[str]:
    """Return manifests stored before a time that no bundle, current version or kept run is pinned to."""
    return [
        r[0]
        for r in session.rows(
            "SELECT m.digest FROM manifest m WHERE m.created_us < ?"
            " AND m.digest NOT IN (SELECT manifest FROM bundle)"
            " AND m.digest NOT IN (SELECT DISTINCT manifest FROM dag_run WHERE purged = 0)"
            " AND m.digest NOT IN (SELECT v.manifest FROM dag_version v JOIN dag d"
            " ON d.dag_id = v.dag_id AND d.version = v.version) LIMIT 1000",
            (before_us,),
        )
    ]


def remove_manifest(transaction: Transaction, digest: str) -> None:
    """Remove a manifest, unless it was deployed meanwhile."""
    transaction.execute(
        "DELETE FROM manifest WHERE digest = ? AND digest NOT IN (SELECT manifest FROM bundle)",
        (digest,),
    )


def needed_files(session: Session) -> set[str]:
    """Return digests of the files that manifests name, and of the sources that people may look at."""
    needed = {r[0] for r in session.rows("SELECT DISTINCT source_digest FROM dag_version")}
    for (body,) in session.rows("SELECT body FROM manifest"):
        manifest = bundle_service_pb2.GetManifestResponse.FromString(bytes(body))
        needed.update(f.digest for f in manifest.files)
    return needed
