"""The context of a running task: what templates and functions see of the run.

Values that cost something (dates as pendulum objects, ``macros``, the previous success) are made when they
are first looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from boraflow._clock import from_micros, plain_datetime
from boraflow._params import ParamsDict
from boraflow.airflow.context import OLD_KEYS
from boraflow.exceptions import ParamValidationError

if TYPE_CHECKING:
    from boraflow._dag import DAG
    from boraflow._task_instance import RuntimeTaskInstance


class Context(dict[str, Any]):
    """The context: a dict whose lazy values are made when they are first looked at."""

    __slots__ = ("_lazy",)

    def __init__(self, values: Mapping[str, Any], lazy: dict[str, Callable[[], Any]]) -> None:
        dict.__init__(self, values)
        self._lazy = lazy

    def __missing__(self, key: str) -> Any:
        make = self._lazy.get(key)
        if make is not None:
            value = make()
        elif key in OLD_KEYS and dict.__contains__(self, "ti"):
            value = OLD_KEYS[key](self)
        else:
            raise KeyError(key)
        dict.__setitem__(self, key, value)
        return value

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or key in self._lazy

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def for_kwargs(self, key: str) -> Any:
        """Return a value for ``**kwargs``: what needs a question to the metastore stays unasked."""
        if not dict.__contains__(self, key) and key in _ASKED:
            return Lazy(lambda: self[key])
        return self[key]

    def _fill(self) -> None:
        for key in list(self._lazy):
            if not dict.__contains__(self, key):
                dict.__setitem__(self, key, self.for_kwargs(key))

    def __iter__(self) -> Iterator[str]:
        return iter([*dict.keys(self), *(k for k in self._lazy if not dict.__contains__(self, k))])

    def __len__(self) -> int:
        return len(set(dict.keys(self)) | self._lazy.keys())

    def __delitem__(self, key: str) -> None:
        self._lazy.pop(key, None)
        dict.pop(self, key, None)

    def pop(self, key: str, *default: Any) -> Any:
        try:
            value = self[key]
        except KeyError:
            if default:
                return default[0]
            raise
        del self[key]
        return value

    def keys(self) -> Any:
        self._fill()
        return dict.keys(self)

    def values(self) -> Any:
        self._fill()
        return dict.values(self)

    def items(self) -> Any:
        self._fill()
        return dict.items(self)

    def copy(self) -> Context:
        return Context(dict(dict.items(self)), dict(self._lazy))

    __copy__ = copy

    def __or__(self, other: Any) -> Any:
        merged = self.copy()
        merged.update(other)
        return merged

    def __repr__(self) -> str:
        return f"<Context: {', '.join(self)}>"


_ASKED = frozenset(
    {
        "asset_state_store",
        "prev_data_interval_start_success",
        "prev_data_interval_end_success",
        "prev_start_date_success",
        "prev_end_date_success",
    }
)


class Lazy:
    """Stands for a value that is fetched when it is first used."""

    __slots__ = ("_make", "_value")

    def __init__(self, make: Callable[[], Any]) -> None:
        object.__setattr__(self, "_make", make)

    def _get(self) -> Any:
        try:
            return object.__getattribute__(self, "_value")
        except AttributeError:
            value = object.__getattribute__(self, "_make")()
            object.__setattr__(self, "_value", value)
            return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get(), name)

    def __bool__(self) -> bool:
        return bool(self._get())

    def __eq__(self, other: object) -> bool:
        return bool(self._get() == other)

    def __ne__(self, other: object) -> bool:
        return bool(self._get() != other)

    def __lt__(self, other: Any) -> bool:
        return bool(self._get() < other)

    def __le__(self, other: Any) -> bool:
        return bool(self._get() <= other)

    def __gt__(self, other: Any) -> bool:
        return bool(self._get() > other)

    def __ge__(self, other: Any) -> bool:
        return bool(self._get() >= other)

    def __add__(self, other: Any) -> Any:
        return self._get() + other

    def __sub__(self, other: Any) -> Any:
        return self._get() - other

    def __rsub__(self, other: Any) -> Any:
        return other - self._get()

    def __hash__(self) -> int:
        return hash(self._get())

    def __str__(self) -> str:
        return str(self._get())

    def __repr__(self) -> str:
        return repr(self._get())

    def __format__(self, spec: str) -> str:
        return format(self._get(), spec)

    def __int__(self) -> int:
        return int(self._get())

    def __index__(self) -> int:
        return int(self._get())


_stack: list[Context] = []


def push_context(context: Context) -> None:
    """Make ``context`` the current one."""
    _stack.append(context)


def pop_context() -> None:
    """Undo :func:`push_context`."""
    _stack.pop()


def get_current_context() -> Context:
    """Return the context of the running task.

    Raises:
        RuntimeError: no task is running.
    """
    if not _stack:
        raise RuntimeError(
            "Current context was requested but no context was found! Are you running within a task?"
        )
    return _stack[-1]


def run_params(dag: DAG | None, task: Any, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a run: the DAG's, then the task's, then the run's conf, validated.

    Raises:
        ParamValidationError: names the param that is wrong.
    """
    dag_params = dag.params if dag is not None else None
    task_params = getattr(task, "params", None)
    if not dag_params and not task_params:
        return dict(conf)
    merged = ParamsDict(dag_params)
    if task_params:
        merged = merged.deep_merge(task_params)
    for key, value in conf.items():
        if key in merged:
            try:
                merged[key] = value
            except ParamValidationError as err:
                raise ParamValidationError(f"conf of the run: {err}") from None
    out = merged.validate()
    for key, value in conf.items():
        out.setdefault(key, value)
    return out


