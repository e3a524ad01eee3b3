"""Waiting for a run: live progress on standard error, and no waiting for what cannot come."""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Any

from boraflow.cli import output, views
from boraflow.cli.exits import FAILED, INTERRUPTED, OK, PAUSED, TIMEOUT, UNAVAILABLE, Exit

if TYPE_CHECKING:
    from boraflow.client import Client
    from boraflow.client.models import Run, RunUpdate, TaskInstance

NO_EXECUTOR_SECONDS = 60.0
LOOK_SECONDS = 2.0
OUTAGE_SECONDS = 120.0
MANY_TASKS = 200
_ACTIVE = ("queued", "running", "restarting", "deferred")


class _Progress:
    """What is said while waiting; here nothing."""

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def update(self, run: Run, changed: list[TaskInstance], tasks: list[TaskInstance]) -> None:
        """Show a change."""


class _Lines(_Progress):
    """A line per change, for logs and pipes."""

    def __init__(self) -> None:
        self._run_state = ""
        self._said = 0.0

    def update(self, run: Run, changed: list[TaskInstance], tasks: list[TaskInstance]) -> None:
        now = datetime.now(UTC).strftime("%H:%M:%S")
        if run.state != self._run_state:
            self._run_state = run.state
            output.note(f"{now} run {run.run_id}: {run.state}")
        if len(tasks) > MANY_TASKS:
            if time.monotonic() - self._said > 1.0 or run.finished:
                self._said = time.monotonic()
                output.note(f"{now} {_counts(tasks)}")
            return
        for task in changed:
            if task.state == "none":
                continue
            tries = f" (try {task.try_number})" if task.try_number > 1 else ""
            reason = f": {task.reason}" if task.reason else ""
            output.note(f"{now}   {task.label}: {task.state}{tries}{reason}")


