"""``bora up``'s long-lived part: ``python -m boraflow.cli.supervisor JSON``.

It starts the services as children with process groups of their own, waits until all are healthy, restarts
one that crashes and stops them in order. Standard library only and single-threaded, so that it costs
little memory while everything is idle and forking is safe.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

READY_SECONDS = 90.0
STOP_ORDER = (("executor",), ("scheduler", "ui"), ("metastore",))
VARIABLES = {
    "metastore": "BORAFLOW_METASTORE_ADDRESS",
    "scheduler": "BORAFLOW_SCHEDULER_ADDRESS",
    "executor": "BORAFLOW_EXECUTOR_ADDRESS",
    "ui": "BORAFLOW_UI_ADDRESS",
}
#: The dashboard's imports would keep the processors from those that a first run needs.
LATER, LATER_SECONDS = ("ui",), 5.0
BACKOFF_FIRST, BACKOFF_MOST, STEADY_SECONDS = 0.5, 30.0, 60.0
LOG_BYTES = 50 << 20
EXIT_FAILED, EXIT_USAGE, EXIT_CONFLICT = 1, 2, 5


class UpError(Exception):
    """``bora up`` cannot go on; the message is one line for people."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Service:
    """One child."""

    name: str
    address: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = BACKOFF_FIRST
    restart_at: float | None = None
    restarts: int = 0
    healthy: bool = False


@dataclass
class Order:
    """What to start: the argument of the process."""

    home: Path
    services: dict[str, str]
    """Name to address, in the order of starting."""
    environ: dict[str, str] = field(default_factory=dict)
    dags_folder: str = ""
    daemon: bool = False
    drain_seconds: float = 45.0
    command: str = "bora"
    hints: bool = True


def read_state(home: Path) -> dict[str, Any]:
    """Return what ``up.json`` says, or nothing."""
    try:
        return json.loads((home / "up.json").read_text())
    except (OSError, ValueError):
        return {}


