"""Human in the loop: operators that ask people and wait for their answer.

A task that asks waits as ``awaiting_input``: it holds no worker, no pool slot and no lane slot, for days if
need be. People answer in the dashboard or with ``bora hitl respond``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlencode

from boraflow._arguments import as_list, as_seconds
from boraflow._notifier import BaseNotifier
from boraflow._operator import BaseOperator
from boraflow._params import ParamsDict
from boraflow._skip import BranchMixIn, SkipMixin
from boraflow.exceptions import (
    HITLRejectException,
    HITLTimeoutError,
    HITLTriggerEventError,
    InvalidArgument,
    ParamValidationError,
    TaskAwaitingInput,
    suggest,
)

if TYPE_CHECKING:
    from boraflow._context import Context


class HITLUser(TypedDict, total=False):
    """Somebody who may answer: the name of a token, or of a person that the dashboard knows."""

    id: str
    name: str


class HITLOperator(BaseOperator):
    """Ask people to choose, and to fill in a form; the answer is the task's XCom.

    The XCom is ``{"chosen_options": [...], "params_input": {...}, "responded_at": datetime,
    "responded_by_user": {"id", "name"}}``.

    Args:
        subject: the question, templated.
        options: what one may choose.
        body: more about it, Markdown, templated.
        defaults: what is chosen when nobody answers in time; without it the task fails then.
        multiple: whether several options may be chosen.
        params: the form, as a DAG's params; a value is checked when it is answered.
        notifiers: called with the context once the question stands: :class:`~boraflow.BaseNotifier`.
        assigned_users: who may answer: names, or ``{"id", "name"}``; everybody by default.
        response_timeout: how long the task waits; for ever by default.
    """

    template_fields: Any = ("subject", "body")
    template_fields_renderers = {"body": "md"}
    ui_color = "#e4e9f7"

    def __init__(
        self,
        *,
        subject: str,
        options: Sequence[str],
        body: str | None = None,
        defaults: str | Sequence[str] | None = None,
        multiple: bool = False,
        params: ParamsDict | dict[str, Any] | None = None,
        notifiers: Sequence[BaseNotifier] | BaseNotifier | None = None,
        assigned_users: HITLUser | str | Sequence[HITLUser | str] | None = None,
        response_timeout: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(params=params, **kwargs)
        where = f"task '{self.task_id}'"
        self.response_timeout = as_seconds(response_timeout, "response_timeout", where)
        if self.execution_timeout is not None and self.response_timeout is None:
            # What it meant before there was a response_timeout.
            self.response_timeout = self.execution_timeout
            self.execution_timeout = None
        self.subject = subject
        self.body = body
        self.options = [str(o) for o in as_list(options)]
        self.defaults = None if defaults is None else [str(d) for d in as_list(defaults)]
        self.multiple = bool(multiple)
        self.notifiers = as_list(notifiers)
        self.assigned_users: list[dict[str, str]] = [
            {"id": one, "name": one}
            if isinstance(one, str)
            else {k: str(v) for k, v in one.items()}
            for one in as_list(assigned_users)
        ]
        if not self.options:
            raise InvalidArgument(f"options of {where} cannot be empty")
        if "_options" in self.params:
            raise InvalidArgument(f'"_options" is not allowed in params of {where}')
        for default in self.defaults or ():
            if default not in self.options:
                raise InvalidArgument(
                    f"defaults of {where} should be among its options "
                    f"({', '.join(self.options)}); got {default!r}{suggest(default, self.options)}"
                )
        if not self.multiple and len(self.defaults or ()) > 1:
            raise InvalidArgument(
                f"{where} has more than one default, and takes one option only: set multiple=True"
            )
        for notifier in self.notifiers:
            if not callable(notifier):
                raise InvalidArgument(f"notifiers of {where}: {notifier!r} is no notifier")

    @property
    def serialized_params(self) -> dict[str, dict[str, Any]]:
        """The form: name to ``{"value", "schema", "description"}``."""
        return {name: self.params.get_param(name).dump() for name in self.params}

    def execute(self, context: Context) -> Any:
        """Ask, tell the notifiers, and wait."""
        self.log.info("Waiting for response: %s", self.subject)
        for notifier in self.notifiers:
            notifier(context)
        raise TaskAwaitingInput(
            request={
                "subject": str(self.subject),
                "body": None if self.body is None else str(self.body),
                "options": self.options,
                "defaults": self.defaults,
                "multiple": self.multiple,
                "params": self.serialized_params,
                "assigned_users": self.assigned_users,
            },
            method_name="execute_complete",
            timeout=self.response_timeout,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Check the answer and return it."""
        if "error" in event:
            self.process_trigger_event_error(event)
        chosen = list(event["chosen_options"])
        values = dict(event.get("params_input") or {})
        self.validate_chosen_options(chosen)
        self.validate_params_input(values)
        responded_at = event["responded_at"]
        if isinstance(responded_at, str):
            responded_at = datetime.fromisoformat(responded_at)
        user = event.get("responded_by_user")
        self.log.info(
            "%s chose %s", (user or {}).get("name") or "Somebody", ", ".join(chosen) or "nothing"
        )
        return {
            "chosen_options": chosen,
            "params_input": values,
            "responded_at": responded_at,
            "responded_by_user": user,
        }

    def process_trigger_event_error(self, event: dict[str, Any]) -> None:
        """Raise what the waiting ended with."""
        if event.get("error_type") == "timeout":
            raise HITLTimeoutError(str(event["error"]))
        raise HITLTriggerEventError(str(event["error"]))

    def validate_chosen_options(self, chosen_options: Sequence[str]) -> None:
        """Check that the answer is among the options.

        Raises:
            InvalidArgument: it is not.
        """
        wrong = [o for o in chosen_options if o not in self.options]
        if wrong:
            raise InvalidArgument(f"Responses {wrong} not in {self.options}")

    def validate_params_input(self, params_input: Mapping[str, Any]) -> None:
        """Check that the values fit the form.

        Raises:
            ParamValidationError: a value does not, or the form has no such field.
        """
        for name, value in params_input.items():
            if name not in self.params:
                raise ParamValidationError(
                    f"params_input {name!r} does not match params {list(self.params)}"
                )
            self.params[name] = value

    def generate_link_to_ui(
        self,
        *,
        task_instance: Any,
        base_url: str | None = None,
        options: str | Sequence[str] | None = None,
        params_input: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the address of the question in the dashboard, with an answer filled in.

        Args:
            task_instance: the task instance that asks.
            base_url: the dashboard's address; ``BORAFLOW_UI_URL`` by default.
            options: options to choose beforehand.
            params_input: values to fill in.
        """
        chosen = as_list(options)
        self.validate_chosen_options(chosen)
        wrong = [name for name in params_input or () if name not in self.params]
        if wrong:
            raise InvalidArgument(f"params {wrong} are not valid params of '{self.task_id}'")
        base = base_url or os.environ.get("BORAFLOW_UI_URL", "http://127.0.0.1:7780")
        query = {
            "dag_id": task_instance.dag_id,
            "run_id": task_instance.run_id,
            "task_id": task_instance.task_id,
            "map_index": task_instance.map_index,
            "_options": chosen,
            **(params_input or {}),
        }
        return f"{base.rstrip('/')}/task?{urlencode(query, doseq=True)}"

    @staticmethod
    def generate_link_to_ui_from_context(*, context: Context, **kwargs: Any) -> str:
        """Return the same, for the task whose context this is: for notifiers."""
        operator = context["task"]
        if not isinstance(operator, HITLOperator):
            raise InvalidArgument(f"'{operator.task_id}' asks nobody: it is no HITLOperator")
        return operator.generate_link_to_ui(task_instance=context["ti"], **kwargs)


class ApprovalOperator(HITLOperator, SkipMixin):
    """Ask for approval: go on after "Approve", skip what follows after "Reject".

    Args:
        ignore_downstream_trigger_rules: a rejection skips everything downstream, rather than only the
            direct downstreams.
        fail_on_reject: a rejection fails the task instead.
    """

    inherits_from_skipmixin = True
    APPROVE = "Approve"
    REJECT = "Reject"

    def __init__(
        self,
        *,
        ignore_downstream_trigger_rules: bool = False,
        fail_on_reject: bool = False,
        **kwargs: Any,
    ) -> None:
        for name in ("options", "multiple"):
            if name in kwargs:
                raise InvalidArgument(f"Passing {name} to ApprovalOperator is not allowed.")
        super().__init__(options=[self.APPROVE, self.REJECT], multiple=False, **kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules
        self.fail_on_reject = fail_on_reject

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on, skip or fail."""
        answer = super().execute_complete(context, event)
        if answer["chosen_options"] == [self.APPROVE]:
            self.log.info("Approved. Proceeding with downstream tasks...")
            return answer
        if self.fail_on_reject:
            raise HITLRejectException('Receive "Reject"')
        if not self.downstream_task_ids:
            self.log.info("No downstream tasks; nothing to do.")
            return answer
        self.log.info("Skipping downstream tasks")
        self.short_circuit(context["ti"], everything=self.ignore_downstream_trigger_rules)
        return answer


class HITLBranchOperator(HITLOperator, BranchMixIn):
    """Let people choose the branches to follow.

    Args:
        options_mapping: option to the id of a direct downstream task or group; an option that is not in
            it is an id itself.
    """

    inherits_from_skipmixin = True

    def __init__(self, *, options_mapping: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options_mapping = dict(options_mapping or {})
        for option, target in self.options_mapping.items():
            if option not in self.options:
                raise InvalidArgument(
                    f"options_mapping of task '{self.task_id}' contains keys that are not in options: "
                    f"{option!r}{suggest(option, self.options)}"
                )
            if not isinstance(target, str):
                raise InvalidArgument(
                    f"options_mapping values of task '{self.task_id}' must be task ids, not {target!r}"
                )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Follow the chosen branches."""
        answer = super().execute_complete(context, event)
        chosen: list[str] = [
            self.options_mapping.get(str(o), str(o)) for o in answer["chosen_options"]
        ]
        return self.do_branch(context, chosen)


class HITLEntryOperator(HITLOperator):
    """Ask people to fill in a form: the only option is "OK"."""

    OK = "OK"

    def __init__(self, **kwargs: Any) -> None:
        if "options" not in kwargs:
            kwargs["options"] = [self.OK]
            kwargs.setdefault("defaults", [self.OK])
        super().__init__(**kwargs)
