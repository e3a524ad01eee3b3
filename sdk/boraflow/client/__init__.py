"""The Python client of a Boraflow: :class:`Client` (blocking) and :class:`AsyncClient`.

    from boraflow.client import Client

    with Client() as client:
        run = client.runs.trigger("weather_etl", conf={"station": "SEA"}).run
        run = client.runs.wait(run.dag_id, run.run_id)
        print(run.state)

Errors are :class:`ApiError`. Needs the extra ``client``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boraflow.client._aio import AsyncClient
    from boraflow.client._sync import Client
    from boraflow.rpc.errors import ApiError

__all__ = ["ApiError", "AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    # gRPC is imported once somebody wants a client, and only for the kind that is wanted.
    home = {
        "ApiError": "boraflow.rpc.errors",
        "AsyncClient": "boraflow.client._aio",
        "Client": "boraflow.client._sync",
    }.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