def alive(pid: int, marker: str) -> bool:
    """Return whether ``pid`` is a process of ours: its command line has ``marker``."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return marker.encode() in command and state != "Z"


def leftovers(home: Path) -> list[tuple[str, int]]:
    """Return services of an earlier ``up`` on this home that still run."""
    services = read_state(home).get("services", {})
    return [
        (name, s["pid"])
        for name, s in services.items()
        if alive(s["pid"], f"boraflow.cli.service {name}")
    ]


def take_lock(home: Path) -> IO[str]:
    """Take the home folder for this process.

    Raises:
        UpError: the folder cannot be written, or another ``up`` has it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "services").mkdir(exist_ok=True)
        write_tokens(home)
        lock = (home / "up.lock").open("a+")
    except OSError as error:
        raise UpError(
            f"cannot write to {home}: {error.strerror}; set BORAFLOW_HOME to a folder that you own",
            EXIT_USAGE,
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = read_state(home).get("pid")
        raise UpError(
            f"Boraflow is already up on {home}"
            + (f" (process {pid})" if pid else "")
            + "; `bora down` stops it",
            EXIT_CONFLICT,
        ) from None
    return lock


def write_tokens(home: Path) -> None:
    """Write the services' tokens that are missing; the metastore takes them from the files.

    So all services can start at once, without waiting for the metastore's first start.
    """
    folder = home / "tokens"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("admin", "scheduler", "executor", "ui"):
        path = folder / f"{name}.token"
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write("bora_" + secrets.token_urlsafe(32) + "\n")


def check_port(name: str, address: str) -> None:
    """Refuse an address that somebody listens on.

    Raises:
        UpError: naming the port, the service and the variable.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UpError(
            f"{VARIABLES[name]}: {address!r} is not an address: host:port is expected", EXIT_USAGE
        )
    try:
        infos = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpError(f"{VARIABLES[name]}: {address}: {error.strerror}", EXIT_USAGE) from None
    family, kind, proto, _, where = infos[0]
    with socket.socket(family, kind, proto) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UpError(
                    f"port {port} ({name}) is in use: stop what listens on {address}, or set"
                    f" {VARIABLES[name]} to another host:port",
                    EXIT_CONFLICT,
                ) from None
            raise UpError(
                f"{VARIABLES[name]}: cannot listen on {address}: {error.strerror}", EXIT_USAGE
            ) from None


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def how_it_ended(status: int) -> str:
    """Return an exit status in words."""
    if status < 0:
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"
    return f"exited with code {status}"


class Supervisor:
    """Starts, watches and stops the services of one home."""

    def __init__(self, order: Order, daemon_pipe: int | None = None) -> None:
        self.order = order
        self._daemon_pipe = daemon_pipe
        folder = order.home / "services"
        self.services = {
            name: Service(name, address, folder / f"{name}.log")
            for name, address in order.services.items()
        }
        self._selector = selectors.DefaultSelector()
        self._stop_signals = 0
        self._probe: subprocess.Popen[bytes] | None = None
        self._probe_output = b""
        self._ready = False
        self._begun = time.monotonic()
        self._color = sys.stdout.isatty()

    # What people see ------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a line; a closed terminal must not end the services."""
        with contextlib.suppress(OSError, ValueError):
            print(text, flush=True)

    def _bold(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self._color else text

    def _announce(self, dag_id: str) -> None:
        order = self.order
        seconds = time.monotonic() - self._begun
        self.say(f"\n{self._bold('Boraflow is up')} after {seconds:.1f} s\n")
        rows = (
            [("dashboard", f"http://{self.services['ui'].address}")]
            if "ui" in self.services
            else []
        )
        rows += [
            ("API (gRPC)", self.services["metastore"].address),
            ("DAG files", order.dags_folder),
            ("state", str(order.home)),
            ("logs", str(order.home / "services" / "*.log")),
        ]
        for label, value in rows:
            self.say(f"  {label:<11} {value}")
        bora = order.command
        name = dag_id or "DAG_ID"
        self.say("\nTry")
        if order.hints:
            self.say(f"  export BORAFLOW_HOME={order.home}")
        self.say(f"  {bora} dags list")
        self.say(f"  {bora} dags trigger {name} --unpause --wait")
        self.say(f"  {bora} doctor")
        if order.daemon:
            self.say(f"\nIt runs in the background; `{bora} down` stops it.")
        else:
            self.say("\nCtrl-C stops it.")

    # Children -------------------------------------------------------------------------------

    def _environ(self) -> dict[str, str]:
        environ = {
            **os.environ,
            **self.order.environ,
            "BORAFLOW_HOME": str(self.order.home),
            "BORAFLOW_SUPERVISOR_PID": str(os.getpid()),
            "PYTHONUNBUFFERED": "1",
        }
        # Each service reads its own token; the caller's would be used for all of them.
        environ.pop("BORAFLOW_TOKEN", None)
        return environ

    def start(self, service: Service) -> None:
        """Start a service's process."""
        self._rotate(service)
        with service.log.open("ab") as log:
            service.process = subprocess.Popen(
                [sys.executable, "-m", "boraflow.cli.service", service.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ(),
                start_new_session=True,
            )
        service.started = time.monotonic()
        service.restart_at = None
        service.healthy = False
        self._write_state()

    def _rotate(self, service: Service) -> None:
        with contextlib.suppress(OSError):
            if service.log.stat().st_size > LOG_BYTES:
                # The service keeps its descriptor (opened for appending), so copy and cut.
                shutil.copyfile(service.log, service.log.with_suffix(".log.1"))
                os.truncate(service.log, 0)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "home": str(self.order.home),
            "ready": self._ready,
            "services": {
                s.name: {"pid": s.process.pid, "address": s.address, "log": str(s.log)}
                for s in self.services.values()
                if s.process is not None
            },
        }
        path = self.order.home / "up.json"
        new = path.with_suffix(".json.new")
        # A full disk must not end the services.
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(state, indent=1))
            new.replace(path)

    def _start_probe(self, names: list[str]) -> None:
        if self._probe is not None:
            return
        order = {
            "addresses": {n: self.services[n].address for n in names},
            "seconds": READY_SECONDS,
        }
        self._probe = subprocess.Popen(
            [sys.executable, "-m", "boraflow.cli.probe", json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=self._environ(),
            start_new_session=True,
        )
        assert self._probe.stdout is not None
        os.set_blocking(self._probe.stdout.fileno(), False)
        self._selector.register(self._probe.stdout, selectors.EVENT_READ, "probe")

    def _read_probe(self) -> None:
        assert self._probe is not None
        assert self._probe.stdout is not None
        data = self._probe.stdout.read() or b""
        if data:
            self._probe_output += data
            *lines, self._probe_output = self._probe_output.split(b"\n")
            for line in lines:
                self._probed(line.decode())
            return
        probe, self._probe = self._probe, None
        self._selector.unregister(probe.stdout)  # type: ignore[arg-type]
        probe.stdout.close()  # type: ignore[union-attr]
        code = probe.wait()
        if code not in (0, 1) and not self._stop_signals and not self._ready:
            raise UpError(f"the health check {how_it_ended(code)}")
        waiting = [s.name for s in self.services.values() if not s.healthy and s.process]
        if self._ready and waiting and code == 0:
            self._start_probe(waiting)

    def _probed(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "late":
            names = rest.split()
            if not self._ready:
                logs = "\n".join(
                    f"--- {self.services[n].log}\n{tail(self.services[n].log)}" for n in names
                )
                raise UpError(f"not healthy after {READY_SECONDS:g} s: {', '.join(names)}\n{logs}")
            self.say(f"not healthy for {READY_SECONDS:g} s: {', '.join(names)}")
        elif word == "ready":
            if not self._ready:
                self._ready = True
                self._write_state()
                self._announce(rest)
                self._detach()
        elif word in self.services:
            service = self.services[word]
            service.healthy = True
            if word == "metastore":
                for later in self.services.values():
                    if later.process is None and later.name in LATER:
                        self.start(later)
            if self._ready:
                self.say(f"{word} is back")
            else:
                self.say(f"  {word:<10} {service.address}")

    # Background -----------------------------------------------------------------------------

    def _detach(self) -> None:
        """In the background: let go of the terminal, and tell the waiting process that all is well."""
        if self._daemon_pipe is None:
            return
        self._color = False
        log = os.open(
            self.order.home / "services" / "up.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
        )
        sys.stdout.flush()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        self.leave(0)

    def leave(self, code: int) -> None:
        """Tell the process that waits for a background start how it went."""
        if self._daemon_pipe is not None:
            pipe, self._daemon_pipe = self._daemon_pipe, None
            with contextlib.suppress(OSError):
                os.write(pipe, str(code).encode())
            os.close(pipe)

    # Life -----------------------------------------------------------------------------------

    def _on_signal(self, number: int, _frame: Any) -> None:
        if number != signal.SIGCHLD:
            self._stop_signals += 1

    def _watch_signals(self) -> None:
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        self._selector.register(reader, selectors.EVENT_READ, "signal")

    def _wait(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data == "signal":
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 4096)
            elif self._probe is not None:
                self._read_probe()

    def _look_after(self) -> float | None:
        """Handle ended children; return seconds until the next thing is due."""
        now = time.monotonic()
        due: list[float] = [60.0]  # logs are looked at, nothing else
        for service in self.services.values():
            status = service.process.poll() if service.process else None
            if status is not None:
                service.process = None
                service.healthy = False
                if not self._ready:
                    last = tail(service.log, 1)
                    if last.startswith(f"bora-{service.name}: "):
                        raise UpError(last)  # a mistake in the settings, told in one line
                    raise UpError(
                        f"{service.name} {how_it_ended(status)} while starting; its log"
                        f" {service.log} ends with\n{tail(service.log)}"
                    )
                if now - service.started > STEADY_SECONDS:
                    service.backoff = BACKOFF_FIRST
                service.restart_at = now + service.backoff
                service.restarts += 1
                self.say(
                    f"{service.name} {how_it_ended(status)}; it is restarted in"
                    f" {service.backoff:g} s (log: {service.log})"
                )
                service.backoff = min(BACKOFF_MOST, service.backoff * 2)
            if service.restart_at is not None:
                if service.restart_at <= now:
                    self.start(service)
                    if self._ready:
                        self._start_probe([service.name])
                else:
                    due.append(service.restart_at - now)
            elif self._ready:
                self._rotate(service)
        return min(due)

    def run(self) -> int:
        """Start everything and stay until a signal asks for the end; return the exit code."""
        self._watch_signals()
        try:
            for service in self.services.values():
                if service.name in LATER:
                    service.restart_at = self._begun + LATER_SECONDS
                else:
                    self.start(service)
            self._start_probe(list(self.services))
            while not self._stop_signals:
                self._wait(self._look_after())
        except UpError as error:
            self.say(f"bora up: {error}")
            self.stop(quiet=True)
            return error.code
        self.stop()
        return 0

    def stop(self, *, quiet: bool = False) -> None:
        """Stop the services in order: who depends on another goes first."""
        if not quiet:
            self.say("\nStopping: running tasks may finish; Ctrl-C again hands them back at once.")
        if self._probe is not None:
            self._selector.unregister(self._probe.stdout)  # type: ignore[arg-type]
            self._probe.kill()
            self._probe.wait()
            self._probe = None
        hurried = quiet
        for names in STOP_ORDER:
            group = [s for n in names if (s := self.services.get(n)) is not None]
            for service in group:
                self._signal(service, signal.SIGTERM)
            patience = self.order.drain_seconds if "executor" in names and not hurried else 10.0
            deadline = time.monotonic() + patience
            while running := [s for s in group if s.process and s.process.poll() is None]:
                if self._stop_signals > 1 and not hurried:
                    hurried = True
                    deadline = min(deadline, time.monotonic() + 5.0)
                    for service in running:
                        self._signal(service, signal.SIGTERM)
                left = deadline - time.monotonic()
                if left > 0:
                    self._wait(min(left, 1.0))
                    continue
                for service in running:
                    self.say(f"{service.name} did not stop in time and is killed")
                    self._kill(service)
                    if service.process:
                        service.process.wait()
        (self.order.home / "up.json").unlink(missing_ok=True)
        if not quiet:
            self.say("Boraflow is down; its state is kept.")

    def _signal(self, service: Service, number: signal.Signals) -> None:
        if service.process and service.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                service.process.send_signal(number)

    def _kill(self, service: Service) -> None:
        if service.process and service.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(service.process.pid, signal.SIGKILL)


def _go_background() -> int:
    """Fork; the parent waits for the child's word and exits with it. Return the child's pipe."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        word = os.read(reader, 16)
        os._exit(int(word) if word.isdigit() else EXIT_FAILED)
    os.close(reader)
    os.setsid()
    return writer


def wait_for_leftovers(home: Path, seconds: float = 15.0) -> None:
    """Let the services of an ``up`` that was killed come to their end.

    Raises:
        UpError: they do not.
    """
    deadline = time.monotonic() + seconds
    while rest := leftovers(home):
        for _, pid in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            names = ", ".join(f"{n} (process {p})" for n, p in rest)
            raise UpError(f"still running from an earlier start: {names}", EXIT_CONFLICT)
        time.sleep(0.1)


def main() -> int:
    """Run what the argument says."""
    data = json.loads(sys.argv[1])
    order = Order(**{**data, "home": Path(data["home"])})
    pipe: int | None = None
    try:
        lock = take_lock(order.home)
        wait_for_leftovers(order.home)
        for name, address in order.services.items():
            check_port(name, address)
    except UpError as error:
        print(f"bora up: {error}", file=sys.stderr)
        return error.code
    if order.daemon:
        pipe = _go_background()
    supervisor = Supervisor(order, pipe)
    supervisor.say(f"Starting Boraflow in {order.home}")
    code = supervisor.run()
    supervisor.leave(code)
    lock.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
