"""BaseOperator: what every task is made from, and how its arguments are checked and defaulted.

The arguments that the scheduler must know (:data:`TASK_ARGUMENTS`) are checked in one place,
:func:`boraflow._arguments.task_arguments`, for operators and for mapped operators alike.
"""

from __future__ import annotations

import copy
import functools
import inspect
from abc import ABCMeta
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from boraflow import _source
from boraflow._abstract import AbstractOperator
from boraflow._arguments import check_id, task_arguments
from boraflow._deprecated import OLD_TASK_ARGUMENTS, new_task_arguments
from boraflow._notset import XCOM_RETURN_KEY
from boraflow._params import ParamsDict
from boraflow._setup import SetupTeardownContext
from boraflow._xcom import XComArg
from boraflow.exceptions import (
    InvalidArgument,
    TaskDeferralError,
    TaskDeferralTimeout,
    TaskDeferred,
    UnknownArgument,
    suggest,
)
from boraflow.model.states import TriggerRule, WeightRule

if TYPE_CHECKING:
    import logging

    from boraflow._context import Context
    from boraflow._dag import DAG
    from boraflow._group import TaskGroup
    from boraflow._mapped import OperatorPartial
    from boraflow.triggers.base import BaseTrigger

_registering: list[bool] = [True]
"""Last item False while a mapped task is turned into a real operator, which joins no DAG."""


def _current_dag() -> DAG | None:
    from boraflow._dag_context import DagContext

    return DagContext.get_current_dag()


def _current_group(dag: DAG | None) -> TaskGroup | None:
    from boraflow._group import TaskGroupContext

    return TaskGroupContext.get_current_task_group(dag)


class OperatorMeta(ABCMeta):
    """Wraps each ``__init__`` so that default arguments apply and mistakes are named."""

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Any:
        cls: Any = super().__new__(mcls, name, bases, namespace, **kwargs)
        own_init = namespace.get("__init__")
        if own_init is not None:
            cls.__init__ = wrap_init(cls, own_init)
        fields = namespace.get("template_fields")
        if isinstance(fields, str):
            raise InvalidArgument(
                f"template_fields of {name} must be a list or tuple of names, not the text {fields!r}"
            )
        return cls


@functools.cache
def init_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return all keyword parameters that creating ``cls`` accepts, the class's own first."""
    found: dict[str, inspect.Parameter] = {}
    for klass in cls.__mro__:
        init = klass.__dict__.get("__init__")
        if init is None or klass is object:
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def wrap_init(cls: type, init: Callable[..., None]) -> Callable[..., None]:
    """Return an ``__init__`` that takes default arguments and names mistakes."""
    parameters = list(inspect.signature(init).parameters.values())[1:]
    own = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    own_names = tuple(p.name for p in own)
    required = frozenset(p.name for p in own if p.default is p.empty)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if args:
            raise UnknownArgument(
                f"Use keyword arguments when creating {type(self).__name__}: "
                f"{type(self).__name__}({', '.join(f'{n}=...' for n in own_names[: len(args)])})"
            )
        state = vars(self)
        first = "_creating" not in state
        if first:
            if not OLD_TASK_ARGUMENTS.isdisjoint(kwargs):
                kwargs = new_task_arguments(
                    type(self).__name__, init_parameters(type(self)), kwargs
                )
            state["_creating"] = _Creation(kwargs)
        creation: _Creation = state["_creating"]
        defaults = creation.defaults
        if defaults:
            for name in own_names:
                if name in defaults and name not in kwargs:
                    kwargs[name] = defaults[name]
        if not required <= kwargs.keys():
            missing = sorted(required - kwargs.keys())
            known = init_parameters(type(self))
            odd = [k for k in kwargs if k not in known]
            hint = "".join(f" ('{k}' is no argument{suggest(k, missing)})" for k in odd)
            raise UnknownArgument(
                f"{type(self).__name__}{_named(kwargs)} is missing the keyword argument"
                f"{'s' if len(missing) > 1 else ''} {', '.join(repr(m) for m in missing)}{hint}"
            )
        init(self, **kwargs)
        if first:
            del state["_creating"]
            if _registering[-1]:
                self._set_xcomargs_dependencies()
            state["_created"] = True

    return __init__


def _named(kwargs: dict[str, Any]) -> str:
    return f" '{kwargs['task_id']}'" if "task_id" in kwargs else ""


