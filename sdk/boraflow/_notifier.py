"""BaseNotifier: a callback as a class, with templates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any


class BaseNotifier:
    """Base of notifiers: override :meth:`notify`. Use an instance as a callback."""

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()

    def __init__(self, **kwargs: Any) -> None:
        self.context: Any = kwargs.get("context")

    @property
    def log(self) -> logging.Logger:
        """The notifier's logger."""
        cls = type(self)
        return logging.getLogger(f"{cls.__module__}.{cls.__qualname__}")

    def notify(self, context: Any) -> None:
        """Send the message."""
        raise NotImplementedError

    async def async_notify(self, context: Any) -> None:
        """Send the message, where an event loop runs."""
        import asyncio

        await asyncio.to_thread(self.notify, context)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render the template fields in place."""
        from boraflow._templates import Renderer

        dag = context.get("dag") if context is not None else None
        Renderer(context or {}, dag=dag, template_ext=self.template_ext, env=jinja_env).fields(
            self, self.template_fields
        )

    def __call__(self, *args: Any) -> None:
        """Render and send; called with the context."""
        import copy

        context = args[0] if len(args) == 1 else {"context": args}
        clone = copy.copy(self)
        clone.context = context
        clone.render_template_fields(context)
        if (
            type(self).notify is BaseNotifier.notify
            and type(self).async_notify is not BaseNotifier.async_notify
        ):
            import asyncio

            asyncio.run(clone.async_notify(context))
            return
        clone.notify(context)


def mails(task: Any, word: str) -> bool:
    """Say whether a task wants a mail when a try has ended so."""
    wanted = {"failure": "email_on_failure", "retry": "email_on_retry"}.get(word)
    return bool(wanted and getattr(task, "email", None) and getattr(task, wanted, True))
