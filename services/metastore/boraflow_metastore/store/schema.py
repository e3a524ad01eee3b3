"""The schema's version: bringing it up to date, and refusing one that is newer than this program."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import inspect, make_url, text

from boraflow.config import ConfigError
from boraflow_metastore.store.database import parse_url, plain_engine
from boraflow_metastore.store.writer import now_us

log = logging.getLogger("boraflow.metastore.schema")

#: The revision that this program needs: the newest file in ``migrations/versions``. A test holds it so.
HEAD = "0006"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What :func:`check` found."""

    current: str
    """Revision of the database; empty for an empty one."""
    head: str
    """Revision that this program needs."""
    known: bool
    """Whether this program knows ``current``."""

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is to be done."""
        return self.current == self.head


def without_password(url: str) -> str:
    """Return a database's URL as people may see it."""
    return make_url(url).render_as_string(hide_password=True)


def _known_revisions() -> set[str]:
    folder = Path(__file__).parents[1] / "migrations" / "versions"
    return {p.name.partition("_")[0] for p in folder.glob("[0-9]*.py")}


def check(url: str) -> SchemaState:
    """Return the version of a database's schema."""
    engine = plain_engine(url)
    try:
        with engine.connect() as connection:
            current = ""
            if inspect(connection).has_table("alembic_version"):
                row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
                current = row[0] if row else ""
    finally:
        engine.dispose()
    return SchemaState(current, HEAD, not current or current in _known_revisions())


def refuse_newer(state: SchemaState) -> None:
    """Raise ConfigError when the schema is newer than this program."""
    if not state.known:
        raise ConfigError(
            f"the database has schema {state.current}, which is newer than this Boraflow"
            f" (it knows up to {state.head}): upgrade Boraflow, or restore an older backup"
        )


def migrate(url: str) -> SchemaState:
    """Bring a database's schema up to date and return what it was.

    Raises:
        ConfigError: it is newer than this program.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
    state = check(url)
    refuse_newer(state)
    if state.up_to_date:
        return state
    # Alembic takes a while to import, and an up-to-date schema needs none of it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "boraflow_metastore:migrations")
    engine = plain_engine(url)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if connection.execute(text("SELECT count(*) FROM meta")).scalar() == 0:
                connection.execute(
                    text(
                        "INSERT INTO meta (id, revision, incarnation, epoch, sequence, created_us)"
                        " VALUES (1, 1, :incarnation, 0, 0, :now)"
                    ),
                    {"incarnation": secrets.token_hex(6), "now": now_us()},
                )
                connection.execute(
                    text(
                        "INSERT INTO pool (name, slots, description, include_deferred)"
                        " VALUES ('default_pool', 128, 'Default pool', 0)"
                    )
                )
    finally:
        engine.dispose()
    log.info("schema brought from %s to %s", state.current or "nothing", HEAD)
    return state
