"""The keyword arguments that tasks and DAGs take, for type checkers and editors; imported by nothing else.

``**kwargs: Unpack[OperatorArguments]`` in an operator lets an editor complete ``retries=`` and lets a checker
refuse ``retrys=``. A test holds these classes to the real signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Required, TypedDict

if TYPE_CHECKING:
    from boraflow._dag import DAG
    from boraflow._group import TaskGroup
    from boraflow._params import ParamsDict
    from boraflow.model.states import TriggerRule, WeightRule


class TaskArguments(TypedDict, total=False):
    """What every task takes; see :class:`boraflow.BaseOperator`."""

    task_display_name: str | None
    owner: str
    email: str | Iterable[str] | None
    email_on_retry: bool
    email_on_failure: bool
    retries: int | None
    retry_delay: timedelta | float
    retry_exponential_backoff: float
    max_retry_delay: timedelta | float | None
    retry_policy: Any
    start_date: datetime | None
    end_date: datetime | None
    depends_on_past: bool
    ignore_first_depends_on_past: bool
    wait_for_past_depends_before_skipping: bool
    wait_for_downstream: bool
    dag: DAG | None
    params: Any
    default_args: dict[str, Any] | None
    priority_weight: int
    weight_rule: str | WeightRule | Any
    queue: str
    pool: str | None
    pool_slots: int
    execution_timeout: timedelta | None
    on_execute_callback: Any
    on_failure_callback: Any
    on_success_callback: Any
    on_retry_callback: Any
    on_skipped_callback: Any
    pre_execute: Callable[[Any], None] | None
    post_execute: Callable[[Any, Any], None] | None
    trigger_rule: str | TriggerRule
    resources: dict[str, Any] | None
    run_as_user: str | None
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    executor_config: dict[str, Any] | None
    memory_limit_mb: int | None
    do_xcom_push: bool
    inlets: Any
    outlets: Any
    task_group: TaskGroup | None
    doc: str | None
    doc_md: str | None
    doc_json: str | None
    doc_yaml: str | None
    doc_rst: str | None
    logger_name: str | None
    allow_nested_operators: bool
    render_template_as_native_obj: bool | None


class OperatorArguments(TaskArguments, total=False):
    """What every operator takes beside its own arguments."""

    task_id: Required[str]
    multiple_outputs: bool


class DecoratedArguments(TaskArguments, total=False):
    """What ``@task`` takes: the function's name is the default ``task_id``."""

    task_id: str
    multiple_outputs: bool | None


class PythonArguments(DecoratedArguments, total=False):
    """What a ``@task`` around a Python function takes."""

    templates_dict: dict[str, Any] | None
    templates_exts: Collection[str] | None
    show_return_value_in_logs: bool


class ShortCircuitArguments(PythonArguments, total=False):
    """What ``@task.short_circuit`` takes."""

    ignore_downstream_trigger_rules: bool


class _Sensor(TypedDict, total=False):
    poke_interval: timedelta | float
    timeout: timedelta | float
    soft_fail: bool
    never_fail: bool
    silent_fail: bool
    mode: str
    exponential_backoff: bool
    max_wait: timedelta | float | None


class SqlArguments(OperatorArguments, total=False):
    """What every SQL operator takes beside its own; see :class:`boraflow.operators.sql.BaseSQLOperator`."""

    hook_params: dict[str, Any] | None
    retry_on_failure: bool


class SensorArguments(OperatorArguments, _Sensor, total=False):
    """What every sensor takes beside its own arguments."""


class DecoratedSensorArguments(PythonArguments, _Sensor, total=False):
    """What ``@task.sensor`` takes."""


class DecoratedBashArguments(DecoratedArguments, total=False):
    """What ``@task.bash`` takes."""

    env: dict[str, str] | None
    append_env: bool
    output_encoding: str
    skip_on_exit_code: int | Collection[int] | None
    cwd: str | None
    output_processor: Callable[[str], Any]


class OtherPythonArguments(PythonArguments, total=False):
    """What a ``@task`` that runs in another interpreter takes."""

    serializer: str | None
    string_args: Iterable[str] | None
    expect_airflow: bool
    skip_on_exit_code: int | Collection[int] | None
    env_vars: dict[str, str] | None
    inherit_env: bool
    use_dill: bool


class VirtualenvArguments(OtherPythonArguments, total=False):
    """What ``@task.virtualenv`` takes."""

    requirements: str | Iterable[str] | None
    python_version: str | float | None
    system_site_packages: bool
    pip_install_options: Collection[str] | None
    index_urls: str | Collection[str] | None
    index_urls_from_connection_ids: str | Collection[str] | None
    venv_cache_path: Any


class ExternalPythonArguments(OtherPythonArguments, total=False):
    """What ``@task.external_python`` takes."""

    python: Required[Any]
    expect_pendulum: bool


class DagArguments(TypedDict, total=False):
    """What ``@dag`` takes; see :class:`boraflow.DAG`."""

    description: str | None
    schedule: Any
    start_date: datetime | str | None
    end_date: datetime | str | None
    template_searchpath: Any
    template_undefined: Any
    user_defined_macros: dict[str, Any] | None
    user_defined_filters: dict[str, Callable[..., Any]] | None
    default_args: dict[str, Any] | None
    max_active_tasks: int
    max_active_runs: int
    max_consecutive_failed_dag_runs: int
    dagrun_timeout: timedelta | None
    sla_miss_callback: Any
    catchup: bool
    on_success_callback: Any
    on_failure_callback: Any
    deadline: Any
    doc_md: str | None
    params: ParamsDict | dict[str, Any] | None
    access_control: dict[str, Any] | None
    is_paused_upon_creation: bool | None
    jinja_environment_kwargs: dict[str, Any] | None
    render_template_as_native_obj: bool
    tags: Collection[str] | None
    owner_links: dict[str, str] | None
    auto_register: bool
    fail_fast: bool
    dag_display_name: str | None
    disable_bundle_versioning: bool
    allowed_run_types: Collection[str] | None
    rerun_with_latest_version: bool | None
