"""``bora doctor``: looks at everything a Boraflow needs and says what to do about what is wrong."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from boraflow.cli import output
from boraflow.cli.exits import FAILED, OK
from boraflow.cli.main import version as installed_version
from boraflow.cli.output import Format, Output
from boraflow.cli.probe import listens
from boraflow.cli.supervisor import read_state
from boraflow.config import ConfigError, load_settings, read_token, unknown_variables

_SKEW = timedelta(seconds=2)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    status: str
    """``ok``, ``warning`` or ``failed``."""
    detail: str
    fix: str = ""


def _ok(check: str, detail: str) -> Finding:
    return Finding(check, "ok", detail)


def _warning(check: str, detail: str, fix: str) -> Finding:
    return Finding(check, "warning", detail, fix)


def _failed(check: str, detail: str, fix: str) -> Finding:
    return Finding(check, "failed", detail, fix)


def _settings() -> Iterator[Finding]:
    try:
        for section in ("metastore", "scheduler", "executor", "ui", "client"):
            load_settings(section)
    except ConfigError as error:
        yield _failed("settings", str(error), "correct it")
        return
    unknown = unknown_variables()
    if unknown:
        yield _warning("settings", "; ".join(unknown), "unset or correct it")
    else:
        yield _ok("settings", "all readable")


def _home() -> Iterator[Finding]:
    home = load_settings("client").home
    if not home.exists():
        yield _warning("home", f"{home} does not exist yet", "bora up makes it")
        return
    if not os.access(home, os.W_OK | os.X_OK):
        yield _failed("home", f"{home} cannot be written", "set BORAFLOW_HOME to your own folder")
        return
    free = shutil.disk_usage(home).free
    if free < 1 << 30:
        yield _warning("home", f"{home}: {free >> 20} MiB free", "make room")
    else:
        yield _ok("home", f"{home}, {free >> 30} GiB free")


def _token() -> Iterator[Finding]:
    home = load_settings("client").home
    if os.environ.get("BORAFLOW_TOKEN"):
        yield _ok("token", "from BORAFLOW_TOKEN")
        return
    path = home / "tokens" / "admin.token"
    try:
        found = read_token("admin")
    except ConfigError as error:
        yield _failed("token", str(error), f"chown it, or set BORAFLOW_TOKEN: {path}")
        return
    if found is None:
        yield _failed("token", f"no {path}", "bora up writes it; elsewhere set BORAFLOW_TOKEN")
        return
    loose = [
        p.name
        for p in sorted((home / "tokens").glob("*.token"))
        if stat.S_IMODE(p.stat().st_mode) & 0o077
    ]
    if loose:
        names = ", ".join(loose)
        yield _warning("token", f"others can read {names}", f"chmod 600 {home}/tokens/*.token")
    else:
        yield _ok("token", str(path))


def _serving(address: str) -> str:
    """Return what the health check of a service says; empty when it serves."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from boraflow.rpc.channel import open_sync_channel
    from boraflow.rpc.tls import TlsConfig

    settings = load_settings("client")
    tls = TlsConfig(ca=settings.tls_ca or None, insecure=settings.allow_insecure)
    with open_sync_channel(address, None, tls) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2.0)
        except grpc.RpcError as error:
            return str(error.details() or error.code())
    serving = health_pb2.HealthCheckResponse.SERVING
    return "" if answer.status == serving else "it does not serve now"


def _door(name: str, address: str, variable: str) -> Finding:
    """Look at the address of a service."""
    if not listens(address):
        return _failed(name, f"nothing listens on {address}", f"bora up, or bora {name}")
    trouble = _serving(address)
    if trouble:
        return _failed(
            name,
            f"{address} does not answer as a {name}: {trouble}",
            f"look at its log; if another program has the port, set {variable}",
        )
    return _ok(name, f"serves on {address}")


def _address(name: str) -> str:
    """Return where a service is expected: where ``bora up`` started it, else where the settings say."""
    up = read_state(load_settings("client").home).get("services", {})
    if name in up:
        return up[name]["address"]
    return load_settings(name).address  # type: ignore[call-overload]


