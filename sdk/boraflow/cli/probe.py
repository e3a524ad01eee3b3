"""Waits until services are healthy: ``python -m boraflow.cli.probe JSON``.

A process of its own, so that the supervisor needs no gRPC and stays small. It prints ``NAME SECONDS`` as
each service becomes healthy, at last ``ready DAG_ID`` and exits 0; after the time it names the rest and
exits 1.

Healthy is more than a port: a scheduler leads and an executor is attached, so that a run would start now.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from typing import Any

INTERVAL = 0.03


def listens(address: str) -> bool:
    """Return whether something accepts connections there."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return False
    with contextlib.suppress(OSError, OverflowError):
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        return True
    return False


class Probe:
    """Looks at each service until all are healthy."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        self._channels: dict[str, Any] = {}
        self._client: Any = None
        self._serving_now: set[str] = set()
        self.first_dag = ""

    def _serving(self, name: str) -> bool:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        from boraflow.config import load_settings
        from boraflow.rpc.channel import open_sync_channel
        from boraflow.rpc.tls import TlsConfig

        channel = self._channels.get(name)
        if channel is None:
            settings = load_settings("client")
            tls = TlsConfig(ca=settings.tls_ca or None, insecure=settings.allow_insecure)
            channel = self._channels[name] = open_sync_channel(self.addresses[name], None, tls)
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def _state(self) -> Any:
        from boraflow.client import ApiError, Client
        from boraflow.config import read_token

        if self._client is None:
            if read_token("admin") is None:
                return None
            self._client = Client(self.addresses.get("metastore"), timeout=2.0, patience=0.0)
        try:
            return self._client.system.state()
        except ApiError:
            return None

    def _dashboard(self) -> bool:
        import urllib.error
        import urllib.request

        url = f"http://{self.addresses['ui']}/_stcore/health"
        # Never through a proxy: it is this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=1.0) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def healthy(self, name: str) -> bool:
        """Return whether a service does its work."""
        if name == "ui":
            return self._dashboard()
        # A plain look first: gRPC's import would slow down those that are starting.
        if name not in self._serving_now and not (
            listens(self.addresses[name]) and self._serving(name)
        ):
            return False
        self._serving_now.add(name)
        if name == "metastore":
            return True
        state = self._state()
        if state is None:
            return False
        if name == "scheduler":
            return state.has_leader
        return any(e.state == "online" for e in state.executors)

    def find_dag(self) -> None:
        """Look for a DAG to name in the hints."""
        from boraflow.client import ApiError

        if self._client is None:
            return
        try:
            dags = self._client.dags.list(page_size=1).items
        except ApiError:
            return
        self.first_dag = dags[0].dag_id if dags else ""


def main() -> int:
    """Probe what the argument names: ``{"addresses": {name: host:port}, "seconds": float}``."""
    order = json.loads(sys.argv[1])
    start = time.monotonic()
    probe = Probe(order["addresses"])
    waiting = list(order["addresses"])
    while True:
        if "metastore" in waiting and not listens(order["addresses"]["metastore"]):
            time.sleep(INTERVAL)
            if time.monotonic() - start < order["seconds"]:
                continue
        for name in list(waiting):
            if probe.healthy(name):
                waiting.remove(name)
                print(f"{name} {time.monotonic() - start:.2f}", flush=True)
        if not waiting:
            break
        if time.monotonic() - start > order["seconds"]:
            print(f"late {' '.join(waiting)}", flush=True)
            return 1
        time.sleep(INTERVAL)
    if "metastore" in order["addresses"]:
        probe.find_dag()
    print(f"ready {probe.first_dag}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
