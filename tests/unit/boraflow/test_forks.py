"""Forks of a zygote leave out the standard library's hooks; forks of a task do not."""

from __future__ import annotations

import json
import subprocess
import sys

_SCRIPT = """
from boraflow.runtime import forks
import json, logging, os, random, sys, threading
from boraflow.runtime import processes

def child(fork, work):
    read, write = os.pipe()
    pid = fork()
    if pid == 0:
        os.write(write, json.dumps(work()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as file:
        return json.load(file)

def draw():
    return random.random()

def drawn_by_a_worker():
    processes.reseed()
    return random.random()

ran = []
os.register_at_fork(after_in_child=lambda: ran.append(1))
state = random.getstate()
out = {
    "ours": [child(forks.fork, draw), child(forks.fork, draw)],
    "workers": [child(forks.fork, drawn_by_a_worker), child(forks.fork, drawn_by_a_worker)],
    "theirs": [child(os.fork, draw), child(os.fork, draw)],
    # A task that has a thread, and forks: the child must not wait for a thread that is not there.
    "threads": None,
    "user_hook": child(forks.fork, lambda: len(ran)),
}

def threads_after_fork():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    logging._acquireLock() if hasattr(logging, "_acquireLock") else None
    found = child(os.fork, threading.active_count)
    stop.set()
    thread.join()
    return found

out["threads"] = child(forks.fork, threads_after_fork)
print(json.dumps(out))
"""


def test_only_our_forks_leave_the_hooks_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert out["ours"][0] == out["ours"][1], "a seed was drawn though nobody asked for it"
    assert len({*out["workers"], *out["theirs"]}) == 4
    assert out["threads"] == 1
    assert out["user_hook"] == 1


def test_importing_it_late_changes_nothing() -> None:
    script = "import os, random, logging, threading\nfrom boraflow.runtime import forks\n" + (
        "register = os.register_at_fork\nread, write = os.pipe()\nstate = random.random\n"
        "pid = forks.fork()\n"
        "if pid == 0:\n    os.write(write, str(random.random()).encode()); os._exit(0)\n"
        "os.waitpid(pid, 0)\nmine = random.random()\n"
        "assert float(os.read(read, 99)) != mine\nassert register.__module__ == 'posix'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
