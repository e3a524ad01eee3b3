"""Telling people: mail, Slack and webhooks, as callbacks and by ``email``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, BaseNotifier, task
from boraflow.exceptions import BoraflowException
from boraflow.notifiers.smtp import SmtpNotifier, send_smtp_notification
from boraflow.notifiers.webhook import SlackWebhookNotifier, WebhookNotifier
from boraflow.operators.email import EmailOperator
from tests.support.mail import Mail, smtp_server, web_server


@pytest.fixture
def mails(tmp_path: Path) -> Iterator[tuple[list[Mail], str]]:
    """What a mail server gets, and a file with the connection to it."""
    with smtp_server() as (port, kept):
        path = tmp_path / "connections.json"
        extra = {"from_email": "flow@example.com", "retry_limit": 1, "timeout": 5}
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
        slack = {"conn_type": "slackwebhook", "host": "http://127.0.0.1:1", "password": "T/B/x"}
        dead = {**smtp, "port": 1}
        path.write_text(json.dumps({"smtp_default": smtp, "dead": dead, "slack": slack}))
        yield kept, str(path)


def failing(**arguments: Any) -> DAG:
    with DAG("alarm") as dag:

        @task(retry_delay=1, **arguments)
        def work() -> None:
            raise ValueError("no <luck>")

        work()
    return dag


@pytest.mark.parametrize(
    ("arguments", "states"),
    [
        ({"retries": 1}, ["up_for_retry", "failed"]),
        ({"retries": 1, "email_on_retry": False}, ["failed"]),
        ({"retries": 1, "email_on_failure": False}, ["up_for_retry"]),
        ({}, ["failed"]),
    ],
)
def test_email_arguments(
    mails: tuple[list[Mail], str], arguments: dict[str, Any], states: list[str]
) -> None:
    kept, connections = mails
    failing(email="ada@example.com; bob@example.com", **arguments).test(conn_file_path=connections)
    assert [m.message["Subject"].rpartition(" ")[2] for m in kept] == states
    assert kept[-1].receivers == ["ada@example.com", "bob@example.com"]
    assert kept[-1].sender == "flow@example.com"
    assert "no &lt;luck&gt;" in kept[-1].body
    assert "/task?dag_id=alarm&run_id=" in kept[-1].body.replace("&amp;", "&")


def test_a_mapped_task_sends_mail_too(mails: tuple[list[Mail], str]) -> None:
    kept, connections = mails
    with DAG("alarm") as dag:

        @task(email=["ada@example.com"])
        def work(n: int) -> None:
            assert n != 1

        work.expand(n=[0, 1])
    dag.test(conn_file_path=connections)
    assert len(kept) == 1
    assert "[1]" in kept[0].body


def test_a_mail_that_cannot_be_sent_changes_no_state(
    monkeypatch: pytest.MonkeyPatch, mails: tuple[list[Mail], str]
) -> None:
    monkeypatch.setenv("BORAFLOW_EMAIL_CONN_ID", "dead")
    run = failing(email="ada@example.com", retries=1).test(conn_file_path=mails[1])
    assert run.task_states == {"work": "failed"}
    assert run.get_task_instance("work").try_number == 2
    assert "no <luck>" in run.get_task_instance("work").reason


def test_the_notifier_renders_its_fields(mails: tuple[list[Mail], str]) -> None:
    kept, connections = mails
    notifier = SmtpNotifier(
        to=["{{ dag.dag_id }}@example.com"],
        subject="{{ ti.task_id }} broke",
        html_content="<p>{{ exception }}</p>",
        cc="carl@example.com",
        bcc=["dora@example.com"],
        custom_headers={"X-Flow": "yes"},
    )
    failing(on_failure_callback=[notifier, notifier]).test(conn_file_path=connections)
    assert len(kept) == 2
    mail = kept[0]
    assert mail.receivers == ["alarm@example.com", "carl@example.com", "dora@example.com"]
    assert (mail.message["Subject"], mail.message["X-Flow"]) == ("work broke", "yes")
    assert mail.body.strip() == "<p>no <luck></p>"
    assert "dora" not in mail.message.as_string()


def test_a_dags_callback_mails(mails: tuple[list[Mail], str]) -> None:
    kept, connections = mails
    with DAG("fine", on_success_callback=send_smtp_notification(to="ada@example.com")) as dag:

        @task
        def work() -> int:
            return 1

        work()
    dag.test(conn_file_path=connections)
    assert len(kept) == 1
    assert kept[0].message["Subject"].endswith("in State success")


def test_email_operator_with_an_attachment(mails: tuple[list[Mail], str], tmp_path: Path) -> None:
    kept, connections = mails
    (tmp_path / "report.csv").write_text("a,b\n1,2\n")
    with DAG("mail") as dag:
        EmailOperator(
            task_id="mail",
            to="{{ params.to }}",
            subject="Report\nof {{ ds }}",
            html_content="<b>see below</b>",
            files=[str(tmp_path / "report.csv")],
            params={"to": "ada@example.com"},
        )
    assert dag.test(conn_file_path=connections).state == "success"
    message: Any = kept[0].message
    assert message["Subject"].startswith("Report of 20")
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("report.csv", "a,b\n1,2\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"to": []}, "a mail needs an address in `to`"),
        ({"to": "unknown@example.com"}, "was refused"),
        ({"to": "a@b", "conn_id": "dead"}, "127.0.0.1:1 (connection 'dead') cannot be used"),
        ({"to": "a@b", "conn_id": "nope"}, "nope"),
        (
            {"to": "a@b", "files": ["/nowhere/x.csv"]},
            "the attachment /nowhere/x.csv cannot be read",
        ),
    ],
)
def test_what_goes_wrong_with_a_mail(
    mails: tuple[list[Mail], str], arguments: dict[str, Any], words: str
) -> None:
    with DAG("mail") as dag:
        EmailOperator(task_id="mail", subject="s", html_content="c", **arguments)
    run = dag.test(conn_file_path=mails[1])
    assert run.state == "failed"
    assert words in run.get_task_instance("mail").reason


def test_webhooks() -> None:
    with web_server() as (port, kept):
        url = f"http://127.0.0.1:{port}"
        failing(
            on_failure_callback=[
                WebhookNotifier(f"{url}/{{{{ dag.dag_id }}}}"),
                WebhookNotifier(f"{url}/own", {"what": "{{ ti.task_id }}"}),
                SlackWebhookNotifier(url=f"{url}/slack", text=":x: {{ ti.task_id }}"),
            ]
        ).test()
    (path, body), own, slack = kept
    assert path == "/alarm"
    assert {k: body[k] for k in ("dag_id", "task_id", "state", "error", "try_number")} == {
        "dag_id": "alarm",
        "task_id": "work",
        "state": "failed",
        "error": "ValueError: no <luck>",
        "try_number": 1,
    }
    assert own == ("/own", {"what": "work"})
    assert slack == ("/slack", {"text": ":x: work"})


def test_webhooks_that_fail() -> None:
    with pytest.raises(BoraflowException, match="needs a url or a conn_id"):
        WebhookNotifier()
    with web_server() as (port, _):
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(BoraflowException, match=f"{url} answered 500: said so"):
            WebhookNotifier(f"{url}/broken").notify({})
    with pytest.raises(BoraflowException, match="cannot be reached"):
        WebhookNotifier(f"{url}/gone").notify({})


def test_an_async_notifier() -> None:
    told: list[str] = []

    class Later(BaseNotifier):
        async def async_notify(self, context: Any) -> None:
            told.append(context["ti"].state)

    failing(on_failure_callback=Later()).test()
    assert told == ["failed"]
