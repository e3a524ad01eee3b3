"""The schema, and how statements find their rows, on a database file of the test's own."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from boraflow_metastore.log_storage import LogPlace
from boraflow_metastore.store import rows, schema, tables
from boraflow_metastore.store.caches import Lru, RunTasks
from boraflow_metastore.store.database import plain_engine
from boraflow_metastore.store.runs import RUN_PEOPLE


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('db') / 'boraflow.db'}"
    before = schema.migrate(url)
    assert (before.current, before.up_to_date) == ("", False)
    assert schema.migrate(url).up_to_date
    return url


def described(url: str) -> dict[str, str]:
    """Everything in a database, as SQLite would make it again, but for white space and constraint names."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql <> '' AND name <> 'alembic_version'"
        ).fetchall()
    connection.close()
    return {name: re.sub(r"\s+", "", sql) for name, sql in found}


def test_the_migrations_make_what_the_tables_say(url: str, tmp_path: Path) -> None:
    made = f"sqlite:///{tmp_path / 'made.db'}"
    engine = plain_engine(made)
    tables.metadata.create_all(engine)
    engine.dispose()
    assert described(url) == described(made)


def test_deadlines_set_before_they_had_a_table_are_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    config = Config()
    config.set_main_option("script_location", "boraflow_metastore:migrations")
    engine = plain_engine(url)
    payload = '{"callbacks": ["deadline"], "deadline": {"index": 1, "name": "books", "at": 77}}'
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for key, kind, text in (
            ("a", "callback", payload),
            ("b", "callback", "{}"),
            ("c", "try", ""),
        ):
            connection.execute(
                sa.text(
                    "INSERT INTO attempt (attempt_id, kind, run_key, try_number, payload_json)"
                    " VALUES (:key, :kind, 'r', 1, :payload)"
                ),
                {"key": key, "kind": kind, "payload": text},
            )
    engine.dispose()
    assert schema.migrate(url).current == "0001"
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT * FROM deadline").fetchall() == [
            ("r", 1, "a", 77, "books")
        ]
    connection.close()


def test_the_newest_migration_is_the_head() -> None:
    folder = Path(schema.__file__).parents[1] / "migrations" / "versions"
    assert max(p.name.partition("_")[0] for p in folder.glob("[0-9]*.py")) == schema.HEAD


@pytest.fixture(scope="module")
def database(url: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    yield connection
    connection.close()


UNFINISHED = f"SELECT run_key FROM dag_run WHERE {rows.UNFINISHED_RUN}"


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        # What a leader asks for must not look at finished work, however much there is of it.
        (f"{rows.RUN_SELECT} WHERE {rows.UNFINISHED_RUN}", "ix_dag_run_unfinished"),
        (
            f"{rows.ATTEMPT_SELECT} WHERE {rows.LIVE_ATTEMPT} AND handled = 0 AND outcome <> ''",
            "ix_attempt_live",
        ),
        (f"{rows.TASK_SELECT} WHERE t.run_key IN ({UNFINISHED})", "ix_dag_run_unfinished"),
        (
            "SELECT 1 FROM dag_run WHERE end_us > 0 AND purged = 0 AND end_us < 5",
            "ix_dag_run_finished",
        ),
        (
            f"{rows.RUN_SELECT} WHERE r.dag_id = 'a' AND r.logical_us < 5 ORDER BY r.logical_us DESC LIMIT 1",
            "ix_dag_run_logical",
        ),
        ("SELECT 1 FROM deadline d ORDER BY d.at_us DESC, d.run_key DESC", "ix_deadline_latest"),
        (
            f"{RUN_PEOPLE} WHERE r.dag_id = 'a' ORDER BY r.run_after_us DESC, r.run_key DESC LIMIT 1",
            "ix_dag_run_dag_newest",
        ),
        (
            f"{RUN_PEOPLE} WHERE 1 = 1 ORDER BY r.run_after_us DESC, r.run_key DESC LIMIT 1",
            "ix_dag_run_newest",
        ),
        (
            "SELECT state FROM dag_run WHERE backfill_id = 'b' AND backfill_id <> ''",
            "ix_dag_run_backfill",
        ),
        (
            "SELECT 1 FROM attempt a WHERE a.run_key = 'r' AND a.task_id = 't' AND a.map_index = 1",
            "ix_attempt_task",
        ),
    ],
)
def test_indexes_are_used(database: sqlite3.Connection, sql: str, index: str) -> None:
    plan = " | ".join(r[3] for r in database.execute(f"EXPLAIN QUERY PLAN {sql}"))
    assert index in plan, plan
    assert not re.search(r"SCAN (?!.*USING)", plan), plan
    assert "TEMP B-TREE FOR ORDER BY" not in plan, plan


def test_a_runs_counts_follow_its_tasks() -> None:
    tasks = RunTasks()
    for state in ("none", "scheduled", "scheduled", "success"):
        tasks.set(("a", -1), state)
    tasks.set(("b", 0), "none")
    assert tasks.counts == {"success": 1, "none": 1}
    tasks.drop(("b", 0))
    tasks.drop(("b", 1))
    assert tasks.counts == {"success": 1}


def test_the_least_recently_used_is_forgotten() -> None:
    cache: Lru[str, int] = Lru(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


@pytest.mark.parametrize(
    "name",
    ["../../etc", "a/b", "x" * 500, "", ".", "a\x00b", "日本", "manual__2026-01-01T00:00:00+00:00"],
)
def test_logs_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    path = LogPlace(name, name, name, -1, 1, "a1").path
    assert (tmp_path / path).resolve().is_relative_to(tmp_path)
    assert path.count("/") == 2
    assert all(0 < len(part) < 200 for part in path.split("/"))
    assert LogPlace(name + "2", name, name, -1, 1, "a1").path != path
