"""The DAG: a set of tasks, their dependencies and a schedule."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from boraflow import _source
from boraflow._arguments import as_date, check_id
from boraflow._assets import PartitionedAssetTimetable
from boraflow._dag_arguments import (
    as_asset_condition,
    as_callbacks,
    as_count,
    as_deadlines,
    as_doc,
    as_flag,
    as_owner_links,
    as_params,
    as_run_types,
    as_searchpath,
    as_tags,
    as_timeout,
    as_timetable,
)
from boraflow._dag_checks import validate
from boraflow._dag_context import DagContext
from boraflow._dag_graph import partial_subset, topological_sort
from boraflow._deprecated import OLD_DAG_ARGUMENTS, accept_old_dag_arguments, note
from boraflow._group import TaskGroup, raise_duplicate
from boraflow._params import DagParam, ParamsDict
from boraflow.exceptions import (
    FailFastDagInvalidTriggerRule,
    InvalidArgument,
    TaskNotFound,
    UnknownArgument,
    suggest,
)
from boraflow.model.states import TriggerRule

if TYPE_CHECKING:
    from boraflow.model.timetables import Timetable


class DAG:
    """A directed acyclic graph of tasks.

    Use it as a context manager (``with DAG("name"): ...``), pass it to tasks as ``dag=``, or decorate a
    function with ``@dag``. Arguments are Airflow's.
    """

    _data_intervals = False
    """Cron expressions and timedeltas stand for Airflow 2's data intervals (``schedule_interval``)."""
    _of_airflow_2 = False
    """Its file was written for Airflow 2 or 1.10: ``ti.xcom_pull`` without ``task_ids`` means any task, and a run
    always has a date."""
    is_subdag = False
    """Its tasks are another DAG's (``SubDagOperator``)."""

    @accept_old_dag_arguments
    def __init__(
        self,
        dag_id: str,
        *,
        description: str | None = None,
        schedule: Any = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        template_searchpath: str | Iterable[str] | None = None,
        template_undefined: Any = None,
        user_defined_macros: dict[str, Any] | None = None,
        user_defined_filters: dict[str, Callable[..., Any]] | None = None,
        default_args: dict[str, Any] | None = None,
        max_active_tasks: int = 16,
        max_active_runs: int = 16,
        max_consecutive_failed_dag_runs: int = 0,
        dagrun_timeout: timedelta | None = None,
        sla_miss_callback: Any = None,
        catchup: bool = False,
        on_success_callback: Any = None,
        on_failure_callback: Any = None,
        deadline: Any = None,
        doc_md: str | None = None,
        params: ParamsDict | dict[str, Any] | None = None,
        access_control: dict[str, Any] | None = None,
        is_paused_upon_creation: bool | None = None,
        jinja_environment_kwargs: dict[str, Any] | None = None,
        render_template_as_native_obj: bool = False,
        tags: Collection[str] | None = None,
        owner_links: dict[str, str] | None = None,
        auto_register: bool = True,
        fail_fast: bool = False,
        dag_display_name: str | None = None,
        disable_bundle_versioning: bool = False,
        allowed_run_types: Collection[str] | None = None,
        rerun_with_latest_version: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            name = next(iter(kwargs))
            raise UnknownArgument(
                f"DAG '{dag_id}' has no argument '{name}'{suggest(name, argument_names())}"
            )
        where = f"DAG '{dag_id}'"
        self.dag_id = check_id(dag_id, "dag_id")
        self._defined_at = _source.user_location()
        self.module_file = _source.module_file()
        self.fileloc: str = self._defined_at[0]
        self.relative_fileloc: str | None = None
        self.description = description
        self.default_args: dict[str, Any] = dict(default_args or {})
        start = start_date if start_date is not None else self.default_args.get("start_date")
        end = end_date if end_date is not None else self.default_args.get("end_date")
        self.start_date = as_date(start, "start_date", where)
        self.end_date = as_date(end, "end_date", where)
        self.timezone: Any = (
            self.start_date.tzinfo if self.start_date is not None else None
        ) or UTC
        self.schedule = schedule
        self.asset_condition = as_asset_condition(schedule, where)
        self.partition_mapping: dict[str, Any] | None = (
            schedule.as_spec() if isinstance(schedule, PartitionedAssetTimetable) else None
        )
        self.timetable: Timetable = as_timetable(
            schedule, self.timezone, where, data_intervals=self._data_intervals
        )
        self.catchup = as_flag(catchup, "catchup", where)
        self.max_active_tasks = as_count(max_active_tasks, "max_active_tasks", where, 1)
        self.max_active_runs = as_count(max_active_runs, "max_active_runs", where, 1)
        limit = self.timetable.active_runs_limit
        if limit is not None:
            self.max_active_runs = min(self.max_active_runs, limit)
        self.max_consecutive_failed_dag_runs = as_count(
            max_consecutive_failed_dag_runs, "max_consecutive_failed_dag_runs", where, 0
        )
        self.dagrun_timeout = as_timeout(dagrun_timeout, where)
        self.template_searchpath = as_searchpath(template_searchpath, where)
        self.template_undefined = template_undefined
        self.user_defined_macros = user_defined_macros
        self.user_defined_filters = user_defined_filters
        self.jinja_environment_kwargs = jinja_environment_kwargs
        self.render_template_as_native_obj = as_flag(
            render_template_as_native_obj, "render_template_as_native_obj", where
        )
        self.on_success_callback = as_callbacks(on_success_callback, "on_success_callback", where)
        self.on_failure_callback = as_callbacks(on_failure_callback, "on_failure_callback", where)
        self.sla_miss_callback = sla_miss_callback
        if sla_miss_callback is not None:
            note(
                "argument sla_miss_callback of DAG does nothing: SLAs were removed in Airflow 3; use deadline"
            )
        self.deadline = as_deadlines(deadline, where)
        self.doc_md = as_doc(doc_md, self.fileloc)
        self.access_control = access_control
        if access_control is not None:
            note(
                "argument access_control of DAG gives nobody a right: what a person may do is the role of their"
                " token, for all DAGs (docs/guides/secure.md)"
            )
        if is_paused_upon_creation is not None:
            as_flag(is_paused_upon_creation, "is_paused_upon_creation", where)
        self.is_paused_upon_creation = is_paused_upon_creation
        self.tags = as_tags(tags, where)
        self.owner_links = as_owner_links(owner_links, where)
        self.auto_register = auto_register
        self.fail_fast = as_flag(fail_fast, "fail_fast", where)
        self.dag_display_name = dag_display_name or dag_id
        self.disable_bundle_versioning = disable_bundle_versioning
        self.rerun_with_latest_version = rerun_with_latest_version
        self.allowed_run_types = as_run_types(allowed_run_types, where)
        self.params = as_params(self.default_args.pop("params", None), params, where)
        self.task_dict: dict[str, Any] = {}
        self.node_ids: dict[str, Any] = {}
        self.edge_info: dict[str, dict[str, dict[str, Any]]] = {}
        self._edge_lines: dict[tuple[str, str], _source.Location] = {}
        self._environments: dict[bool, Any] = {}
        self.task_group = TaskGroup(None, dag=self)
        self.feeding: dict[str, bool] | None = None
        """The tasks whose return value a mapping reads; set when the file is loaded."""
        self.warnings: tuple[str, ...] = ()
        """What its file writes as an older Airflow had it; set when the file is loaded."""

    # --- identity ---

    def __repr__(self) -> str:
        return f"<DAG: {self.dag_id}>"

    def __hash__(self) -> int:
        return hash(("DAG", self.dag_id))

    def __eq__(self, other: object) -> bool:
        return self is other

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, DAG) and self.dag_id < other.dag_id

    @property
    def folder(self) -> str:
        """Folder of the DAG's file, where its templates are looked up first."""
        return os.path.dirname(os.path.abspath(self.fileloc))  # noqa: PTH100, PTH120

    @property
    def filepath(self) -> str:
        return self.relative_fileloc or self.fileloc

    @property
    def owner(self) -> str:
        """The owners of the tasks."""
        return ", ".join(sorted({t.owner for t in self.tasks}))

    @property
    def schedule_interval(self) -> Any:
        """The schedule, under its name in Airflow 2."""
        return self.schedule

    @property
    def concurrency(self) -> int:
        """``max_active_tasks``, under its name in Airflow 1.10."""
        return self.max_active_tasks

    @property
    def timetable_summary(self) -> str:
        if self.asset_condition is None:
            return self.timetable.summary
        if self.partition_mapping is not None:
            return "Partitioned Asset"
        return f"Asset or {self.timetable.summary}" if self.timetable.can_be_scheduled else "Asset"

    # --- context ---

    def __enter__(self) -> Self:
        DagContext.push(self)
        return self

    def __exit__(self, *exc: object) -> None:
        DagContext.pop()

    # --- tasks ---

    @property
    def tasks(self) -> list[Any]:
        """The tasks in the order in which they were made."""
        return list(self.task_dict.values())

    @property
    def task_ids(self) -> list[str]:
        return list(self.task_dict)

    @property
    def roots(self) -> list[Any]:
        """Tasks without an upstream."""
        return [t for t in self.tasks if not t.upstream_task_ids]

    @property
    def leaves(self) -> list[Any]:
        """Tasks without a downstream."""
        return [t for t in self.tasks if not t.downstream_task_ids]

    @property
    def task_group_dict(self) -> dict[str | None, TaskGroup]:
        return self.task_group.get_task_group_dict()

    def claim_node_id(self, node_id: str, node: Any) -> None:
        """Note that a task or group has this id.

        Raises:
            DuplicateTaskIdFound: another has it.
        """
        existing = self.node_ids.get(node_id)
        if existing is not None and existing is not node:
            raise_duplicate(node, existing, self)
        self.node_ids[node_id] = node

    def add_task(self, task: Any) -> None:
        """Put a task into the DAG."""
        self.claim_node_id(task.task_id, task)
        if self.fail_fast and not task.is_teardown and task.trigger_rule != TriggerRule.ALL_SUCCESS:
            place = task._defined_at or (None, None)
            raise FailFastDagInvalidTriggerRule(
                f"DAG '{self.dag_id}' has fail_fast=True, so its tasks must have the trigger rule all_success; "
                f"'{task.task_id}' has {task.trigger_rule}",
                file=place[0],
                line=place[1],
            )
        self.task_dict[task.task_id] = task
        if task._dag is None:
            task._dag = self
        if task.start_date is None and self.start_date is not None:
            task.start_date = self.start_date
        if task.end_date is None and self.end_date is not None:
            task.end_date = self.end_date
        if task.task_group is None:
            self.task_group.add(task)

    def add_tasks(self, tasks: Iterable[Any]) -> None:
        """Put tasks into the DAG."""
        for task in tasks:
            self.add_task(task)

    def has_task(self, task_id: str) -> bool:
        return task_id in self.task_dict

    def has_task_group(self, task_group_id: str) -> bool:
        return task_group_id in self.task_group_dict

    def get_task(self, task_id: str, include_subdags: bool = False) -> Any:
        """Return a task.

        Raises:
            TaskNotFound: there is none of that id.
        """
        try:
            return self.task_dict[task_id]
        except KeyError:
            raise TaskNotFound(
                f"DAG '{self.dag_id}' has no task '{task_id}'{suggest(str(task_id), list(self.task_dict))}"
            ) from None

    def set_dependency(self, upstream_task_id: str, downstream_task_id: str) -> None:
        """Set a dependency by ids."""
        self.get_task(upstream_task_id).set_downstream(self.get_task(downstream_task_id))

    def note_edge(self, upstream_id: str, downstream_id: str) -> None:
        """Note where in the user's file an edge was set, for error messages."""
        self._edge_lines.setdefault((upstream_id, downstream_id), _source.user_location())

    def get_edge_info(self, upstream_task_id: str, downstream_task_id: str) -> dict[str, Any]:
        return self.edge_info.get(upstream_task_id, {}).get(downstream_task_id, {})

    def set_edge_info(
        self, upstream_task_id: str, downstream_task_id: str, info: dict[str, Any]
    ) -> None:
        """Describe an edge."""
        self.edge_info.setdefault(upstream_task_id, {})[downstream_task_id] = info

    def param(self, name: str, default: Any = None) -> DagParam:
        """Return one of the DAG's params as an argument for tasks."""
        from boraflow._notset import NOTSET

        return DagParam(self, name, NOTSET if default is None else default)

    def topological_sort(self) -> list[Any]:
        """Return the tasks so that each comes after its upstreams, ties by the order of their making.

        Raises:
            AirflowDagCycleException: names the circle and where it closes.
        """
        return topological_sort(self)

    def partial_subset(
        self,
        task_ids: str | Iterable[str],
        include_downstream: bool = False,
        include_upstream: bool = True,
        include_direct_upstream: bool = False,
    ) -> DAG:
        """Return a copy of the DAG with these tasks (ids, or a regular expression) and their neighbours."""
        return partial_subset(
            self,
            task_ids,
            include_downstream=include_downstream,
            include_upstream=include_upstream,
            include_direct_upstream=include_direct_upstream,
        )

    def add_result(self, xcom_arg: Any) -> Any:
        """Make a task's return value the result of the DAG's runs; see :func:`boraflow.result`.

        Raises:
            InvalidArgument: it is not the return value of a task.
        """
        from boraflow._xcom import XCOM_RETURN_KEY, PlainXComArg

        if not isinstance(xcom_arg, PlainXComArg) or xcom_arg.key != XCOM_RETURN_KEY:
            raise InvalidArgument(
                f"the result of DAG '{self.dag_id}' must be what a task returns, not {xcom_arg!r}"
            )
        xcom_arg.operator.returns_dag_result = True
        return xcom_arg

    # --- templates ---

    def get_template_env(self, *, native: bool | None = None, force_sandboxed: bool = False) -> Any:
        """Return the Jinja environment of the DAG's templates; made once."""
        use_native = bool(self.render_template_as_native_obj if native is None else native)
        if force_sandboxed:
            use_native = False
        env = self._environments.get(use_native)
        if env is None:
            from boraflow._templates import make_environment

            env = self._environments[use_native] = make_environment(self, use_native)
        return env

    def resolve_template_files(self) -> None:
        """Read the template files of all tasks."""
        for task in self.tasks:
            if hasattr(task, "resolve_template_files"):
                task.resolve_template_files()

    # --- checks ---

    def validate(self) -> None:
        """Check what only the finished DAG can tell.

        Raises:
            DagFileError: what is wrong, with file and line.
        """
        validate(self)

    # --- dates ---

    def iter_dagrun_infos_between(self, earliest: datetime, latest: datetime) -> Iterator[Any]:
        """Yield the runs that the schedule has between two dates."""
        yield from self.timetable.iter_dagrun_infos_between(earliest, latest)

    def following_schedule(self, dttm: datetime) -> datetime | None:
        """Return the logical date after ``dttm``."""
        from boraflow.model.timetables import DataInterval, TimeRestriction, next_dagrun_info

        interval = DataInterval.exact(dttm)
        info = next_dagrun_info(self.timetable, interval, TimeRestriction(None, None, True), dttm)
        return None if info is None else info.logical_date

    # --- running by itself ---

    def test(
        self,
        run_after: datetime | None = None,
        logical_date: datetime | None = None,
        run_conf: dict[str, Any] | None = None,
        conn_file_path: str | None = None,
        variable_file_path: str | None = None,
        use_executor: bool = False,
        mark_success_pattern: Any = None,
        hitl_responses: Mapping[str, Any] | None = None,
        partition_key: str | None = None,
    ) -> Any:
        """Run the DAG once in this process, without any service or database.

        Tasks run one after another in the main thread, so a breakpoint works. Waits (retries, sensors in
        reschedule mode) pass at once on a virtual clock. Returns the finished run: ``.state``,
        ``.task_states``, ``.xcoms``.

        Args:
            run_after: the earliest date the run may start; now by default.
            logical_date: the run's logical date; now by default. Its data interval is that of a manual run.
            run_conf: the run's conf.
            conn_file_path: a JSON, YAML or ``.env`` file with connections.
            variable_file_path: the same with variables.
            use_executor: accepted for Airflow's sake; there is no executor here.
            mark_success_pattern: tasks whose id matches are marked as success and not run.
            hitl_responses: answers to what tasks ask people, by task id: an option, a list of options, or
                ``{"chosen_options": [...], "params_input": {...}}``. What it does not answer is asked on
                the terminal, or times out.
            partition_key: of a DAG with partitions, which one to run; the run has no logical date then.
        """
        from boraflow.runtime.dagtest import run_dag

        return run_dag(
            self,
            run_after=run_after,
            logical_date=logical_date,
            run_conf=run_conf,
            conn_file_path=conn_file_path,
            variable_file_path=variable_file_path,
            mark_success_pattern=mark_success_pattern,
            hitl_responses=hitl_responses,
            partition_key=partition_key,
        )

    def cli(self) -> None:
        """Run ``bora dags`` for this DAG: ``python my_dag.py test``, ``python my_dag.py trigger --wait``.

        Needs the extra ``cli``.
        """
        from boraflow.cli.main import main

        command, *rest = sys.argv[1:] or ["test"]
        target = [self.dag_id, *rest]
        if command == "test":
            target = [self.fileloc, "--dag-id", self.dag_id, *rest]
        sys.argv = [sys.argv[0], "dags", command, *target]
        main()


def argument_names() -> list[str]:
    """Return the names of the arguments that a DAG takes, former ones last."""
    return [*list(inspect.signature(DAG.__init__).parameters)[1:-1], *OLD_DAG_ARGUMENTS]
