"""Human in the loop: operators that ask people, run by ``dag.test()``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from boraflow import DAG, BaseNotifier, Param
from boraflow.exceptions import BoraflowException, InvalidArgument
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.hitl import (
    ApprovalOperator,
    HITLBranchOperator,
    HITLEntryOperator,
    HITLOperator,
)


def run_of(make: type[HITLOperator], responses: Any = None, **kwargs: Any) -> Any:
    """Run a question with one task after it, and one after that."""
    with DAG("ask") as dag:
        question = make(task_id="ask", subject="Which {{ dag_run.conf['what'] }}?", **kwargs)
        (
            question
            >> EmptyOperator(task_id="left")
            >> EmptyOperator(task_id="end", trigger_rule="none_failed")
        )
        question >> EmptyOperator(task_id="right")
    given = None if responses is None else {"ask": responses}
    return dag.test(run_conf={"what": "way"}, hitl_responses=given)


def test_answer_is_the_xcom() -> None:
    run = run_of(
        HITLOperator,
        {"chosen_options": ["b"], "params_input": {"n": 7}},
        options=["a", "b"],
        params={"n": Param(1, type="integer", minimum=0), "why": "because"},
    )
    answer = run.xcoms["ask"]
    assert answer["chosen_options"] == ["b"]
    assert answer["params_input"] == {"n": 7, "why": "because"}
    assert isinstance(answer["responded_at"], datetime)
    assert answer["responded_by_user"] == {"id": "dag.test", "name": "dag.test"}
    assert run.task_states == dict.fromkeys(("ask", "left", "right", "end"), "success")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("c", "has no option 'c'"),
        (["a", "b"], "takes one option only"),
        ([], "choose one of 'a', 'b'"),
        ({"chosen_options": "a", "params_input": {"n": "x"}}, "'n': 'x' is not of type 'integer'"),
        ({"chosen_options": "a", "params_input": {"m": 1}}, "there is no field 'm' (n)"),
        (5, "must be an option, a list of options"),
    ],
)
def test_wrong_answers_are_refused(answer: Any, words: str) -> None:
    with pytest.raises(BoraflowException) as error:
        run_of(HITLOperator, answer, options=["a", "b"], params={"n": Param(1, type="integer")})
    assert words in str(error.value)


def test_several_options() -> None:
    run = run_of(HITLOperator, ["b", "a"], options=["a", "b", "c"], multiple=True)
    assert run.xcoms["ask"]["chosen_options"] == ["b", "a"]


def test_nobody_is_there() -> None:
    with pytest.raises(BoraflowException, match="nobody is there to answer: pass hitl_responses="):
        run_of(HITLOperator, options=["a", "b"])


def test_timeout_takes_the_defaults() -> None:
    run = run_of(
        HITLOperator,
        options=["a", "b"],
        defaults="b",
        params={"n": 3},
        response_timeout=timedelta(days=2),
    )
    answer = run.xcoms["ask"]
    assert answer["chosen_options"] == ["b"]
    assert answer["params_input"] == {"n": 3}
    assert answer["responded_by_user"]["name"] == "Fallback to defaults"
    task = run.get_task_instance("ask")
    assert task.end_date - task.start_date >= timedelta(days=2)


def test_timeout_without_defaults_fails() -> None:
    run = run_of(HITLOperator, options=["a"], response_timeout=60, retries=0)
    assert run.task_states["ask"] == "failed"
    assert "HITLTimeoutError" in run.get_task_instance("ask").reason
    assert run.task_states["left"] == "upstream_failed"


def test_a_retry_asks_again() -> None:
    run = run_of(HITLOperator, options=["a"], response_timeout=60, retries=1)
    assert run.get_task_instance("ask").try_number == 2


@pytest.mark.parametrize(
    ("arguments", "answer", "states"),
    [
        ({}, "Approve", ("success", "success", "success", "success")),
        ({}, "Reject", ("success", "skipped", "skipped", "success")),
        (
            {"ignore_downstream_trigger_rules": True},
            "Reject",
            ("success", "skipped", "skipped", "skipped"),
        ),
        (
            {"fail_on_reject": True},
            "Reject",
            ("failed", "upstream_failed", "upstream_failed", "upstream_failed"),
        ),
    ],
)
def test_approval(arguments: dict[str, Any], answer: str, states: tuple[str, ...]) -> None:
    run = run_of(ApprovalOperator, answer, **arguments)
    assert tuple(run.task_states[t] for t in ("ask", "left", "right", "end")) == states


def test_branch() -> None:
    run = run_of(
        HITLBranchOperator,
        "Go left",
        options=["Go left", "right"],
        options_mapping={"Go left": "left"},
    )
    assert run.task_states == {
        "ask": "success",
        "left": "success",
        "right": "skipped",
        "end": "success",
    }
    run = run_of(HITLBranchOperator, ["left", "right"], options=["left", "right"], multiple=True)
    assert set(run.task_states.values()) == {"success"}


def test_entry() -> None:
    run = run_of(
        HITLEntryOperator,
        {"chosen_options": ["OK"], "params_input": {"name": "Ada"}},
        params={"name": Param(type="string")},
    )
    assert run.xcoms["ask"]["params_input"] == {"name": "Ada"}


def test_mapped_questions() -> None:
    with DAG("many") as dag:
        HITLOperator.partial(task_id="ask", options=["a", "b"]).expand(subject=["One?", "Two?"])
    run = dag.test(hitl_responses={"ask": "a", "ask[1]": "b"})
    assert [a["chosen_options"] for a in run.xcoms["ask"]] == [["a"], ["b"]]


def test_notifiers_hear_of_it() -> None:
    heard: list[str] = []

    class Notifier(BaseNotifier):
        template_fields = ("message",)

        def __init__(self, message: str) -> None:
            super().__init__()
            self.message = message

        def notify(self, context: Any) -> None:
            link = HITLOperator.generate_link_to_ui_from_context(
                context=context, base_url="https://flow", options="a"
            )
            heard.append(f"{self.message} {link}")

    run = run_of(HITLOperator, "a", options=["a"], notifiers=Notifier("{{ task.subject }}"))
    assert heard == [
        f"Which way? https://flow/task?dag_id=ask&run_id={run.run_id.replace(':', '%3A').replace('+', '%2B')}"
        "&task_id=ask&map_index=-1&_options=a"
    ]


def test_assigned_users() -> None:
    with pytest.raises(BoraflowException, match=r"asks ada, not 'dag\.test'"):
        run_of(HITLOperator, "a", options=["a"], assigned_users="ada")
    users = [{"id": "1", "name": "dag.test"}]
    run = run_of(HITLOperator, "a", options=["a"], assigned_users=users)
    assert run.task_states["ask"] == "success"


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (HITLOperator, {"options": []}, "options of task 'ask' cannot be empty"),
        (HITLOperator, {"options": ["a"], "defaults": "b"}, "should be among its options (a)"),
        (HITLOperator, {"options": ["a", "b"], "defaults": ["a", "b"]}, "more than one default"),
        (HITLOperator, {"options": ["a"], "params": {"_options": 1}}, "not allowed in params"),
        (ApprovalOperator, {"options": ["a"]}, "Passing options to ApprovalOperator"),
        (
            HITLBranchOperator,
            {"options": ["a"], "options_mapping": {"b": "left"}},
            "not in options",
        ),
        (HITLOperator, {"options": ["a"], "response_timeout": "soon"}, "response_timeout of task"),
    ],
)
def test_wrong_arguments(make: type[HITLOperator], arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        make(task_id="ask", subject="?", **arguments)
    assert words in str(error.value)
