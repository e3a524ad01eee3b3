# ruff: noqa
"""The client: one connection and its nouns."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

from boraflow.client import _calls
from boraflow.client._sync.base import Link

if TYPE_CHECKING:
    from boraflow.client._sync.assets import AsyncAssets
    from boraflow.client._sync.backfills import Backfills
    from boraflow.client._sync.bundles import Bundles
    from boraflow.client._sync.dags import Dags
    from boraflow.client._sync.hitl import Hitl
    from boraflow.client._sync.runs import Runs
    from boraflow.client._sync.states import StateStores
    from boraflow.client._sync.store import Connections, Pools, Variables
    from boraflow.client._sync.system import Changes, System, Tokens
    from boraflow.client._sync.tasks import Logs, Tasks
    from boraflow.rpc.tls import TlsConfig


class Client:
    """A client of a Boraflow.

    What is not given comes from the settings: ``BORAFLOW_METASTORE_ADDRESS``, ``BORAFLOW_TOKEN`` or the
    admin token in ``BORAFLOW_HOME``. Nothing is dialled before the first call. Calls are repeated while the
    metastore or the leading scheduler is unavailable, for ``patience`` seconds; writes carry a ``request_id``
    that stays the same, so a repeat is never carried out twice.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        tls: TlsConfig | None = None,
        timeout: float | None = None,
        patience: float = 10.0,
    ) -> None:
        self._link = Link(_calls.target(address, token, tls, timeout, patience))

    @property
    def address(self) -> str:
        """Where the metastore is dialled."""
        return self._link.target.address

    @property
    def patience(self) -> float:
        """For how many seconds calls are repeated while something is unavailable."""
        return self._link.target.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._link.target = dataclasses.replace(self._link.target, patience=seconds)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    @cached_property
    def dags(self) -> Dags:
        """DAGs, their versions and import errors."""
        from boraflow.client._sync.dags import Dags

        return Dags(self._link)

    @cached_property
    def runs(self) -> Runs:
        """DAG runs."""
        from boraflow.client._sync.runs import Runs

        return Runs(self._link)

    @cached_property
    def tasks(self) -> Tasks:
        """Task instances, their attempts and XComs."""
        from boraflow.client._sync.tasks import Tasks

        return Tasks(self._link)

    @cached_property
    def logs(self) -> Logs:
        """Logs of attempts."""
        from boraflow.client._sync.tasks import Logs

        return Logs(self._link)

    @cached_property
    def hitl(self) -> Hitl:
        """What tasks ask people."""
        from boraflow.client._sync.hitl import Hitl

        return Hitl(self._link)

    @cached_property
    def backfills(self) -> Backfills:
        """Backfills."""
        from boraflow.client._sync.backfills import Backfills

        return Backfills(self._link)

    @cached_property
    def assets(self) -> AsyncAssets:
        """Assets and their events."""
        from boraflow.client._sync.assets import AsyncAssets

        return AsyncAssets(self._link)

    @cached_property
    def bundles(self) -> Bundles:
        """Deployed code."""
        from boraflow.client._sync.bundles import Bundles

        return Bundles(self._link)

    @cached_property
    def pools(self) -> Pools:
        """Pools."""
        from boraflow.client._sync.store import Pools

        return Pools(self._link)

    @cached_property
    def variables(self) -> Variables:
        """Variables."""
        from boraflow.client._sync.store import Variables

        return Variables(self._link)

    @cached_property
    def state_stores(self) -> StateStores:
        """What tasks keep between tries, and about assets between runs."""
        from boraflow.client._sync.states import StateStores

        return StateStores(self._link)

    @cached_property
    def connections(self) -> Connections:
        """Connections."""
        from boraflow.client._sync.store import Connections

        return Connections(self._link)

    @cached_property
    def system(self) -> System:
        """Health, executors and the audit log."""
        from boraflow.client._sync.system import System

        return System(self._link)

    @cached_property
    def tokens(self) -> Tokens:
        """Tokens."""
        from boraflow.client._sync.system import Tokens

        return Tokens(self._link)

    @cached_property
    def changes(self) -> Changes:
        """The change feed."""
        from boraflow.client._sync.system import Changes

        return Changes(self._link)
