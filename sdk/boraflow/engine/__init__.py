"""The scheduling rules, pure: no I/O, no clock, no randomness.

Theory of operation
===================

**Events in, one Ready out.** The shell (the scheduler service, ``dag.test()``, the simulation) tells the
engine what happened, as frozen events, through :meth:`Engine.step`, and asks :meth:`Engine.ready` what to
do. The answer holds at most one commit: every row that changed since the last one. The shell makes it
durable, and only then carries out what comes after it (assignments, cancellations). While a commit is
in flight further events are folded in and gather for the next, so batches form by themselves.

**Records and gates.** A run holds one record per task instance and, per task, *gates*: counts of finished
upstream instances by state. A change of state touches the gates downstream, and nothing else. A gate's
*shape* (which states occur; are all finished) decides every trigger rule, by a table computed at import;
dependents are judged only when a shape changes, so a join of 1,000 tasks is judged a handful of
times. Mapped tasks share gates over all their instances; inside a mapped group each index has its own.

**One table of transitions.** :mod:`~boraflow.engine.transitions` names every cause for which a task may
change its state and where it leads; one function makes the change and keeps the counts. A pair that is
not in the table is a fault and raises, with the task's story.

**Settling.** A step only notes what follows: tasks to judge, runs that may be over, DAGs whose
calendar or queue may go on. These are worked off until nothing is left, so a cascade of 10,000 skips
needs no stack and every event leaves the state whole. :mod:`~boraflow.engine.invariants` says what that
means; tests check it after each step.

**Placement** happens once per commit. Scheduled tasks wait in lanes, one per combination of queue, executor,
pool and pool slots; a round merges the heads of lanes that have room by priority, date and index. What
a run's or a task's own limit blocks is parked with that limit, and woken one by one when it has room.

**Attempts** are what executors are given. One is closed once, in the metastore, by whoever is first. The
engine closes one (lost, cancelled, timed out) by asking for it in a commit, and believes the answer:
a result, its own or the executor's. So there is one way in for an attempt's end,
:func:`boraflow.engine.attempts.closed`, and repeats change nothing. An attempt is *released* when its
process tree is known gone; until then it holds its slot and its task gets no successor.

**What the engine cannot know** (finished runs, custom timetables) it asks for. A piece of work that asks is
a generator: it yields the question, is resumed with the answer, and looks at the state afresh.

**Waiting.** Every state that is not final has a timer (retry, reschedule, not started, timeouts, leases) or
a named condition (upstream tasks, a pool, a limit, an executor, a release); :mod:`~boraflow.engine.explain`
names it. Timers are one heap; the shell sleeps until :meth:`Engine.next_due`.

**Where things are.** What is known: :mod:`~boraflow.engine.records`, the indexes over them in
:mod:`~boraflow.engine.state`. What goes in and out: :mod:`~boraflow.engine.events`,
:mod:`~boraflow.engine.commands`; :mod:`~boraflow.engine.changes` gathers the commit,
:mod:`~boraflow.engine.asking` asks. What people ask for: :mod:`~boraflow.engine.actions`. The rest are
policies, named by their subject: functions over the state.

**Failover.** Nothing here could not be rebuilt from a snapshot of rows: a new leader builds a new engine.
"""

from boraflow.engine.machine import Engine
from boraflow.engine.settings import EngineSettings

__all__ = ["Engine", "EngineSettings"]
