"""SmtpNotifier: tell people by mail, and the mails of ``email_on_failure`` and ``email_on_retry``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from boraflow._notifier import BaseNotifier
from boraflow.hooks.smtp import Addresses, SmtpHook

#: Subject and body of a mail about a task, unless they are given.
SUBJECT = (
    "{% if ti is defined and ti.task %}DAG {{ ti.dag_id }} - Task {{ ti.task_id }} - Run ID {{ ti.run_id }}"
    " in State {{ ti.state }}{% else %}DAG {{ dag_run.dag_id }} - Run {{ run_id }} in State"
    " {{ dag_run.state }}{% endif %}"
)
BODY = """\
<table>
<tr><td><b>DAG</b></td><td>{{ dag_run.dag_id }}</td></tr>
<tr><td><b>Run</b></td><td>{{ run_id }}</td></tr>
{% if ti is defined and ti.task %}<tr><td><b>Task</b></td><td>{{ ti.task_id }}{% if ti.map_index >= 0 %} [{{ ti.map_index }}]{% endif %}</td></tr>
<tr><td><b>State</b></td><td>{{ ti.state }}, try {{ ti.try_number }} of {{ ti.max_tries + 1 }}</td></tr>
<tr><td><b>Log</b></td><td><a href="{{ ti.log_url }}">{{ ti.log_url }}</a></td></tr>
{% endif %}{% if exception is defined and exception %}<tr><td><b>Error</b></td><td><pre>{{ exception | e }}</pre></td></tr>
{% endif %}</table>
"""


class SmtpNotifier(BaseNotifier):
    """Sends a mail.

    Args:
        to: addresses, in a list or with commas between them.
        from_email: who sends; the connection's ``from_email`` by default.
        subject: headline; by default it says which task has which state.
        html_content: body; by default a table of what happened, with a link to the log.
        files: paths of attachments.
        cc: further addresses.
        bcc: further addresses that the others do not see.
        mime_subtype: of a message with attachments.
        mime_charset: of the body.
        custom_headers: further headers.
        smtp_conn_id: connection of the mail server.
        template: path of a template for the body.
    """

    template_fields = (
        "from_email", "to", "subject", "html_content", "files", "cc", "bcc", "mime_subtype",
        "mime_charset", "custom_headers",
    )  # fmt: skip
    template_ext = (".html",)

    def __init__(
        self,
        to: Addresses,
        from_email: str | None = None,
        subject: str | None = None,
        html_content: str | None = None,
        files: Iterable[str] | None = None,
        cc: Addresses = None,
        bcc: Addresses = None,
        mime_subtype: str = "mixed",
        mime_charset: str = "utf-8",
        custom_headers: dict[str, Any] | None = None,
        smtp_conn_id: str = SmtpHook.default_conn_name,
        auth_type: str = "basic",
        *,
        template: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.smtp_conn_id = smtp_conn_id
        self.auth_type = auth_type
        self.from_email = from_email
        self.to = to
        self.files = None if files is None else list(files)
        self.cc = cc
        self.bcc = bcc
        self.mime_subtype = mime_subtype
        self.mime_charset = mime_charset
        self.custom_headers = custom_headers
        self.subject = subject or SUBJECT
        self.html_content = html_content or template or BODY

    @property
    def hook(self) -> SmtpHook:
        """The hook that sends."""
        return SmtpHook(self.smtp_conn_id, self.auth_type)

    def notify(self, context: Any) -> None:
        """Send the mail."""
        with self.hook as hook:
            hook.send_email_smtp(
                to=self.to,
                subject=self.subject,
                html_content=self.html_content,
                from_email=self.from_email,
                files=self.files,
                cc=self.cc,
                bcc=self.bcc,
                mime_subtype=self.mime_subtype,
                mime_charset=self.mime_charset,
                custom_headers=self.custom_headers,
            )
        self.log.info("Sent a mail to %s: %s", self.to, self.subject)


send_smtp_notification = SmtpNotifier


def send_email(
    to: Addresses,
    subject: str,
    html_content: str,
    files: Iterable[str] | None = None,
    dryrun: bool = False,
    cc: Addresses = None,
    bcc: Addresses = None,
    mime_subtype: str = "mixed",
    mime_charset: str = "utf-8",
    conn_id: str | None = None,
    custom_headers: dict[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Send a mail through the connection ``conn_id``, by default ``smtp_default``."""
    with SmtpHook(conn_id or SmtpHook.default_conn_name) as hook:
        hook.send_email_smtp(
            to=to,
            subject=subject,
            html_content=html_content,
            files=files,
            dryrun=dryrun,
            cc=cc,
            bcc=bcc,
            mime_subtype=mime_subtype,
            mime_charset=mime_charset,
            custom_headers=custom_headers,
            from_email=kwargs.get("from_email"),
        )


def alert(to: Addresses) -> SmtpNotifier:
    """Return the notifier of a task's ``email``.

    ``BORAFLOW_EMAIL_CONN_ID`` names its connection; ``smtp_default`` by default.
    """
    conn_id = os.environ.get("BORAFLOW_EMAIL_CONN_ID") or SmtpHook.default_conn_name
    return SmtpNotifier(to, smtp_conn_id=conn_id)