def make_context(ti: RuntimeTaskInstance, dag: DAG | None, task: Any) -> Context:
    """Return the context of a running task instance."""
    run = ti._request.run
    values: dict[str, Any] = {
        "dag": dag,
        "inlets": getattr(task, "inlets", []),
        "map_index_template": getattr(task, "map_index_template", None),
        "outlets": getattr(task, "outlets", []),
        "run_id": run.run_id,
        "task": task,
        "task_instance": ti,
        "task_reschedule_count": ti._request.reschedules,
        "test_mode": False,
        "ti": ti,
        "try_number": ti.try_number,
        "partition_key": run.partition_key,
    }
    context = Context(values, {})
    lazy: dict[str, Callable[[], Any]] = context._lazy
    lazy["dag_run"] = lambda: ti.dag_run
    lazy["partition_date"] = lambda: ti.dag_run.partition_date
    lazy["params"] = lambda: run_params(dag, context["task"], run.conf)
    lazy["start_date"] = lambda: ti.start_date
    lazy["macros"] = _macros
    lazy["var"] = _variables
    lazy["conn"] = _connections
    lazy["task_instance_key_str"] = lambda: "__".join(
        [ti.dag_id, ti.task_id, context.get("ds_nodash") or run.run_id]
    )
    lazy["triggering_asset_events"] = lambda: _triggering_events(ti)
    lazy["inlet_events"] = lambda: _inlet_events(context, ti)
    lazy["outlet_events"] = lambda: _outlet_events(context)
    lazy["task_state_store"] = lambda: _task_state(ti)
    lazy["asset_state_store"] = lambda: _asset_states(context, ti)
    lazy["expanded_ti_count"] = lambda: _expanded_count(ti)
    date = run.logical_date
    old = date is None and dag is not None and dag._of_airflow_2
    if old:
        date = run.run_after
    if date is not None:
        plain = plain_datetime(date)
        lazy["logical_date"] = lambda: from_micros(date)
        lazy["ds"] = lambda: plain.strftime("%Y-%m-%d")
        lazy["ds_nodash"] = lambda: plain.strftime("%Y%m%d")
        lazy["ts"] = plain.isoformat
        lazy["ts_nodash"] = lambda: plain.strftime("%Y%m%dT%H%M%S")
        lazy["ts_nodash_with_tz"] = lambda: plain.isoformat().replace("-", "").replace(":", "")
    if run.interval_start is not None:
        lazy["data_interval_start"] = lambda: ti.dag_run.data_interval_start
    elif old:
        lazy["data_interval_start"] = lambda: _inferred_interval(dag, date)[0]
    if run.interval_end is not None:
        lazy["data_interval_end"] = lambda: ti.dag_run.data_interval_end
    elif old:
        lazy["data_interval_end"] = lambda: _inferred_interval(dag, date)[1]
    previous: list[Any] = []

    def prev(name: str) -> Any:
        if not previous:
            previous.append(ti.previous_success() or {})
        return from_micros(previous[0].get(name))

    lazy["prev_data_interval_start_success"] = lambda: prev("interval_start")
    lazy["prev_data_interval_end_success"] = lambda: prev("interval_end")
    lazy["prev_start_date_success"] = lambda: prev("start_date")
    lazy["prev_end_date_success"] = lambda: prev("end_date")
    ti.context = context
    return context


def _inferred_interval(dag: Any, date: Any) -> tuple[Any, Any]:
    import pendulum

    from boraflow.model.timetables import infer_manual_data_interval

    found = infer_manual_data_interval(dag.timetable, plain_datetime(date))
    return pendulum.instance(found.start), pendulum.instance(found.end)


def _triggering_events(ti: RuntimeTaskInstance) -> Any:
    from boraflow._asset_events import TriggeringAssetEvents

    run = ti._request.run
    query = {"triggered_dag_id": run.dag_id, "triggered_run_id": run.run_id}
    return TriggeringAssetEvents(
        lambda: ti._comms.asset_events(query) if run.run_type == "asset_triggered" else ()
    )


def _inlet_events(context: Context, ti: RuntimeTaskInstance) -> Any:
    from boraflow._asset_events import InletEventsAccessors

    return InletEventsAccessors(getattr(context["task"], "inlets", ()), ti._comms)


def _outlet_events(context: Context) -> Any:
    from boraflow._asset_events import OutletEventAccessors

    return OutletEventAccessors(getattr(context["task"], "outlets", ()))


def _task_state(ti: RuntimeTaskInstance) -> Any:
    from boraflow._state_store import TaskStateStoreAccessor

    return TaskStateStoreAccessor(
        {"task": [ti.dag_id, ti.run_id, ti.task_id, ti.map_index]}, ti._comms
    )


def _asset_states(context: Context, ti: RuntimeTaskInstance) -> Any:
    from boraflow._state_store import AssetStateStoreAccessors

    task = context["task"]
    return AssetStateStoreAccessors(
        getattr(task, "inlets", ()), getattr(task, "outlets", ()), ti._comms
    )


def _expanded_count(ti: RuntimeTaskInstance) -> int | None:
    if ti.map_index < 0:
        return None
    return len(ti._paths(ti._scopes_of(ti.task)))


def _macros() -> Any:
    from boraflow import macros

    return macros


def _variables() -> Any:
    from boraflow._variable import VariableNamespace

    return VariableNamespace()


def _connections() -> Any:
    from boraflow._connection import ConnectionAccessor

    return ConnectionAccessor()
