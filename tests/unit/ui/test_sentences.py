"""What the services say in English is said in Korean: each sentence that the engine can make has its template."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import boraflow.engine.explain
from boraflow.engine.transitions import Cause
from boraflow.model.cron import describe
from boraflow.model.timetables import PartitionedAtRuntime
from boraflow_ui import messages, sentences

KO = messages.catalogue("ko")
#: What stands for a value in a sentence, by what is asked for.
SAMPLES = {"iso": "2026-11-22T21:57:25+00:00", "_names": "vm", "_holder": "executor 'vm'"}


def _sample(node: ast.expr) -> list[str]:
    """Return what an expression of the source may say, with samples for its values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*_sample(node.body), *_sample(node.orelse)]
    if isinstance(node, ast.BoolOp):
        return [s for value in node.values for s in _sample(value)]
    if not isinstance(node, ast.JoinedStr):
        return []
    parts = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
            continue
        assert isinstance(part, ast.FormattedValue)
        name = ast.unparse(part.value)
        called = name.partition("(")[0]
        if name in ("until", "reason", "end", "wanted"):
            # Left out where there is none; what they add has templates of its own.
            parts.append(
                {"until": ", until " + SAMPLES["iso"], "reason": ": it is so"}.get(name, "")
            )
        elif name.endswith("state"):
            parts.append("failed")
        else:
            parts.append(SAMPLES.get(called, "'x'" if part.conversion == ord("r") else "7"))
    return ["".join(parts)]


def _explained() -> list[str]:
    tree = ast.parse(Path(boraflow.engine.explain.__file__).read_text())
    found: list[str] = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "answer.add":
                found += _sample(node.args[2])
            elif isinstance(node, ast.Return) and function.name in ("_summary", "_deferred"):
                found += _sample(node.value) if node.value is not None else []
    return found


@pytest.mark.parametrize("sentence", sorted(set(_explained())))
def test_what_explain_says(sentence: str) -> None:
    if " over " in sentence:
        pytest.skip("its parts are below")
    assert sentences.put(sentence, KO) != sentence
    assert sentences.put(sentence, {}) == sentence


def test_enough_of_explain_is_looked_at() -> None:
    assert len(_explained()) > 35


@pytest.mark.parametrize("cause", list(Cause))
def test_why_a_task_moved(cause: Cause) -> None:
    assert sentences.put(f"none -> queued: {cause.value}", KO).startswith("상태 없음 → ")
    assert cause.value not in sentences.put(f"none -> queued: {cause.value}", KO)


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        (
            "It is finished (failed) at 2026-11-22T21:57:25+00:00: ValueError: no rows: none.",
            "2026-11-22T21:57:25+00:00에 끝났습니다(실패): ValueError: no rows: none.",
        ),
        (
            "It has not been scheduled: all_success over failed: a, b and 2 more; skipped: c.",
            "아직 예약되지 않았습니다: all_success, 업스트림 실패: a, b 외 2개; 건너뜀: c.",
        ),
        ("DAG 'etl' is paused", "DAG 'etl'이(가) 일시 중지되어 있습니다"),
        ("a sentence of a user's own {n}", "a sentence of a user's own {n}"),
        ("its run is finished (failed: {x})", "실행이 끝났습니다(실패: {x})"),
    ],
)
def test_a_sentence_with_its_values(english: str, korean: str) -> None:
    assert sentences.put(english, KO) == korean


@pytest.mark.parametrize(
    ("cron", "korean"),
    [
        ("0 6 * * *", "매일 06:00"),
        ("*/5 * * * *", "5분마다"),
        ("0 * * * *", "매시간"),
        ("30 2 * * 1-5", "월요일~금요일 02:30"),
        ("0 6,18 * * sun", "일요일 06:00, 18:00"),
        ("0 0 1 * *", "매월 1일 00:00"),
        ("0 0 l * *", "매월 말일 00:00"),
        ("0 0 1 1 *", "1월 1일 00:00"),
        ("0 0 1 * mon", "매월 1일 또는 월요일 00:00"),
        ("15 */4 * * *", "4시간마다 15분에"),
        # What has no words is shown as it is written.
        ("1-9 3 * * *", "1-9 3 * * *"),
    ],
)
def test_a_schedule(cron: str, korean: str) -> None:
    assert sentences.schedule_in(describe(cron), cron, KO) == korean
    assert sentences.schedule_in(describe(cron), cron, {}) == describe(cron)


@pytest.mark.parametrize(
    ("words", "korean"),
    [
        ("Every 1 day 6 hours", "1일 6시간마다"),
        ("At 06:00, every day; Every hour", "매일 06:00; 매시간"),
        ("Triggered by assets", "자산이 시작시킴"),
        (PartitionedAtRuntime.description, "없음; 파티션은 트리거하는 쪽과 태스크가 정함"),
        ("3 events between 2026-01-01 and 2026-03-01", "2026-01-01부터 2026-03-01까지 이벤트 3개"),
        ("When the moon is full", "When the moon is full"),
    ],
)
def test_other_schedules(words: str, korean: str) -> None:
    assert sentences.schedule_in(words, "moon", KO) == korean
