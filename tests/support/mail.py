"""A mail server and a web server that keep what they get, on free ports of this machine."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple


class Mail(NamedTuple):
    """A message as it arrived."""

    sender: str
    receivers: list[str]
    message: EmailMessage | Message

    @property
    def body(self) -> str:
        """The text of its (first) part."""
        part: Any = self.message
        while part.is_multipart():
            part = part.get_payload(0)
        return part.get_content()


class _Smtp(socketserver.StreamRequestHandler):
    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self._say("220 test")
        sender, receivers = "", []
        for raw in self.rfile:
            line = raw.decode().strip()
            word, _, rest = line.partition(" ")
            match word.upper():
                case "EHLO" | "HELO":
                    self._say("250 test")
                case "MAIL":
                    sender, receivers = rest.partition("<")[2].partition(">")[0], []
                    self._say("250 ok")
                case "RCPT":
                    address = rest.partition("<")[2].partition(">")[0]
                    if address.startswith("unknown"):
                        self._say("550 nobody of that name")
                    else:
                        receivers.append(address)
                        self._say("250 ok")
                case "DATA":
                    self._say("354 go on")
                    data = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        data += part.removeprefix(b".") if part.startswith(b"..") else part
                    message = message_from_bytes(data, policy=default)
                    self.server.kept.append(Mail(sender, receivers, message))  # type: ignore[attr-defined]
                    self._say("250 kept")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")


class _Http(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        self.server.kept.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(500 if "broken" in self.path else 200)
        self.end_headers()
        self.wfile.write(b"said so")

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""


class _Threaded(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextlib.contextmanager
def _serve(server: Any) -> Iterator[tuple[int, list[Any]]]:
    server.kept = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], server.kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def smtp_server() -> contextlib.AbstractContextManager[tuple[int, list[Mail]]]:
    """Yield the port of a mail server, and the mails it gets."""
    return _serve(_Threaded(("127.0.0.1", 0), _Smtp))


def web_server() -> contextlib.AbstractContextManager[tuple[int, list[tuple[str, Any]]]]:
    """Yield the port of a web server, and (path, JSON body) of what is posted to it."""
    return _serve(HTTPServer(("127.0.0.1", 0), _Http))
