"""Every cell of the measured truth table: parents finished first, then the child was judged."""

from __future__ import annotations

import itertools

import pytest

from boraflow.engine.events import ClearTasks, MarkTasks
from boraflow.engine.readiness import DONE, Verdict, rule_verdict
from boraflow.model.spec import TaskSpec
from boraflow.model.states import TaskState, TriggerRule
from tests.support.engine import World, dag, task

COLUMNS = ["S", "F", "K", "U", "SS", "SF", "SK", "SU", "FF", "FK", "FU", "KK", "KU", "UU"]
TABLE = """
all_success                 run uf skip uf run uf skip uf uf uf uf skip uf uf
all_failed                  skip run skip run skip skip skip skip run skip run skip skip run
all_done                    run run run run run run run run run run run run run run
all_skipped                 skip skip run skip skip skip skip skip skip skip skip run skip skip
one_success                 run uf skip uf run run run run uf uf uf skip uf uf
one_failed                  skip run skip run skip run skip run run run run skip run run
one_done                    run run skip skip run run run run run run run skip skip skip
none_failed                 run uf run uf run uf run uf uf uf uf run uf uf
none_failed_min_one_success run uf skip uf run uf run uf uf uf uf skip uf uf
none_skipped                run run skip run run run skip run run skip run skip skip run
always                      run run run run run run run run run run run run run run
all_done_min_one_success    run uf skip uf run run skip run uf skip uf skip skip uf
all_done_setup_success      run run run run run run run run run run run run run run
"""
CELLS = [
    (line.split()[0], column, verdict)
    for line in TABLE.strip().splitlines()
    for column, verdict in zip(COLUMNS, line.split()[1:], strict=True)
]
STATES = {"S": "success", "F": "failed", "K": "skipped", "U": "upstream_failed"}
EXPECTED = {"run": "queued", "skip": "skipped", "uf": "upstream_failed"}


def parent(name: str, letter: str) -> list[TaskSpec]:
    if letter == "U":
        return [task(f"{name}_up"), task(name, f"{name}_up")]
    return [task(name)]


@pytest.mark.parametrize(("rule", "column", "verdict"), CELLS)
def test_measured_cell(rule: str, column: str, verdict: str):
    specs: list[TaskSpec] = []
    for i, letter in enumerate(column):
        specs += parent(f"p{i}", letter)
    names = [f"p{i}" for i in range(len(column))]
    # A parent that holds the run open: the child is cleared while its run is running.
    w = World(dag(*specs, task("child", names, rule), task("open")), slots=20)
    w.trigger()
    for i, letter in enumerate(column):
        name = f"p{i}"
        if letter == "U":
            w.fail(f"{name}_up")
        else:
            outcome = {"S": w.finish, "F": w.fail, "K": w.skip}[letter]
            outcome(name)
    assert [w.state(n) for n in names] == [STATES[c] for c in column]
    if w.state("child") == "queued":
        w.finish("child")
    w.ok(ClearTasks("d", ("r1",), ("child",)))
    assert w.state("child") == EXPECTED[verdict]


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_no_upstream_means_runnable(rule: TriggerRule):
    w = World(dag(task("a", rule=rule.value)))
    w.trigger()
    assert w.held() == ["a"]


@pytest.mark.parametrize(
    ("rule", "first", "verdict"),
    [
        ("all_success", "F", "upstream_failed"),
        ("all_success", "K", "skipped"),
        ("all_failed", "S", "skipped"),
        ("all_skipped", "F", "skipped"),
        ("one_success", "S", "queued"),
        ("one_success", "F", "none"),
        ("one_failed", "F", "queued"),
        ("one_done", "S", "queued"),
        ("one_done", "K", "none"),
        ("none_failed", "F", "upstream_failed"),
        ("none_failed", "K", "none"),
        ("none_skipped", "K", "skipped"),
        ("none_skipped", "S", "none"),
        ("all_done_min_one_success", "K", "skipped"),
        ("all_done_min_one_success", "S", "none"),
        ("all_done", "S", "none"),
        ("always", "S", "queued"),
    ],
)
def test_early_verdicts(rule: str, first: str, verdict: str):
    w = World(dag(task("a"), task("b"), task("c", "a b", rule)))
    w.trigger()
    {"S": w.finish, "F": w.fail, "K": w.skip}[first]("a")
    assert w.state("c") == verdict


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_verdicts_are_final_only_when_nothing_can_change_them(rule: TriggerRule):
    """A verdict that does not wait must hold whatever the others do, but for the documented races."""
    racing = {TriggerRule.ALL_SUCCESS, TriggerRule.ALL_FAILED, TriggerRule.ALL_SKIPPED,
              TriggerRule.NONE_FAILED, TriggerRule.NONE_SKIPPED,
              TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, TriggerRule.ALL_DONE_MIN_ONE_SUCCESS}  # fmt: skip
    for shape in range(32):
        early = rule_verdict(rule, shape)
        late = rule_verdict(rule, shape | DONE)
        if shape and shape != 16:
            assert late is not Verdict.WAIT or rule is TriggerRule.ALL_SKIPPED
        if early is Verdict.RUN:
            assert late is Verdict.RUN
        elif early is not Verdict.WAIT:
            assert rule in racing


def test_a_join_of_many_is_judged_a_handful_of_times(monkeypatch: pytest.MonkeyPatch):
    from boraflow.engine import readiness

    names = [f"t{i}" for i in range(120)]
    w = World(dag(*(task(n) for n in names), task("join", names), max_active_tasks=500), slots=300)
    w.trigger()
    judged = []
    real = readiness.evaluate
    monkeypatch.setattr(
        readiness, "evaluate", lambda s, t: (judged.append(t.row.task_id), real(s, t))
    )
    w.finish(*names)
    assert w.held() == ["join"]
    assert judged.count("join") <= 3


def test_a_long_cascade_of_skips_needs_no_stack():
    n = 3000
    chain = [task(f"t{i}", [f"t{i - 1}"] if i else []) for i in range(n)]
    w = World(dag(*chain))
    w.trigger()
    w.skip("t0")
    assert w.state(f"t{n - 1}") == "skipped"
    assert w.run_state() == "success"


def test_marking_a_parent_counts_like_running_it():
    w = World(dag(task("a"), task("b"), task("c", "a b")))
    w.trigger()
    w.finish("a")
    w.ok(MarkTasks("d", "r1", ("b",), TaskState.SUCCESS))
    assert "c" in w.held()


def test_all_pairs_of_rules_and_three_parents_reach_an_end():
    for rule, letters in itertools.product(TriggerRule, itertools.product("SFK", repeat=3)):
        w = World(dag(task("a"), task("b"), task("c"), task("j", "a b c", rule.value)))
        w.trigger()
        for name, letter in zip("abc", letters, strict=True):
            {"S": w.finish, "F": w.fail, "K": w.skip}[letter](name)
        w.run_all()
        assert w.run_state() in ("success", "failed")