class _Screen(_Progress):
    """A table that changes in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)

    def __enter__(self) -> _Screen:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.__exit__(None, None, None)

    def update(self, run: Run, changed: list[TaskInstance], tasks: list[TaskInstance]) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = max(5, self._console.height - 6)
        shown = tasks
        if len(tasks) > rows:  # what moves or failed is what one wants to see
            first = [t for t in tasks if t.state in (*_ACTIVE, "failed", "up_for_retry")]
            rest = [t for t in tasks if t not in first]
            shown = (first + rest)[:rows]
        grid = Table(box=None, pad_edge=False, show_header=False)
        for task in shown:
            begun = task.start_time
            length = task.duration or (
                datetime.now(UTC) - begun if begun and task.state == "running" else None
            )
            tries = f"try {task.try_number}" if task.try_number > 1 else ""
            grid.add_row(
                Text(task.label),
                Text(task.state, style=output.STYLES.get(task.state, "")),
                Text(output.duration(length)),
                Text(tries),
                Text(task.reason, style="bright_black"),
            )
        foot = Text(f"{run.dag_id} {run.run_id}: {run.state}  {_counts(tasks)}", style="bold")
        self._live.update(Group(grid, foot))


def _counts(tasks: list[TaskInstance]) -> str:
    counts = Counter(str(t.state) for t in tasks)
    return ", ".join(f"{n} {state}" for state, n in counts.most_common())


def _progress(quiet: bool) -> _Progress:
    if quiet:
        return _Progress()
    return _Screen() if sys.stderr.isatty() else _Lines()


class _Doubts:
    """Why a run might never end: told once each, and after a while reason enough to stop waiting."""

    def __init__(self, client: Client, dag_id: str, timeout: float | None) -> None:
        self._client = client
        self._dag_id = dag_id
        self._timeout = timeout
        self._said: set[str] = set()
        self._alone_since: float | None = None

    def say(self, text: str) -> None:
        """Say a thing once."""
        if text not in self._said:
            self._said.add(text)
            output.note(f"bora: {text}")

    def look(self, run: Run | None, tasks: list[TaskInstance]) -> None:
        """Look at what a run needs: an unpaused DAG, a leader, an executor.

        Raises:
            Exit: waiting makes no sense.
        """
        from boraflow.client import ApiError

        with contextlib.suppress(ApiError):  # the watch raises it if it lasts
            try:
                state = self._client.system.state(timeout=2.0, patience=0.0)
                dag = self._client.dags.get(self._dag_id)
            except ApiError as error:
                self.say(f"still waiting: {error.message}")
                raise
            if dag.paused and not any(t.state in _ACTIVE for t in tasks):
                raise Exit(
                    PAUSED,
                    f"{self._dag_id} is paused: its run does not go on. `bora dags unpause"
                    f" {self._dag_id}` lets it",
                )
            if not state.has_leader:
                self.say("no scheduler leads: the run waits for one (`bora scheduler`)")
            if any(e.state == "online" for e in state.executors):
                self._alone_since = None
                return
            self.say("no executor is online: the run waits for one (`bora executor`)")
            self._alone_since = self._alone_since or time.monotonic()
            waited = time.monotonic() - self._alone_since
            if self._timeout is None and waited > NO_EXECUTOR_SECONDS:
                where = f" {run.run_id}" if run else ""
                raise Exit(
                    UNAVAILABLE,
                    f"no executor came within {NO_EXECUTOR_SECONDS:g} s; the run{where} is kept and"
                    " goes on once there is one",
                )


def _watch(client: Client, dag_id: str, run_id: str, into: queue.SimpleQueue[Any]) -> None:
    try:
        for update in client.runs.watch(dag_id, run_id, include_tasks=True):
            into.put(update)
        into.put(None)
    except Exception as error:  # noqa: BLE001  raised again by who waits
        into.put(error)


@contextlib.contextmanager
def _interrupts_into(
    updates: queue.SimpleQueue[RunUpdate | BaseException | None],
) -> Iterator[None]:
    """Put an interrupt into the queue as well as raising it.

    Python drops an exception that is raised while a destructor or a callback of gRPC runs.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        updates.put(KeyboardInterrupt())
        signal.default_int_handler(number, frame)

    former = signal.getsignal(signal.SIGINT)
    if former is signal.SIG_IGN:  # a job in the background of a script
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def follow(
    client: Client, dag_id: str, run_id: str, *, timeout: float | None, quiet: bool = False
) -> Run:
    """Wait until a run is finished, with progress.

    Raises:
        Exit: it did not end in time, or cannot end.
        ApiError: the metastore was away for too long.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    # The run does not mind a restart of the metastore, and neither does who waits for it.
    client.patience = OUTAGE_SECONDS
    updates: queue.SimpleQueue[RunUpdate | BaseException | None] = queue.SimpleQueue()
    threading.Thread(target=_watch, args=(client, dag_id, run_id, updates), daemon=True).start()
    doubts = _Doubts(client, dag_id, timeout)
    tasks: dict[tuple[str, int], TaskInstance] = {}
    run: Run | None = None
    looked = time.monotonic() - LOOK_SECONDS + 0.5
    try:
        with _interrupts_into(updates), _progress(quiet) as progress:
            while True:
                now = time.monotonic()
                if deadline is not None and now >= deadline:
                    state = f"; it is {run.state}" if run else ""
                    raise Exit(
                        TIMEOUT, f"run {run_id} of {dag_id} did not end within {timeout:g} s{state}"
                    )
                wait = LOOK_SECONDS - (now - looked)
                if wait <= 0:
                    looked, wait = now, LOOK_SECONDS
                    doubts.look(run, list(tasks.values()))
                if deadline is not None:
                    wait = min(wait, deadline - time.monotonic())
                try:
                    update = updates.get(timeout=max(0.01, min(wait, 0.5)))
                except queue.Empty:
                    if run is not None and sys.stderr.isatty():
                        progress.update(run, [], list(tasks.values()))
                    continue
                if isinstance(update, BaseException):
                    raise update
                if update is None:
                    assert run is not None
                    return run
                run = update.run
                changed = [
                    t
                    for t in update.task_instances
                    if tasks.get((t.task_id, t.map_index)) is None
                    or tasks[t.task_id, t.map_index].state != t.state
                ]
                tasks.update({(t.task_id, t.map_index): t for t in update.task_instances})
                for warning in update.warnings:
                    if "executor" in warning:  # told by the look itself, with what to do
                        continue
                    doubts.say(warning)
                progress.update(run, changed, list(tasks.values()))
    except KeyboardInterrupt:
        raise Exit(
            INTERRUPTED, f"no longer waiting; the run goes on: bora runs wait {dag_id} {run_id}"
        ) from None


def report(client: Client, run: Run, form: output.Format) -> int:
    """Print a finished run with its tasks; return the exit code."""
    tasks = list(client.tasks.iter(run.dag_id, [run.run_id]))
    if form is not output.Format.TABLE:
        output.dump({**views.run(run), "tasks": [views.task(t) for t in tasks]}, form)
    else:
        if len(tasks) <= MANY_TASKS:
            output.table(
                [
                    [
                        t.label,
                        str(t.state),
                        str(t.try_number),
                        output.cell(t.start_time),
                        output.duration(t.duration),
                        t.reason,
                    ]
                    for t in tasks
                ],
                ["task_id", "state", "try", "start_date", "duration", "reason"],
            )
        length = f" in {output.duration(run.duration)}" if run.duration else ""
        counts = _counts(tasks) if len(tasks) > MANY_TASKS else ""
        why = f": {run.reason}" if run.reason and run.state == "failed" else ""
        print(f"Run {run.run_id} of {run.dag_id}: {run.state}{length}{why} {counts}".rstrip())
    if run.state == "success":
        return OK
    for task in [t for t in tasks if t.state == "failed"][:3]:
        _say_error(client, task)
    return FAILED


def _say_error(client: Client, task: TaskInstance) -> None:
    from boraflow.client import ApiError

    with contextlib.suppress(ApiError):
        detail = client.tasks.get(task.dag_id, task.run_id, task.task_id, task.map_index)
        error = next((a.error for a in reversed(detail.attempts) if a.error), task.reason)
        index = f" --map-index {task.map_index}" if task.map_index >= 0 else ""
        output.note(
            f"{task.label} failed: {error or 'no message'}\n"
            f"  log: bora tasks logs {task.dag_id} {task.task_id} {task.run_id}{index}"
        )