class _Creation:
    """What holds while one operator is created: its DAG, group and default arguments."""

    __slots__ = ("dag", "defaults", "group", "location")

    def __init__(self, kwargs: dict[str, Any]) -> None:
        if not _registering[-1]:
            self.dag = self.group = None
            self.defaults: dict[str, Any] = dict(kwargs.get("default_args") or {})
            self.location = None
            return
        self.location = _source.user_location()
        dag: DAG | None = kwargs.get("dag")
        group: TaskGroup | None = kwargs.get("task_group")
        if dag is None:
            dag = group.dag if group is not None and group.has_dag() else _current_dag()
        if group is None:
            group = _current_group(dag)
        self.dag = dag
        self.group = group
        self.defaults = merged_default_args(dag, group, kwargs.get("default_args"))


def merged_default_args(
    dag: DAG | None, group: TaskGroup | None, own: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the default arguments that hold for a task: its own win, then its group's, then the DAG's."""
    merged: dict[str, Any] = {}
    if dag is not None and dag.default_args:
        merged.update(dag.default_args)
    if group is not None:
        groups = []
        current: TaskGroup | None = group
        while current is not None:
            groups.append(current)
            current = current.parent_group
        for one in reversed(groups):
            if one.default_args:
                merged.update(one.default_args)
    if own:
        merged.update(own)
    return merged


class BaseOperator(AbstractOperator, metaclass=OperatorMeta):
    """Base class of all operators. Override :meth:`execute`.

    Every argument is by keyword; those that a DAG's or group's ``default_args`` name are filled in.
    """

    template_fields: Collection[str] = ()
    """Names of the attributes that are rendered as templates."""
    template_ext: Sequence[str] = ()
    """Endings of values that name a template file."""
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    operator_extra_links: Collection[Any] = ()
    ui_color: str = "#fff"
    ui_fgcolor: str = "#000"
    shallow_copy_attrs: Sequence[str] = ()
    inherits_from_empty_operator: bool = False
    start_from_trigger: bool = False
    start_trigger_args: Any = None
    supports_lineage = False

    # What __init__ keeps, by name; it fills the instance's dict in one go.
    owner: str
    retry_delay: timedelta
    retry_exponential_backoff: float
    max_retry_delay: timedelta | None
    retry_policy: Any
    depends_on_past: bool
    ignore_first_depends_on_past: bool
    wait_for_past_depends_before_skipping: bool
    wait_for_downstream: bool
    priority_weight: int
    weight_rule: WeightRule
    queue: str
    pool: str
    pool_slots: int
    execution_timeout: timedelta | None
    on_execute_callback: list[Callable[..., Any]]
    on_failure_callback: list[Callable[..., Any]]
    on_success_callback: list[Callable[..., Any]]
    on_retry_callback: list[Callable[..., Any]]
    on_skipped_callback: list[Callable[..., Any]]
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    executor_config: dict[str, Any]
    memory_limit_mb: int | None
    do_xcom_push: bool
    inlets: list[Any]
    outlets: list[Any]
    doc_md: str | None
    render_template_as_native_obj: bool | None
    _pre_execute_hook: Callable[[Any], None] | None
    _post_execute_hook: Callable[[Any, Any], None] | None

    def __init__(
        self,
        *,
        task_id: str,
        task_display_name: str | None = None,
        owner: str = "airflow",
        email: str | Iterable[str] | None = None,
        email_on_retry: bool = True,
        email_on_failure: bool = True,
        retries: int | None = 0,
        retry_delay: timedelta | float = timedelta(seconds=300),
        retry_exponential_backoff: float = 0,
        max_retry_delay: timedelta | float | None = None,
        retry_policy: Any = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        depends_on_past: bool = False,
        ignore_first_depends_on_past: bool = True,
        wait_for_past_depends_before_skipping: bool = False,
        wait_for_downstream: bool = False,
        dag: DAG | None = None,
        params: Any = None,
        default_args: dict[str, Any] | None = None,
        priority_weight: int = 1,
        weight_rule: str | WeightRule = WeightRule.DOWNSTREAM,
        queue: str = "default",
        pool: str | None = None,
        pool_slots: int = 1,
        execution_timeout: timedelta | None = None,
        on_execute_callback: Any = None,
        on_failure_callback: Any = None,
        on_success_callback: Any = None,
        on_retry_callback: Any = None,
        on_skipped_callback: Any = None,
        pre_execute: Callable[[Any], None] | None = None,
        post_execute: Callable[[Any, Any], None] | None = None,
        trigger_rule: str | TriggerRule = TriggerRule.ALL_SUCCESS,
        resources: dict[str, Any] | None = None,
        run_as_user: str | None = None,
        map_index_template: str | None = None,
        max_active_tis_per_dag: int | None = None,
        max_active_tis_per_dagrun: int | None = None,
        executor: str | None = None,
        executor_config: dict[str, Any] | None = None,
        memory_limit_mb: int | None = None,
        do_xcom_push: bool = True,
        multiple_outputs: bool = False,
        inlets: Any = None,
        outlets: Any = None,
        task_group: TaskGroup | None = None,
        doc: str | None = None,
        doc_md: str | None = None,
        doc_json: str | None = None,
        doc_yaml: str | None = None,
        doc_rst: str | None = None,
        logger_name: str | None = None,
        allow_nested_operators: bool = True,
        render_template_as_native_obj: bool | None = None,
        **kwargs: Any,
    ) -> None:
        given = locals()
        del given["self"], given["kwargs"]
        given.pop("__class__", None)
        if kwargs:
            known = list(init_parameters(type(self)))
            parts = [f"'{k}'{suggest(k, known)}" for k in kwargs]
            raise UnknownArgument(
                f"{type(self).__name__} '{task_id}' has no argument {', '.join(parts)}"
            )
        state = vars(self)
        creation: _Creation = state.get("_creating") or _Creation(given)
        group = creation.group
        if _registering[-1]:
            check_id(task_id, "task_id")
            full_id = group.child_id(task_id) if group is not None else task_id
            check_id(full_id, "task_id")
        else:
            full_id = task_id
        where = f"task '{full_id}'"
        for name in (
            "dag",
            "task_group",
            "params",
            "task_display_name",
            "pre_execute",
            "post_execute",
        ):
            given.pop(name)
        given.update(task_arguments(where, given))
        given["task_id"] = full_id
        given["pool"] = given["pool"] or "default_pool"
        state.update(given)
        state["_pre_execute_hook"] = pre_execute
        state["_post_execute_hook"] = post_execute
        state["_task_display_name"] = task_display_name
        state["upstream_task_ids"] = set()
        state["downstream_task_ids"] = set()
        state["_defined_at"] = creation.location
        defaults = creation.defaults
        own_params: dict[str, Any] = {}
        if (
            isinstance(defaults.get("params"), (dict, ParamsDict))
            and params is not defaults["params"]
        ):
            own_params.update(defaults["params"])
        if params:
            own_params.update(
                {k: params.get_param(k) for k in params}
                if isinstance(params, ParamsDict)
                else params
            )
        state["params"] = ParamsDict(own_params) if own_params else ParamsDict()
        state["task_group"] = group
        if self.start_date is None and creation.dag is not None:
            state["start_date"] = creation.dag.start_date
        if self.end_date is None and creation.dag is not None:
            state["end_date"] = creation.dag.end_date
        if group is not None:
            group.add(self)
        if creation.dag is not None:
            self.dag = creation.dag
        if _registering[-1]:
            SetupTeardownContext.note(self)

    # --- arguments as XCom references ---

    def _set_xcomargs_dependencies(self) -> None:
        for name in self.template_fields:
            value = self.__dict__.get(name)
            if value is not None and value.__class__ is not str:
                XComArg.apply_upstream_relationship(self, value)

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)
        state = vars(self)
        if "_created" in state and "_executing" not in state and key in self.template_fields:
            XComArg.apply_upstream_relationship(self, value)

    # --- what a subclass overrides ---

    def execute(self, context: Context) -> Any:
        """Do the work; the return value becomes the task's XCom."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Clean up what a killed task would leave behind: child processes, remote jobs."""

    def pre_execute(self, context: Any) -> None:
        """Run before :meth:`execute`."""
        if self._pre_execute_hook is not None:
            self._pre_execute_hook(context)

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Run after :meth:`execute` with its result."""
        if self._post_execute_hook is not None:
            self._post_execute_hook(context, result)

    def defer(
        self,
        *,
        trigger: BaseTrigger,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | float | None = None,
    ) -> Any:
        """Give the slot back until ``trigger`` fires; then ``method_name`` is called with its event."""
        raise TaskDeferred(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timeout)

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Go on after a deferral."""
        kwargs = dict(next_kwargs or {})
        if next_method == "__fail__":
            error = str(kwargs.get("error") or "Unknown")
            detail = " ".join("".join(kwargs.get("traceback") or ()).split())
            if "Trigger timeout" in (error, detail):
                raise TaskDeferralTimeout("Trigger timeout")
            raise TaskDeferralError(f"{error}: {detail}" if detail else error)
        try:
            method = getattr(self, next_method)
        except AttributeError:
            raise TaskDeferralError(
                f"{self.task_type} '{self.task_id}' deferred to method '{next_method}', which it does not have"
            ) from None
        return method(context, **kwargs)

    # --- templates ---

    def get_template_env(self, dag: DAG | None = None) -> Any:
        """Return the Jinja environment that the task renders with."""
        dag = dag or self._dag
        native = self._renders_native(dag)
        if dag is not None:
            return dag.get_template_env(native=native)
        from boraflow._templates import make_environment

        return make_environment(None, native)

    def _renders_native(self, dag: DAG | None) -> bool:
        own = self.render_template_as_native_obj
        if own is not None:
            return bool(own)
        return bool(dag is not None and dag.render_template_as_native_obj)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render all template fields in place."""
        self._do_render(context, jinja_env, None)

    def _do_render(self, context: Any, jinja_env: Any, seen: set[int] | None) -> None:
        from boraflow._templates import Renderer

        dag = self._dag
        renderer = Renderer(
            context,
            dag=dag,
            native=self._renders_native(dag),
            template_ext=self.template_ext,
            env=jinja_env,
            seen=seen,
        )
        renderer.fields(self, self.template_fields)

    def render_template(
        self,
        content: Any,
        context: Any,
        jinja_env: Any = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Return ``content`` with templates rendered, containers included."""
        from boraflow._templates import Renderer

        dag = self._dag
        return Renderer(
            context,
            dag=dag,
            native=self._renders_native(dag),
            template_ext=self.template_ext,
            env=jinja_env,
            seen=seen_oids,
        ).render(content)

    def resolve_template_files(self) -> None:
        """Read template files into the fields that name them."""
        for name in self.template_fields:
            value = getattr(self, name, None)
            if (
                isinstance(value, str)
                and self.template_ext
                and value.endswith(tuple(self.template_ext))
            ):
                env = self.get_template_env()
                setattr(self, name, env.loader.get_source(env, value)[0])
        self.prepare_template()

    def prepare_template(self) -> None:
        """Change template fields before they are rendered; for subclasses."""

    # --- small things ---

    @property
    def log(self) -> logging.Logger:
        """The task's logger."""
        logger = self.__dict__.get("_log")
        if logger is None:
            import logging

            cls = type(self)
            logger = logging.getLogger(
                self.__dict__.get("logger_name") or f"{cls.__module__}.{cls.__qualname__}"
            )
            vars(self)["_log"] = logger
        return logger

    @property
    def operator_class(self) -> Any:
        return type(self)

    @staticmethod
    def xcom_push(context: Any, key: str, value: Any) -> None:
        """Push an XCom of the running task."""
        context["ti"].xcom_push(key=key, value=value)

    @staticmethod
    def xcom_pull(
        context: Any,
        task_ids: Any = None,
        dag_id: str | None = None,
        key: str = XCOM_RETURN_KEY,
        include_prior_dates: bool | None = None,
    ) -> Any:
        """Pull an XCom of another task."""
        return context["ti"].xcom_pull(
            task_ids=task_ids,
            dag_id=dag_id,
            key=key,
            include_prior_dates=bool(include_prior_dates),
        )

    @classmethod
    def partial(cls, *, task_id: str, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task: ``BashOperator.partial(task_id="x").expand(bash_command=[...])``."""
        from boraflow._mapped import OperatorPartial

        return OperatorPartial.create(cls, task_id=task_id, **kwargs)

    def expand(self, **kwargs: Any) -> Any:
        """Say how mapping is done, since this is not the way."""
        raise TypeError(
            f"call {type(self).__name__}.partial(task_id=...).expand(...) to map an operator"
        )

    @classmethod
    def keeps_op_kwargs(cls) -> bool:
        """Return whether making such an operator does nothing with ``op_kwargs`` but keep them."""
        return False

    def prepare_for_execution(self) -> Self:
        """Return a copy whose fields may be rendered."""
        clone = object.__new__(type(self))
        vars(clone).update(vars(self))
        vars(clone)["_executing"] = True
        return clone

    def unmap(self, resolve: Any = None) -> BaseOperator:
        """Return the operator itself: it is not mapped."""
        return self

    def dry_run(self) -> None:
        """Log the template fields."""
        for name in self.template_fields:
            self.log.info("%s: %s", name, getattr(self, name, None))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        clone = object.__new__(type(self))
        memo[id(self)] = clone
        shallow = {"_dag", "task_group", "_log", *self.shallow_copy_attrs}
        for key, value in self.__dict__.items():
            vars(clone)[key] = value if key in shallow else copy.deepcopy(value, memo)
        return clone

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, AbstractOperator) and self.task_id < other.task_id

    def __repr__(self) -> str:
        task_type = f"{self.task_type}"
        return f"<Task({task_type}): {self.__dict__.get('task_id', '?')}>"


TASK_ARGUMENTS: dict[str, inspect.Parameter] = {
    p.name: p
    for p in list(inspect.signature(BaseOperator.__init__).parameters.values())[1:]
    if p.kind is p.KEYWORD_ONLY
}
"""The arguments of BaseOperator by name."""
