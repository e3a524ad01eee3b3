"""The asyncio client; ``_sync`` is generated from it by ``python -m boraflow.client._unasync``."""

from __future__ import annotations

from boraflow.client._aio.client import AsyncClient

__all__ = ["AsyncClient"]