def _dashboard() -> Finding:
    import urllib.error
    import urllib.request

    address = _address("ui")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/_stcore/health", timeout=2.0):
            return _ok("dashboard", f"http://{address}")
    except (urllib.error.URLError, OSError, ValueError):
        return _warning("dashboard", f"no dashboard on {address}", "bora up, or bora ui")


def _system(client: Any) -> Iterator[Finding]:
    from boraflow.client import ApiError

    try:
        state = client.system.state(patience=0.0)
        caller = client.tokens.caller()
    except ApiError as error:
        yield _failed("API", error.message, "check BORAFLOW_HOME and BORAFLOW_TOKEN")
        return
    yield _ok("API", f"called as {caller.name} ({caller.role}); database {state.database}")
    own = installed_version()
    if state.version and own != state.version:
        yield _warning(
            "version", f"this is {own}, the metastore is {state.version}", "install the same one"
        )
    if state.has_leader:
        yield _ok("leader", f"{state.leader} since {output.cell(state.leader_time)}")
    else:
        yield _failed("leader", "no scheduler leads: nothing is started", "bora scheduler")
    online = [e for e in state.executors if e.state == "online"]
    if online:
        slots = sum(e.slots for e in online)
        used = sum(e.used_slots for e in online)
        names = ", ".join(e.name for e in online)
        yield _ok("executors", f"{len(online)} online ({names}), {used} of {slots} slots in use")
    elif state.executors:
        yield _failed(
            "executors", "all are draining: no task is started", "bora executors drain NAME --undo"
        )
    else:
        yield _failed("executors", "none is online: no task is started", "bora executor")
    yield _clock(state)
    if state.import_error_count:
        yield _warning(
            "DAG files", f"{state.import_error_count} cannot be used", "bora dags errors"
        )
    else:
        yield _ok("DAG files", f"{state.dag_count} DAGs, no errors")
    if state.failed_run_count:
        yield _warning(
            "runs",
            f"{state.failed_run_count} failed in the last 24 hours",
            "bora runs list --state failed",
        )


def _clock(state: Any) -> Finding:
    now = datetime.now(UTC)
    past = [state.start_time, state.leader_time, *(e.attach_time for e in state.executors)]
    ahead = max((t - now for t in past if t is not None), default=timedelta())
    if ahead > _SKEW:
        return _failed(
            "clock",
            f"the services' clocks are {ahead.total_seconds():.0f} s ahead of this machine's",
            "synchronise the clocks (NTP)",
        )
    return _ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, agrees with the services")


def findings() -> Iterator[Finding]:
    """Yield what was found, in the order in which things depend on each other."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield _ok("boraflow", f"{installed_version()} on Python {python}")
    settings_ok = True
    for finding in _settings():
        settings_ok = settings_ok and finding.status != "failed"
        yield finding
    if not settings_ok:
        return
    yield from _home()
    yield from _token()
    metastore = _door(
        "metastore", load_settings("client").metastore_address, "BORAFLOW_METASTORE_ADDRESS"
    )
    yield metastore
    if metastore.status == "ok":
        from boraflow.cli import inputs

        with inputs.connect(patience=0.0) as client:
            yield from _system(client)
    yield _door("scheduler", _address("scheduler"), "BORAFLOW_SCHEDULER_ADDRESS")
    yield _door("executor", _address("executor"), "BORAFLOW_EXECUTOR_ADDRESS")
    yield _dashboard()


def doctor(form: Output = Format.TABLE) -> int:
    """Check settings, home, tokens, services, leader, executors, clock and DAG files.

    Each line says what was found and, where something is wrong, what to do. Exit 1 when a check failed.
    """
    found = []
    marks = {"ok": "ok  ", "warning": "warn", "failed": "FAIL"}
    colors = {"ok": "\033[32m", "warning": "\033[33m", "failed": "\033[31m"}
    for finding in findings():
        found.append(finding)
        if form is Format.TABLE:
            mark = marks[finding.status]
            if sys.stdout.isatty():
                mark = f"{colors[finding.status]}{mark}\033[0m"
            fix = f" -> {finding.fix}" if finding.fix else ""
            print(f"{mark}  {finding.check:<10} {finding.detail}{fix}", flush=True)
    if form is not Format.TABLE:
        output.dump([asdict(f) for f in found], form)
    return FAILED if any(f.status == "failed" for f in found) else OK
