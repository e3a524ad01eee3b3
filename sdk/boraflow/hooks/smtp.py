"""SmtpHook: send mail through a server that a connection names."""

from __future__ import annotations

import mimetypes
import smtplib
import socket
import ssl
from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any, Self

from boraflow.exceptions import BoraflowException
from boraflow.hooks.base import BaseHook

Addresses = str | Iterable[str] | None


def addresses(value: Addresses) -> list[str]:
    """Return addresses given one by one, or with commas or semicolons between them."""
    if value is None:
        return []
    parts = [value] if isinstance(value, str) else list(value)
    return [a.strip() for p in parts for a in p.replace(";", ",").split(",") if a.strip()]


class SmtpHook(BaseHook):
    """A mail server, by a connection of type ``smtp``.

    Its extra may hold ``from_email``, ``disable_ssl`` (default true: plain, with STARTTLS), ``disable_tls`` (no
    STARTTLS either), ``timeout`` (30 s) and ``retry_limit`` (5). Use it as a context manager.
    """

    conn_name_attr = "smtp_conn_id"
    default_conn_name = "smtp_default"
    conn_type = "smtp"
    hook_name = "SMTP"

    def __init__(
        self, smtp_conn_id: str = default_conn_name, auth_type: str = "basic", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if auth_type != "basic":
            raise BoraflowException(f"auth_type of SmtpHook must be 'basic', not {auth_type!r}")
        self.smtp_conn_id = smtp_conn_id
        self.smtp_connection = self.get_connection(smtp_conn_id)
        self._client: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        self.get_conn()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._client is not None:
            try:
                self._client.quit()
            except (OSError, smtplib.SMTPException):
                self._client.close()
            self._client = None

    @property
    def extra(self) -> dict[str, Any]:
        """The connection's extra."""
        return self.smtp_connection.extra_dejson

    @property
    def from_email(self) -> str | None:
        """Who sends, unless a message says."""
        found = self.extra.get("from_email")
        return None if found is None else str(found)

    def _flag(self, name: str, default: bool) -> bool:
        value = self.extra.get(name, default)
        return str(value).lower() in ("1", "true", "yes")

    def get_conn(self) -> smtplib.SMTP:
        """Return the client, connected and logged in.

        Raises:
            BoraflowException: the server cannot be reached, or refuses the login.
        """
        if self._client is not None:
            return self._client
        connection = self.smtp_connection
        timeout = float(self.extra.get("timeout", 30))
        tries = max(int(self.extra.get("retry_limit", 5)), 1)
        secure = not self._flag("disable_ssl", default=True)
        host = connection.host or "localhost"
        port = connection.port or (465 if secure else 25)
        for attempt in range(1, tries + 1):
            try:
                self._client = self._connect(host, port, timeout, secure)
                return self._client
            except smtplib.SMTPAuthenticationError as err:
                raise BoraflowException(
                    f"the mail server {host}:{port} (connection '{self.smtp_conn_id}') refuses the login: {err}"
                ) from None
            except (OSError, smtplib.SMTPException) as err:
                if attempt == tries:
                    raise BoraflowException(
                        f"the mail server {host}:{port} (connection '{self.smtp_conn_id}') cannot be used: {err}"
                    ) from None
        raise AssertionError

    def _connect(self, host: str, port: int, timeout: float, secure: bool) -> smtplib.SMTP:
        trust = ssl.create_default_context()
        # Its default asks a name server, which may take seconds to say nothing.
        name = socket.gethostname()
        if secure:
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, local_hostname=name, timeout=timeout, context=trust
            )
        else:
            client = smtplib.SMTP(host, port, local_hostname=name, timeout=timeout)
            client.ehlo_or_helo_if_needed()
            if not self._flag("disable_tls", default=False) and client.has_extn("starttls"):
                client.starttls(context=trust)
                client.ehlo()
        connection = self.smtp_connection
        if connection.login:
            client.login(connection.login, connection.password or "")
        return client

    def send_email_smtp(
        self,
        *,
        to: Addresses,
        subject: str | None = None,
        html_content: str | None = None,
        from_email: str | None = None,
        files: Iterable[str] | None = None,
        dryrun: bool = False,
        cc: Addresses = None,
        bcc: Addresses = None,
        mime_subtype: str = "mixed",
        mime_charset: str = "utf-8",
        custom_headers: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send one message.

        Args:
            to: addresses, in a list or with commas between them.
            subject: headline.
            html_content: the body.
            from_email: who sends; the connection's ``from_email`` by default.
            files: paths of attachments.
            dryrun: build the message and do not send it.
            cc: further addresses.
            bcc: further addresses that the others do not see.
            mime_subtype: of the message, where it has attachments.
            mime_charset: of the body.
            custom_headers: further headers.
            kwargs: ignored, for Airflow's sake.

        Raises:
            BoraflowException: an address is missing, a file cannot be read, or the server refuses.
        """
        sender = from_email or self.from_email
        if not sender:
            raise BoraflowException(
                "You should provide `from_email` or define it in the extra of the connection "
                f"'{self.smtp_conn_id}'"
            )
        receivers = [*addresses(to), *addresses(cc), *addresses(bcc)]
        if not addresses(to):
            raise BoraflowException("a mail needs an address in `to`")
        message = EmailMessage()
        message["Subject"] = " ".join((subject or "").split())
        message["From"] = sender
        message["To"] = ", ".join(addresses(to))
        if cc:
            message["CC"] = ", ".join(addresses(cc))
        message["Date"] = formatdate(localtime=True)
        message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> ") or None)
        for name, value in (custom_headers or {}).items():
            del message[name]
            message[name] = str(value)
        message.set_content(html_content or "", subtype="html", charset=mime_charset)
        for file in files or ():
            self._attach(message, Path(file), mime_subtype)
        if dryrun:
            return
        try:
            self.get_conn().send_message(message, sender, receivers)
        except smtplib.SMTPException as err:
            raise BoraflowException(
                f"the mail to {', '.join(receivers)} was refused: {err}"
            ) from None

    @staticmethod
    def _attach(message: EmailMessage, path: Path, mime_subtype: str) -> None:
        kind, _ = mimetypes.guess_type(path.name)
        main, _, sub = (kind or "application/octet-stream").partition("/")
        try:
            data = path.read_bytes()
        except OSError as err:
            raise BoraflowException(
                f"the attachment {path} cannot be read: {err.strerror}"
            ) from None
        message.add_attachment(data, maintype=main, subtype=sub, filename=path.name)
        message.set_type(f"multipart/{mime_subtype}")

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the server answers."""
        try:
            with self:
                code, text = self.get_conn().noop()
        except BoraflowException as err:
            return False, str(err)
        return code == 250, text.decode(errors="replace")
