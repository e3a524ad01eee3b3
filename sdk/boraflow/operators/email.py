"""EmailOperator: send a mail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from boraflow._operator import BaseOperator
from boraflow.hooks.smtp import Addresses, SmtpHook

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments


class EmailOperator(BaseOperator):
    """Sends a mail through the connection ``conn_id``; see :class:`~boraflow.hooks.smtp.SmtpHook`.

    Args:
        to: addresses, templated.
        subject: headline, templated.
        html_content: body, templated; one that ends in ``.html`` names a template file.
        from_email: who sends; the connection's ``from_email`` by default.
        files: paths of attachments, templated.
        cc: further addresses, templated.
        bcc: further addresses that the others do not see, templated.
        mime_subtype: of a message with attachments.
        mime_charset: of the body.
        conn_id: connection of the mail server.
        custom_headers: further headers.
    """

    template_fields: Any = (
        "to", "subject", "html_content", "from_email", "files", "cc", "bcc", "mime_subtype",
        "mime_charset", "conn_id",
    )  # fmt: skip
    template_fields_renderers = {"html_content": "html"}
    template_ext = (".html",)
    ui_color = "#e6faf9"

    def __init__(
        self,
        *,
        to: Addresses,
        subject: str,
        html_content: str,
        from_email: str | None = None,
        files: Iterable[str] | None = None,
        cc: Addresses = None,
        bcc: Addresses = None,
        mime_subtype: str = "mixed",
        mime_charset: str = "utf-8",
        conn_id: str = SmtpHook.default_conn_name,
        custom_headers: dict[str, Any] | None = None,
        auth_type: str = "basic",
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.subject = subject
        self.html_content = html_content
        self.from_email = from_email
        self.files: Any = list(files or ())
        self.cc = cc
        self.bcc = bcc
        self.mime_subtype = mime_subtype
        self.mime_charset = mime_charset
        self.conn_id = conn_id
        self.custom_headers = custom_headers
        self.auth_type = auth_type

    def execute(self, context: Context) -> None:
        """Send it."""
        with SmtpHook(self.conn_id, self.auth_type) as hook:
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
