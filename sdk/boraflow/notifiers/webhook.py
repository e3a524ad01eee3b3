"""Notifiers that post JSON to a URL: a webhook of any kind, and Slack's (Mattermost's, ...) incoming webhook."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from boraflow._notifier import BaseNotifier
from boraflow.exceptions import BoraflowException
from boraflow.hooks.base import BaseHook


class WebhookNotifier(BaseNotifier):
    """Posts a JSON body to a URL.

    Args:
        url: where to; or else the connection's.
        payload: the body, templated; by default what happened: ``dag_id, run_id, task_id, map_index,
            try_number, state, error, log_url, text``.
        conn_id: connection whose host (an URL) and password (its secret end) make the URL.
        headers: further headers, templated.
        timeout: seconds.
    """

    template_fields = ("url", "payload", "headers")

    def __init__(
        self,
        url: str | None = None,
        payload: dict[str, Any] | None = None,
        *,
        conn_id: str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not url and not conn_id:
            raise BoraflowException(f"{type(self).__name__} needs a url or a conn_id")
        self.url = url
        self.payload = payload
        self.conn_id = conn_id
        self.headers = headers
        self.timeout = timeout

    def body(self, context: Any) -> dict[str, Any]:
        """Return what is posted."""
        return self.payload if self.payload is not None else summary(context)

    def _address(self) -> str:
        url = self.url
        if not url:
            connection = BaseHook.get_connection(str(self.conn_id))
            url = (connection.host or "").rstrip("/")
            if "://" not in url:
                url = f"{connection.schema or 'https'}://{url}"
                if connection.port:
                    url += f":{connection.port}"
            if connection.password:
                url += f"/{connection.password.lstrip('/')}"
        if not url.startswith(("http://", "https://")):
            raise BoraflowException(
                f"the address of {type(self).__name__} must begin with http:// or https://: {url!r}"
            )
        return url

    def notify(self, context: Any) -> None:
        """Post it.

        Raises:
            BoraflowException: the address cannot be reached, or does not answer with 2xx.
        """
        url = self._address()
        place = "/".join(url.split("/")[:3])
        call = urllib.request.Request(
            url,
            data=json.dumps(self.body(context), default=str).encode(),
            headers={
                "Content-Type": "application/json",
                "User-Agent": "boraflow",
                **(self.headers or {}),
            },
            method="POST",
        )
        try:
            with urllib.request.urlopen(call, timeout=self.timeout) as answer:
                self.log.info("%s answered %s", place, answer.status)
        except urllib.error.HTTPError as err:
            said = err.read(500).decode(errors="replace").strip()
            raise BoraflowException(f"{place} answered {err.code}: {said}") from None
        except OSError as err:
            raise BoraflowException(f"{place} cannot be reached: {err}") from None


class SlackWebhookNotifier(WebhookNotifier):
    """Posts a message to a Slack-compatible incoming webhook.

    Args:
        slack_webhook_conn_id: connection whose host is ``https://hooks.slack.com/services`` and whose
            password is the rest of the webhook's URL.
        text: the message, templated.
        blocks: Slack's blocks, templated.
        attachments: Slack's attachments, templated.
        url: the webhook's URL, rather than a connection.
    """

    template_fields = ("url", "text", "blocks", "attachments", "headers")

    def __init__(
        self,
        *,
        slack_webhook_conn_id: str = "slackwebhook_default",
        text: str = "",
        blocks: list[dict[str, Any]] | None = None,
        attachments: list[dict[str, Any]] | None = None,
        url: str | None = None,
        unfurl_links: bool | None = None,
        unfurl_media: bool | None = None,
        timeout: float = 30.0,
        **kwargs: Any,
    ) -> None:
        for name in ("proxy", "retry_handlers"):
            kwargs.pop(name, None)
        super().__init__(url, conn_id=slack_webhook_conn_id, timeout=timeout, **kwargs)
        self.text = text
        self.blocks = blocks
        self.attachments = attachments
        self.unfurl_links = unfurl_links
        self.unfurl_media = unfurl_media

    def body(self, context: Any) -> dict[str, Any]:
        """Return Slack's message."""
        out = {
            "text": self.text
            or ("" if self.blocks or self.attachments else summary(context)["text"]),
            "blocks": self.blocks,
            "attachments": self.attachments,
            "unfurl_links": self.unfurl_links,
            "unfurl_media": self.unfurl_media,
        }
        return {k: v for k, v in out.items() if v is not None and v != ""}


def summary(context: Any) -> dict[str, Any]:
    """Return what happened, as far as the context tells."""
    ti: Any = context.get("ti")
    run: Any = context.get("dag_run")
    error = context.get("exception")
    out: dict[str, Any] = {
        "dag_id": getattr(run, "dag_id", None),
        "run_id": context.get("run_id"),
        "state": str(getattr(run, "state", "")),
        "error": "" if error is None else f"{type(error).__name__}: {error}",
    }
    what = f"Run {out['run_id']} of DAG {out['dag_id']}"
    if getattr(ti, "task", None):
        out |= {
            "state": str(ti.state),
            "task_id": ti.task_id,
            "map_index": ti.map_index,
            "try_number": ti.try_number,
            "log_url": ti.log_url,
        }
        what = f"Task {ti.task_id} of run {out['run_id']} of DAG {out['dag_id']}"
    out["text"] = f"{what}: {out['state']}" + (f" ({out['error']})" if out["error"] else "")
    return out
