"""What the zygote and the worker need of Linux: who descends from whom, who dies with whom, ending a tree.

Every worker is a *subreaper*: a process that its task started, and that lost its own parent, becomes the
worker's child. When the worker ends they become its zygote's. So a zygote's child that it did not fork is
what a dead worker left behind, whatever session or group it put itself into.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from boraflow.exceptions import BoraflowException

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = int(signal.SIGKILL)
_LINUX = sys.platform == "linux"
# Neither errno nor other threads matter to these calls, which each new worker makes.
_prctl: Callable[..., int] = ctypes.PyDLL(None).prctl if _LINUX else lambda *_: 0

set_handler: Callable[[int, Any], Any] = getattr(signal.signal, "__wrapped__", signal.signal)
"""``signal.signal`` without what the standard library puts around it: that looks for the old handler among its
names, in vain, with an exception: code that a new worker would run, and copy pages of memory for, to no end."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit when it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def become_subreaper() -> None:
    """Adopt descendants that lose their parent."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_oom_score(score: int) -> None:
    """Set how early the kernel ends this process when memory runs out; 1000 is first."""
    with contextlib.suppress(OSError):
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        try:
            os.write(fd, b"%d" % score)
        finally:
            os.close(fd)


def boot_time() -> float:
    """Return seconds on the clock that nobody sets and that a suspended machine does not stop."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _LINUX else time.monotonic()


#: Threads of libraries that stop before a fork and go on after it, by their kernel name: jemalloc's purging
#: thread, which comes with pyarrow and so with pandas.
_FORK_SAFE_THREADS = frozenset({b"jemalloc_bg_thd"})


def thread_count() -> int:
    """Return how many threads this process has, native ones too, but for those that take care of forks."""
    try:
        count = os.stat("/proc/self/task").st_nlink - 2
    except OSError:
        import threading

        return threading.active_count()
    if count > 1:
        for thread in os.listdir("/proc/self/task"):
            path = f"/proc/self/task/{thread}/comm"
            with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123  a fast path
                count -= file.read().strip() in _FORK_SAFE_THREADS
    return count


def has_children() -> bool:
    """Return whether this process has a child, alive or not yet waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children_of(pid: int) -> list[int]:
    """Return the children of a process, of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123  a fast path
                found.extend(map(int, file.read().split()))
    except FileNotFoundError:
        if Path(f"/proc/self/task/{os.getpid()}/children").exists():
            return found  # the process is gone
        return _children_by_scan(pid)
    except (ProcessLookupError, PermissionError):
        pass
    return found


def _children_by_scan(pid: int) -> list[int]:
    """Return the children of a process on a kernel without ``children`` files."""
    found = []
    for entry in os.listdir("/proc") if _LINUX else ():
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path(f"/proc/{entry}/stat").read_bytes()
                if int(stat[stat.rindex(b")") + 2 :].split()[1]) == pid:
                    found.append(int(entry))
    return found


def descendants_of(pid: int) -> list[int]:
    """Return all processes below ``pid``, parents first."""
    found: list[int] = []
    seen = {pid}
    queue = [pid]
    while queue:
        for child in children_of(queue.pop()):
            if child not in seen:
                seen.add(child)
                found.append(child)
                queue.append(child)
    return found


def signal_all(pids: Iterable[int], number: int) -> None:
    """Signal processes; those that are gone do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def name_of(pid: int) -> str:
    """Return the command name of a process, or nothing."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return ""


def end_children(grace: float) -> list[str]:
    """End every descendant of this process: SIGTERM, after ``grace`` seconds SIGKILL. Return what they were."""
    ended: list[str] = []
    termed: set[int] = set()
    deadline = time.monotonic() + grace
    pause = 0.001
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return ended
        below = descendants_of(os.getpid())
        fresh = [p for p in below if p not in termed]
        if fresh:
            ended.extend(f"{name_of(p)} ({p})" for p in fresh)
            termed.update(fresh)
            signal_all(fresh, signal.SIGTERM)
        if time.monotonic() >= deadline:
            signal_all(below, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


_generator: Any = getattr(random, "_inst", None)
_seed: Callable[[Any], Any] = super(random.Random, random.Random).seed


def reseed() -> None:
    """Give a forked process random numbers of its own."""
    if _generator is None:
        random.seed()
    else:
        # What `random.seed()` does, by the generator below it.
        _seed(_generator)
        if _generator.gauss_next is not None:
            _generator.gauss_next = None
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        with contextlib.suppress(Exception):
            numpy_random.seed()


def become_user(name: str, where: str) -> bool:
    """Run as another user from here on, for good; return whether that changed anything.

    Raises:
        BoraflowException: there is no such user, or this process may not become it.
    """
    import pwd

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise BoraflowException(
            f"run_as_user of {where}: there is no user {name!r} on this executor"
        ) from None
    if user.pw_uid == os.geteuid():
        return False
    if os.geteuid() != 0:
        raise BoraflowException(
            f"run_as_user of {where}: only an executor that runs as root may become {name!r}; this one runs "
            f"as {pwd.getpwuid(os.geteuid()).pw_name!r}"
        )
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    # The kernel forgets whose death ends a process when its user changes.
    die_with_parent(os.getppid())
    os.environ.update(HOME=user.pw_dir, USER=name, LOGNAME=name)
    return True
