"""The client: one connection and its nouns."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

from boraflow.client import _calls
from boraflow.client._aio.base import AsyncLink

if TYPE_CHECKING:
    from boraflow.client._aio.assets import AsyncAssets
    from boraflow.client._aio.backfills import AsyncBackfills
    from boraflow.client._aio.bundles import AsyncBundles
    from boraflow.client._aio.dags import AsyncDags
    from boraflow.client._aio.hitl import AsyncHitl
    from boraflow.client._aio.runs import AsyncRuns
    from boraflow.client._aio.states import AsyncStateStores
    from boraflow.client._aio.store import AsyncConnections, AsyncPools, AsyncVariables
    from boraflow.client._aio.system import AsyncChanges, AsyncSystem, AsyncTokens
    from boraflow.client._aio.tasks import AsyncLogs, AsyncTasks
    from boraflow.rpc.tls import TlsConfig


class AsyncClient:
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
        self._link = AsyncLink(_calls.target(address, token, tls, timeout, patience))

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

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    @cached_property
    def dags(self) -> AsyncDags:
        """DAGs, their versions and import errors."""
        from boraflow.client._aio.dags import AsyncDags

        return AsyncDags(self._link)

    @cached_property
    def runs(self) -> AsyncRuns:
        """DAG runs."""
        from boraflow.client._aio.runs import AsyncRuns

        return AsyncRuns(self._link)

    @cached_property
    def tasks(self) -> AsyncTasks:
        """Task instances, their attempts and XComs."""
        from boraflow.client._aio.tasks import AsyncTasks

        return AsyncTasks(self._link)

    @cached_property
    def logs(self) -> AsyncLogs:
        """Logs of attempts."""
        from boraflow.client._aio.tasks import AsyncLogs

        return AsyncLogs(self._link)

    @cached_property
    def hitl(self) -> AsyncHitl:
        """What tasks ask people."""
        from boraflow.client._aio.hitl import AsyncHitl

        return AsyncHitl(self._link)

    @cached_property
    def backfills(self) -> AsyncBackfills:
        """Backfills."""
        from boraflow.client._aio.backfills import AsyncBackfills

        return AsyncBackfills(self._link)

    @cached_property
    def assets(self) -> AsyncAssets:
        """Assets and their events."""
        from boraflow.client._aio.assets import AsyncAssets

        return AsyncAssets(self._link)

    @cached_property
    def bundles(self) -> AsyncBundles:
        """Deployed code."""
        from boraflow.client._aio.bundles import AsyncBundles

        return AsyncBundles(self._link)

    @cached_property
    def pools(self) -> AsyncPools:
        """Pools."""
        from boraflow.client._aio.store import AsyncPools

        return AsyncPools(self._link)

    @cached_property
    def variables(self) -> AsyncVariables:
        """Variables."""
        from boraflow.client._aio.store import AsyncVariables

        return AsyncVariables(self._link)

    @cached_property
    def state_stores(self) -> AsyncStateStores:
        """What tasks keep between tries, and about assets between runs."""
        from boraflow.client._aio.states import AsyncStateStores

        return AsyncStateStores(self._link)

    @cached_property
    def connections(self) -> AsyncConnections:
        """Connections."""
        from boraflow.client._aio.store import AsyncConnections

        return AsyncConnections(self._link)

    @cached_property
    def system(self) -> AsyncSystem:
        """Health, executors and the audit log."""
        from boraflow.client._aio.system import AsyncSystem

        return AsyncSystem(self._link)

    @cached_property
    def tokens(self) -> AsyncTokens:
        """Tokens."""
        from boraflow.client._aio.system import AsyncTokens

        return AsyncTokens(self._link)

    @cached_property
    def changes(self) -> AsyncChanges:
        """The change feed."""
        from boraflow.client._aio.system import AsyncChanges

        return AsyncChanges(self._link)
