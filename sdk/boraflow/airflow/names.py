"""Which Boraflow object stands behind which Airflow name: data, read by :mod:`boraflow.airflow.hook`.

An entry reads ``module: name name old=new``; ``module: *`` is all public names of a module. Objects are never
copied or wrapped, so an old and a new path give the very same class. A name whose object Boraflow does not have
(yet) is answered with an ImportError that says so: listing it here before its time does no harm.
"""

from __future__ import annotations

AIRFLOW_VERSION = "3.3.2"
"""The Airflow release whose authoring API this is; what ``airflow.__version__`` says."""
SDK_VERSION = "1.3.2"

_ASSETS = "boraflow: Asset AssetAccessControl AssetAlias AssetAll AssetAny AssetWatcher"
_PARTITION_MAPPERS = (
    "boraflow: AllowedKeyMapper ChainMapper FanOutMapper FixedKeyMapper IdentityMapper PartitionMapper"
    " ProductMapper RollupMapper StartOfDayMapper StartOfHourMapper StartOfMonthMapper"
    " StartOfQuarterMapper StartOfWeekMapper StartOfYearMapper MinimumCount WaitForAll WaitPolicy DayWindow"
    " HourWindow MonthWindow QuarterWindow SegmentWindow WeekWindow Window YearWindow"
)
_TEMPORAL_MAPPERS = (
    "boraflow: FanOutMapper StartOfDayMapper StartOfHourMapper StartOfMonthMapper StartOfQuarterMapper"
    " StartOfWeekMapper StartOfYearMapper"
)
_WAIT_POLICIES = "boraflow: MinimumCount WaitForAll WaitPolicy"
_WINDOWS = (
    "boraflow: DayWindow HourWindow MonthWindow QuarterWindow SegmentWindow WeekWindow Window"
    " YearWindow"
)
_TIMETABLE_BASE = "boraflow.model.timetables: DagRunInfo DataInterval TimeRestriction Timetable BaseTimetable=Timetable"
_TRIGGER_TIMETABLES = (
    "boraflow: CronPartitionTimetable CronTriggerTimetable DeltaTriggerTimetable"
    " MultipleCronTriggerTimetable"
)
_INTERVAL_TIMETABLES = "boraflow: CronDataIntervalTimetable DeltaDataIntervalTimetable"
_ASSET_TIMETABLES = "boraflow: AssetOrTimeSchedule PartitionedAssetTimetable PartitionedAtRuntime"
_SIMPLE_TIMETABLES = "boraflow.model.timetables: NullTimetable OnceTimetable ContinuousTimetable"
_STATE_ENUMS = "boraflow: DagRunState TaskInstanceState"
_SKIP = "boraflow._skip: SkipMixin BranchMixIn"
_XCOM_KEY = "boraflow._notset: XCOM_RETURN_KEY"

CURRENT: dict[str, tuple[str, ...]] = {
    # --- the root
    "airflow": (
        "boraflow: DAG XComArg AirflowException",
        "boraflow.airflow.names: __version__=AIRFLOW_VERSION",
    ),
    "airflow.version": ("boraflow.airflow.names: version=AIRFLOW_VERSION",),
    # --- airflow.sdk
    "airflow.sdk": (
        "boraflow: *",
        "boraflow.airflow.names: __version__=SDK_VERSION",
        "boraflow._edges: EdgeModifier",
        _SKIP,
        "boraflow._task_instance: TaskInstance=RuntimeTaskInstance",
        "boraflow.airflow.conf: conf",
        "boraflow.airflow.xcom: BaseXCom",
        "boraflow._links: BaseOperatorLink",
        "boraflow.airflow.priority: PriorityWeightStrategy",
    ),
    "airflow.sdk.bases.branch": ("boraflow: BaseBranchOperator", _SKIP),
    "airflow.sdk.bases.decorator": (
        "boraflow._task: DecoratedOperator TaskDecorator TaskDecoratorCollection task_decorator_factory",
    ),
    "airflow.sdk.bases.hook": ("boraflow: BaseHook",),
    "airflow.sdk.bases.notifier": ("boraflow: BaseNotifier",),
    "airflow.sdk.bases.operator": (
        "boraflow: BaseAsyncOperator BaseOperator chain chain_linear cross_downstream",
    ),
    "airflow.sdk.bases.operatorlink": ("boraflow._links: BaseOperatorLink",),
    "airflow.sdk.bases.resumablejobmixin": ("boraflow: ResumableJobMixin",),
    "airflow.sdk.bases.sensor": (
        "boraflow: BaseSensorOperator PokeReturnValue",
        "boraflow.sensors.base: poke_mode_only",
    ),
    "airflow.sdk.bases.skipmixin": (_SKIP,),
    "airflow.sdk.bases.timetable": (_TIMETABLE_BASE,),
    "airflow.sdk.bases.xcom": ("boraflow.airflow.xcom: BaseXCom",),
    "airflow.sdk.configuration": ("boraflow.airflow.conf: conf",),
    "airflow.sdk.definitions._internal.types": (
        "boraflow._notset: NOTSET ArgNotSet is_arg_set",
        "boraflow.airflow.provider_base: SET_DURING_EXECUTION",
    ),
    "airflow.sdk.definitions.asset": (
        _ASSETS,
        "boraflow: Metadata Dataset=Asset",
        "boraflow._assets: AssetRef BaseAsset",
    ),
    "airflow.sdk.definitions.asset.decorators": ("boraflow: asset",),
    "airflow.sdk.definitions.asset.metadata": ("boraflow: Metadata",),
    "airflow.sdk.definitions.callback": ("boraflow: AsyncCallback SyncCallback",),
    "airflow.sdk.definitions.connection": ("boraflow: Connection",),
    "airflow.sdk.definitions.context": (
        "boraflow: Context get_current_context get_parsing_context",
        "boraflow.airflow.context: context_merge",
    ),
    "airflow.sdk.definitions.dag": ("boraflow: DAG dag",),
    "airflow.sdk.definitions.deadline": (
        "boraflow: BaseDeadlineReference DeadlineAlert DeadlineReference deadline_reference",
    ),
    "airflow.sdk.definitions.decorators": ("boraflow: result setup task task_group teardown",),
    "airflow.sdk.definitions.decorators.task_group": ("boraflow: task_group",),
    "airflow.sdk.definitions.edges": ("boraflow._edges: EdgeModifier Label",),
    "airflow.sdk.definitions.mappedoperator": ("boraflow._mapped: MappedOperator OperatorPartial",),
    "airflow.sdk.definitions.param": ("boraflow._params: Param ParamsDict DagParam",),
    "airflow.sdk.definitions.partition_mappers": (_PARTITION_MAPPERS,),
    "airflow.sdk.definitions.partition_mappers.allowed_key": ("boraflow: AllowedKeyMapper",),
    "airflow.sdk.definitions.partition_mappers.base": ("boraflow: PartitionMapper RollupMapper",),
    "airflow.sdk.definitions.partition_mappers.chain": ("boraflow: ChainMapper",),
    "airflow.sdk.definitions.partition_mappers.fixed_key": ("boraflow: FixedKeyMapper",),
    "airflow.sdk.definitions.partition_mappers.identity": ("boraflow: IdentityMapper",),
    "airflow.sdk.definitions.partition_mappers.product": ("boraflow: ProductMapper",),
    "airflow.sdk.definitions.partition_mappers.temporal": (_TEMPORAL_MAPPERS,),
    "airflow.sdk.definitions.partition_mappers.wait_policy": (_WAIT_POLICIES,),
    "airflow.sdk.definitions.partition_mappers.window": (_WINDOWS,),
    "airflow.sdk.definitions.retry_policy": (
        "boraflow: ExceptionRetryPolicy RetryAction RetryDecision RetryPolicy RetryRule",
    ),
    "airflow.sdk.definitions.taskgroup": ("boraflow._group: TaskGroup MappedTaskGroup",),
    "airflow.sdk.definitions.template": ("boraflow: literal",),
    "airflow.sdk.definitions.timetables.assets": (_ASSET_TIMETABLES,),
    "airflow.sdk.definitions.timetables.events": ("boraflow: EventsTimetable",),
    "airflow.sdk.definitions.timetables.interval": (_INTERVAL_TIMETABLES,),
    "airflow.sdk.definitions.timetables.simple": (_SIMPLE_TIMETABLES,),
    "airflow.sdk.definitions.timetables.trigger": (_TRIGGER_TIMETABLES,),
    "airflow.sdk.definitions.variable": ("boraflow: Variable",),
    "airflow.sdk.definitions.xcom_arg": ("boraflow._xcom: XComArg PlainXComArg",),
    "airflow.sdk.exceptions": ("boraflow.exceptions: *", "boraflow.airflow.warnings: *"),
    "airflow.sdk.execution_time": ("boraflow: macros",),
    "airflow.sdk.execution_time.context": (
        "boraflow: NEVER_EXPIRE get_current_context",
        "boraflow._state_store: AssetStateStoreAccessor AssetStateStoreAccessors TaskStateStoreAccessor",
    ),
    "airflow.sdk.execution_time.macros": ("boraflow.macros: *",),
    "airflow.sdk.execution_time.secrets_masker": ("boraflow: mask_secret",),
    "airflow.sdk.execution_time.task_runner": ("boraflow._task_instance: RuntimeTaskInstance",),
    "airflow.sdk.execution_time.timeout": ("boraflow.airflow.provider_base: timeout",),
    "airflow.sdk.execution_time.xcom": ("boraflow.airflow.xcom: XCom=BaseXCom",),
    "airflow.sdk.io": ("boraflow: ObjectStoragePath",),
    "airflow.sdk.io.path": ("boraflow: ObjectStoragePath",),
    "airflow.sdk.log": ("boraflow: mask_secret",),
    "airflow.sdk.macros": ("boraflow.macros: *",),
    "airflow.sdk.module_loading": (
        "boraflow.airflow.loading: import_string iter_namespace qualname",
    ),
    "airflow.sdk.providers_manager_runtime": (
        "boraflow.airflow.providers: ProvidersManagerTaskRuntime=ProvidersManager",
    ),
    "airflow.sdk.timezone": ("boraflow.timezone: *",),
    "airflow.sdk.types": ("boraflow._task_instance: TaskInstance=RuntimeTaskInstance DagRun",),
    # --- what stays in the core
    "airflow.configuration": (
        "boraflow.airflow.conf: AIRFLOW_HOME conf get get_airflow_home getboolean getfloat getint has_option",
    ),
    "airflow.exceptions": (
        "boraflow.exceptions: *",
        "boraflow.airflow.warnings: *",
    ),
    "airflow.listeners": ("boraflow.airflow.plugins: hookimpl",),
    "airflow.partition_mappers": (_PARTITION_MAPPERS,),
    "airflow.partition_mappers.allowed_key": ("boraflow: AllowedKeyMapper",),
    "airflow.partition_mappers.base": ("boraflow: PartitionMapper RollupMapper",),
    "airflow.partition_mappers.chain": ("boraflow: ChainMapper",),
    "airflow.partition_mappers.fixed_key": ("boraflow: FixedKeyMapper",),
    "airflow.partition_mappers.identity": ("boraflow: IdentityMapper",),
    "airflow.partition_mappers.product": ("boraflow: ProductMapper",),
    "airflow.partition_mappers.temporal": (_TEMPORAL_MAPPERS,),
    "airflow.partition_mappers.wait_policy": (_WAIT_POLICIES,),
    "airflow.partition_mappers.window": (_WINDOWS,),
    "airflow.plugins_manager": ("boraflow.airflow.plugins: AirflowPlugin",),
    "airflow.providers_manager": (
        "boraflow.airflow.providers: ProvidersManager HookInfo ProviderInfo",
    ),
    "airflow.task.priority_strategy": ("boraflow.airflow.priority: PriorityWeightStrategy",),
    "airflow.task.trigger_rule": ("boraflow: TriggerRule",),
    "airflow.task.weight_rule": ("boraflow: WeightRule",),
    "airflow.timetables.assets": (_ASSET_TIMETABLES,),
    "airflow.timetables.base": (_TIMETABLE_BASE,),
    "airflow.timetables.events": ("boraflow: EventsTimetable",),
    "airflow.timetables.interval": (_INTERVAL_TIMETABLES,),
    "airflow.timetables.simple": (_SIMPLE_TIMETABLES, _ASSET_TIMETABLES),
    "airflow.timetables.trigger": (_TRIGGER_TIMETABLES,),
    "airflow.triggers.base": ("boraflow.triggers.base: *",),
    "airflow.utils.deprecation_tools": ("boraflow.airflow.provider_base: add_deprecated_classes",),
    "airflow.utils.edgemodifier": ("boraflow._edges: EdgeModifier Label",),
    "airflow.utils.hashlib_wrapper": ("boraflow.airflow.provider_base: md5",),
    "airflow.utils.helpers": (
        "boraflow.airflow.provider_base: as_flattened_list at_most_one chunks convert_camel_to_snake"
        " exactly_one is_container merge_dicts prune_dict validate_key",
    ),
    "airflow.utils.log.logging_mixin": ("boraflow.airflow.loading: LoggingMixin",),
    "airflow.utils.operator_helpers": (
        "boraflow.airflow.provider_base: determine_kwargs make_kwargs_callable",
    ),
    "airflow.utils.platform": ("boraflow.airflow.provider_base: getuser",),
    "airflow.utils.process_utils": ("boraflow.airflow.provider_base: patch_environ",),
    "airflow.utils.state": (_STATE_ENUMS, "boraflow.airflow.state: State"),
    "airflow.utils.strings": (
        "boraflow.airflow.loading: to_boolean",
        "boraflow.airflow.provider_base: get_random_string",
    ),
    "airflow.utils.types": (
        "boraflow.model.states: DagRunType=RunType",
        "boraflow._notset: NOTSET ArgNotSet",
    ),
    "airflow.utils.yaml": ("yaml: YAMLError dump safe_load",),
    # --- the standard provider
    "airflow.providers.common.compat.sdk": (
        "boraflow: *",
        "boraflow.exceptions: *",
        "boraflow._edges: EdgeModifier",
        _SKIP,
        _XCOM_KEY,
        _TIMETABLE_BASE,
        "boraflow._task: DecoratedOperator TaskDecorator TaskDecoratorCollection task_decorator_factory",
        "boraflow._task_instance: TaskInstance=RuntimeTaskInstance DagRun",
        "boraflow._setup: SetupTeardownContext",
        "boraflow._params: DagParam",
        "boraflow._mapped: MappedOperator",
        "boraflow.airflow.provider_base: determine_kwargs make_kwargs_callable timeout",
        "boraflow.sensors.base: poke_mode_only",
        "boraflow.airflow.conf: conf",
        "boraflow.airflow.context: context_merge",
        "boraflow._links: BaseOperatorLink",
        "boraflow.airflow.loading: LoggingMixin import_string",
        "boraflow.airflow.plugins: AirflowPlugin hookimpl",
        "boraflow.airflow.xcom: BaseXCom XCom=BaseXCom",
        "boraflow: macros timezone",
        "boraflow.airflow.warnings: *",
    ),
    "airflow.providers.common.compat.assets": (_ASSETS,),
    "airflow.providers.common.sql.hooks.handlers": (
        "boraflow.hooks.sql: fetch_all_handler fetch_one_handler return_single_query_results",
    ),
    "airflow.providers.common.io.xcom.backend": (
        "boraflow.airflow.xcom_storage: XComObjectStorageBackend",
    ),
    "airflow.providers.common.io.operators.file_transfer": (
        "boraflow.operators.file_transfer: FileTransferOperator",
    ),
    "airflow.providers.common.sql.hooks.sql": (
        "boraflow.hooks.sql: DbApiHook fetch_all_handler fetch_one_handler return_single_query_results",
    ),
    "airflow.providers.common.sql.operators.generic_transfer": (
        "boraflow.operators.generic_transfer: GenericTransfer",
    ),
    "airflow.providers.common.sql.operators.sql": (
        "boraflow.operators.sql: BaseSQLOperator BranchSQLOperator SQLCheckOperator"
        " SQLColumnCheckOperator SQLExecuteQueryOperator SQLInsertRowsOperator SQLIntervalCheckOperator"
        " SQLTableCheckOperator SQLThresholdCheckOperator SQLValueCheckOperator",
    ),
    "airflow.providers.common.sql.sensors.sql": ("boraflow.sensors.sql: SqlSensor",),
    "airflow.providers.http.hooks.http": ("boraflow.hooks.http: HttpHook HttpAsyncHook",),
    "airflow.providers.http.operators.http": ("boraflow.operators.http: HttpOperator",),
    "airflow.providers.http.sensors.http": ("boraflow.sensors.http: HttpSensor",),
    "airflow.providers.http.triggers.http": ("boraflow.triggers.http: HttpSensorTrigger",),
    "airflow.providers.mysql.hooks.mysql": ("boraflow.hooks.mysql: MySqlHook",),
    "airflow.providers.postgres.hooks.postgres": ("boraflow.hooks.postgres: PostgresHook",),
    "airflow.providers.slack.notifications.slack_webhook": (
        "boraflow.notifiers.webhook: SlackWebhookNotifier"
        " send_slack_webhook_notification=SlackWebhookNotifier",
    ),
    "airflow.providers.smtp.hooks.smtp": ("boraflow.hooks.smtp: SmtpHook",),
    "airflow.providers.smtp.notifications.smtp": (
        "boraflow.notifiers.smtp: SmtpNotifier send_smtp_notification=SmtpNotifier",
    ),
    "airflow.providers.smtp.operators.smtp": ("boraflow.operators.email: EmailOperator",),
    "airflow.providers.sqlite.hooks.sqlite": ("boraflow.hooks.sqlite: SqliteHook",),
    "airflow.providers.standard.exceptions": ("boraflow.exceptions: *",),
    "airflow.providers.standard.hooks.filesystem": ("boraflow.hooks.filesystem: FSHook",),
    "airflow.providers.standard.hooks.package_index": (
        "boraflow.hooks.package_index: PackageIndexHook",
    ),
    "airflow.providers.standard.hooks.subprocess": ("boraflow.hooks.subprocess: *",),
    "airflow.providers.standard.operators.bash": ("boraflow.operators.bash: BashOperator",),
    "airflow.providers.standard.operators.branch": ("boraflow: BaseBranchOperator", _SKIP),
    "airflow.providers.standard.operators.datetime": ("boraflow.operators.datetime: *",),
    "airflow.providers.standard.operators.empty": ("boraflow.operators.empty: EmptyOperator",),
    "airflow.providers.standard.operators.hitl": ("boraflow.operators.hitl: *",),
    "airflow.providers.standard.operators.latest_only": (
        "boraflow.operators.latest_only: LatestOnlyOperator",
    ),
    "airflow.providers.standard.operators.python": (
        "boraflow.operators.python: BranchExternalPythonOperator BranchPythonOperator"
        " BranchPythonVirtualenvOperator ExternalPythonOperator PythonOperator PythonVirtualenvOperator"
        " ShortCircuitOperator is_venv_installed",
        "boraflow: get_current_context",
    ),
    "airflow.providers.standard.operators.smooth": ("boraflow.operators.smooth: SmoothOperator",),
    "airflow.providers.standard.operators.trigger_dagrun": (
        "boraflow.operators.trigger_dagrun: TriggerDagRunOperator",
    ),
    "airflow.providers.standard.operators.weekday": (
        "boraflow.operators.weekday: BranchDayOfWeekOperator WeekDay",
    ),
    "airflow.providers.standard.sensors.bash": ("boraflow.sensors.bash: BashSensor",),
    "airflow.providers.standard.sensors.date_time": (
        "boraflow.sensors.date_time: DateTimeSensor DateTimeSensorAsync",
    ),
    "airflow.providers.standard.sensors.external_task": (
        "boraflow.sensors.external_task: ExternalTaskMarker ExternalTaskSensor",
    ),
    "airflow.providers.standard.sensors.filesystem": ("boraflow.sensors.filesystem: FileSensor",),
    "airflow.providers.standard.sensors.python": ("boraflow.sensors.python: PythonSensor",),
    "airflow.providers.standard.sensors.time": (
        "boraflow.sensors.time: TimeSensor TimeSensorAsync",
    ),
    "airflow.providers.standard.sensors.time_delta": (
        "boraflow.sensors.time_delta: TimeDeltaSensor TimeDeltaSensorAsync WaitSensor",
    ),
    "airflow.providers.standard.sensors.weekday": ("boraflow.sensors.weekday: DayOfWeekSensor",),
    "airflow.providers.standard.triggers.external_task": ("boraflow.triggers.external_task: *",),
    "airflow.providers.standard.triggers.file": ("boraflow.triggers.file: *",),
    "airflow.providers.standard.triggers.temporal": ("boraflow.triggers.temporal: *",),
    "airflow.providers.standard.utils.skipmixin": (_SKIP,),
    "airflow.providers.standard.utils.weekday": ("boraflow.operators.weekday: WeekDay",),
}
"""Names of Airflow 3."""

_STANDARD = "airflow.providers.standard"
_PYTHON = f"{_STANDARD}.operators.python"
_EMPTY = f"{_STANDARD}.operators.empty"
_EXTERNAL = f"{_STANDARD}.sensors.external_task"
_SQL = "airflow.providers.common.sql.operators.sql"

MOVED: dict[str, tuple[str, ...]] = {
    # --- Airflow 2
    "airflow": ("airflow.sdk: Dataset=Asset DatasetAlias=AssetAlias",),
    "airflow.datasets": (
        "airflow.sdk: Dataset=Asset DatasetAlias=AssetAlias DatasetAll=AssetAll DatasetAny=AssetAny Asset"
        " AssetAlias AssetAll AssetAny",
    ),
    "airflow.datasets.metadata": ("airflow.sdk: Metadata",),
    "airflow.assets.metadata": ("airflow.sdk: Metadata",),
    "airflow.decorators": ("airflow.sdk: dag result setup task task_group teardown",),
    "airflow.decorators.base": ("airflow.sdk.bases.decorator: *",),
    "airflow.decorators.python": ("boraflow.operators.python: PythonDecoratedOperator",),
    "airflow.decorators.task_group": ("airflow.sdk: task_group",),
    "airflow.hooks": ("airflow.sdk: BaseHook",),
    "airflow.hooks.base": ("airflow.sdk: BaseHook",),
    "airflow.hooks.dbapi": ("airflow.providers.common.sql.hooks.sql: DbApiHook",),
    "airflow.hooks.filesystem": (f"{_STANDARD}.hooks.filesystem: FSHook",),
    "airflow.hooks.package_index": (f"{_STANDARD}.hooks.package_index: PackageIndexHook",),
    "airflow.hooks.subprocess": (f"{_STANDARD}.hooks.subprocess: *",),
    "airflow.io": ("airflow.sdk: ObjectStoragePath",),
    "airflow.io.path": ("airflow.sdk: ObjectStoragePath",),
    "airflow.macros": ("airflow.sdk.macros: *",),
    "airflow.models": (
        "airflow.sdk: DAG Variable Connection Param BaseOperator XComArg TaskInstance BaseOperatorLink"
        " XCom=BaseXCom BaseXCom",
        "boraflow._task_instance: DagRun",
        "boraflow._mapped: MappedOperator",
        "boraflow._templates: Template=literal",
    ),
    "airflow.models.abstractoperator": ("boraflow._abstract: AbstractOperator",),
    "airflow.models.asset": ("airflow.sdk: Asset AssetAlias",),
    "airflow.models.baseoperator": (
        "airflow.sdk: BaseOperator BaseOperatorLink chain chain_linear cross_downstream",
    ),
    "airflow.models.baseoperatorlink": ("airflow.sdk: BaseOperatorLink",),
    "airflow.models.connection": ("airflow.sdk: Connection",),
    "airflow.models.dag": ("airflow.sdk: DAG dag",),
    "airflow.models.dagrun": ("boraflow._task_instance: DagRun",),
    "airflow.models.dataset": ("airflow.sdk: Dataset=Asset",),
    "airflow.models.mappedoperator": ("airflow.sdk.definitions.mappedoperator: MappedOperator",),
    "airflow.models.operator": ("airflow.sdk: BaseOperator",),
    "airflow.models.param": ("airflow.sdk: Param ParamsDict", "boraflow._params: DagParam"),
    "airflow.models.skipmixin": (f"{_STANDARD}.utils.skipmixin: SkipMixin",),
    "airflow.models.taskinstance": (
        "airflow.sdk: TaskInstance Context",
        "boraflow: get_current_context",
    ),
    "airflow.models.taskinstancekey": ("boraflow._task_instance: TaskInstanceKey",),
    "airflow.models.taskmixin": ("boraflow._edges: DependencyMixin",),
    "airflow.models.variable": ("airflow.sdk: Variable",),
    "airflow.models.xcom": ("airflow.sdk: BaseXCom XCom=BaseXCom", _XCOM_KEY),
    "airflow.models.xcom_arg": ("airflow.sdk: XComArg", "boraflow._xcom: PlainXComArg"),
    "airflow.notifications.basenotifier": ("airflow.sdk: BaseNotifier",),
    "airflow.operators": (
        f"{_PYTHON}: PythonOperator BranchPythonOperator ShortCircuitOperator PythonVirtualenvOperator",
        f"{_STANDARD}.operators.bash: BashOperator",
        f"{_EMPTY}: EmptyOperator DummyOperator=EmptyOperator",
        f"{_STANDARD}.operators.trigger_dagrun: TriggerDagRunOperator",
        f"{_STANDARD}.operators.latest_only: LatestOnlyOperator",
        f"{_EXTERNAL}: ExternalTaskSensor",
        "airflow.sdk: BaseOperator",
    ),
    "airflow.operators.bash": (f"{_STANDARD}.operators.bash: BashOperator",),
    "airflow.operators.branch": (f"{_STANDARD}.operators.branch: BaseBranchOperator",),
    "airflow.operators.datetime": (f"{_STANDARD}.operators.datetime: BranchDateTimeOperator",),
    "airflow.operators.dummy": (f"{_EMPTY}: DummyOperator=EmptyOperator EmptyOperator",),
    "airflow.operators.email": ("airflow.providers.smtp.operators.smtp: EmailOperator",),
    "airflow.operators.empty": (f"{_EMPTY}: EmptyOperator",),
    "airflow.operators.generic_transfer": (
        "airflow.providers.common.sql.operators.generic_transfer: GenericTransfer",
    ),
    "airflow.operators.latest_only": (f"{_STANDARD}.operators.latest_only: LatestOnlyOperator",),
    "airflow.operators.python": (
        f"{_PYTHON}: BranchExternalPythonOperator BranchPythonOperator BranchPythonVirtualenvOperator"
        " ExternalPythonOperator PythonOperator PythonVirtualenvOperator ShortCircuitOperator"
        " is_venv_installed",
        "airflow.sdk: get_current_context task",
        f"{_EMPTY}: DummyOperator=EmptyOperator",
    ),
    "airflow.operators.smooth": (f"{_STANDARD}.operators.smooth: SmoothOperator",),
    "airflow.operators.sql": (
        f"{_SQL}: BaseSQLOperator BranchSQLOperator SQLCheckOperator SQLColumnCheckOperator"
        " SQLIntervalCheckOperator SQLTableCheckOperator SQLThresholdCheckOperator SQLValueCheckOperator"
        " SQLExecuteQueryOperator",
    ),
    "airflow.operators.subdag": ("boraflow.airflow.subdag: SubDagOperator",),
    "airflow.operators.trigger_dagrun": (
        f"{_STANDARD}.operators.trigger_dagrun: TriggerDagRunOperator",
    ),
    "airflow.operators.weekday": (f"{_STANDARD}.operators.weekday: BranchDayOfWeekOperator",),
    "airflow.sensors.base": (
        "airflow.sdk: BaseSensorOperator PokeReturnValue",
        "airflow.sdk.bases.sensor: poke_mode_only",
    ),
    "airflow.sensors.bash": (f"{_STANDARD}.sensors.bash: BashSensor",),
    "airflow.sensors.date_time": (
        f"{_STANDARD}.sensors.date_time: DateTimeSensor DateTimeSensorAsync",
    ),
    "airflow.sensors.external_task": (f"{_EXTERNAL}: ExternalTaskMarker ExternalTaskSensor",),
    "airflow.sensors.filesystem": (f"{_STANDARD}.sensors.filesystem: FileSensor",),
    "airflow.sensors.python": (f"{_STANDARD}.sensors.python: PythonSensor",),
    "airflow.sensors.sql": ("airflow.providers.common.sql.sensors.sql: SqlSensor",),
    "airflow.sensors.time_delta": (
        f"{_STANDARD}.sensors.time_delta: TimeDeltaSensor TimeDeltaSensorAsync WaitSensor",
    ),
    "airflow.sensors.time_sensor": (f"{_STANDARD}.sensors.time: TimeSensor TimeSensorAsync",),
    "airflow.sensors.weekday": (f"{_STANDARD}.sensors.weekday: DayOfWeekSensor",),
    "airflow.settings": (
        "boraflow.airflow.conf: TIMEZONE DAGS_FOLDER AIRFLOW_HOME PLUGINS_FOLDER",
        "boraflow.airflow.provider_base: pod_mutation_hook",
    ),
    "airflow.timetables.datasets": (
        "airflow.timetables.assets: DatasetOrTimeSchedule=AssetOrTimeSchedule AssetOrTimeSchedule",
    ),
    "airflow.triggers.external_task": (f"{_STANDARD}.triggers.external_task: *",),
    "airflow.triggers.file": (f"{_STANDARD}.triggers.file: *",),
    "airflow.triggers.temporal": (f"{_STANDARD}.triggers.temporal: *",),
    "airflow.typing_compat": ("typing: *",),
    "airflow.utils.context": (
        "airflow.sdk: Context",
        "airflow.sdk.definitions.context: context_merge",
    ),
    "airflow.utils.dag_parsing_context": ("airflow.sdk: get_parsing_context",),
    "airflow.utils.dates": (
        "boraflow.airflow.dates: days_ago date_range round_time parse_execution_date cron_presets"
        " infer_time_unit scale_time_units",
        "datetime: datetime timedelta",
    ),
    "airflow.utils.decorators": ("boraflow.airflow.loading: apply_defaults",),
    "airflow.utils.email": ("boraflow.notifiers.smtp: send_email",),
    "airflow.utils.file": ("boraflow.airflow.loading: mkdirs TemporaryDirectory",),
    "airflow.utils.helpers": ("airflow.sdk: chain cross_downstream",),
    "airflow.utils.log.secrets_masker": ("airflow.sdk.log: mask_secret",),
    "airflow.utils.module_loading": (
        "airflow.sdk.module_loading: import_string iter_namespace qualname",
    ),
    "airflow.utils.setup_teardown": ("boraflow._setup: SetupTeardownContext",),
    "airflow.utils.task_group": ("airflow.sdk: TaskGroup task_group",),
    "airflow.utils.template": ("airflow.sdk: literal",),
    "airflow.utils.timezone": ("airflow.sdk.timezone: *",),
    "airflow.secrets": ("boraflow.secrets: BaseSecretsBackend",),
    "airflow.secrets.base_secrets": ("boraflow.secrets: BaseSecretsBackend",),
    "airflow.secrets.local_filesystem": ("boraflow.secrets: LocalFilesystemBackend",),
    "airflow.utils.trigger_rule": ("airflow.sdk: TriggerRule",),
    "airflow.utils.weekday": (f"{_STANDARD}.utils.weekday: WeekDay",),
    "airflow.utils.weight_rule": ("airflow.sdk: WeightRule",),
    "airflow.utils.xcom": (_XCOM_KEY,),
    # --- provider modules under their former names
    "airflow.providers.http.operators.http": (
        "boraflow.operators.http: SimpleHttpOperator=HttpOperator",
    ),
    "airflow.providers.mysql.operators.mysql": ("boraflow.airflow.sql: MySqlOperator",),
    "airflow.providers.postgres.operators.postgres": ("boraflow.airflow.sql: PostgresOperator",),
    "airflow.providers.snowflake.operators.snowflake": (
        f"{_SQL}: SnowflakeOperator=SQLExecuteQueryOperator",
    ),
    "airflow.providers.sqlite.operators.sqlite": ("boraflow.airflow.sql: SqliteOperator",),
    # --- Airflow 1.10
    "airflow.contrib.hooks.fs_hook": (f"{_STANDARD}.hooks.filesystem: FSHook",),
    "airflow.contrib.sensors.bash_sensor": (f"{_STANDARD}.sensors.bash: BashSensor",),
    "airflow.contrib.sensors.file_sensor": (f"{_STANDARD}.sensors.filesystem: FileSensor",),
    "airflow.contrib.sensors.python_sensor": (f"{_STANDARD}.sensors.python: PythonSensor",),
    "airflow.contrib.sensors.weekday_sensor": (f"{_STANDARD}.sensors.weekday: DayOfWeekSensor",),
    "airflow.contrib.utils.weekday": (f"{_STANDARD}.utils.weekday: WeekDay",),
    "airflow.hooks.base_hook": ("airflow.sdk: BaseHook",),
    "airflow.hooks.dbapi_hook": ("airflow.providers.common.sql.hooks.sql: DbApiHook",),
    "airflow.hooks.http_hook": ("airflow.providers.http.hooks.http: HttpHook",),
    "airflow.hooks.mysql_hook": ("airflow.providers.mysql.hooks.mysql: MySqlHook",),
    "airflow.hooks.postgres_hook": ("airflow.providers.postgres.hooks.postgres: PostgresHook",),
    "airflow.hooks.sqlite_hook": ("airflow.providers.sqlite.hooks.sqlite: SqliteHook",),
    "airflow.operators.bash_operator": (f"{_STANDARD}.operators.bash: BashOperator",),
    "airflow.operators.branch_operator": (f"{_STANDARD}.operators.branch: BaseBranchOperator",),
    "airflow.operators.check_operator": (
        f"{_SQL}: CheckOperator=SQLCheckOperator ValueCheckOperator=SQLValueCheckOperator"
        " IntervalCheckOperator=SQLIntervalCheckOperator SQLCheckOperator SQLValueCheckOperator"
        " SQLIntervalCheckOperator",
    ),
    "airflow.operators.dagrun_operator": (
        "boraflow.airflow.dagrun_order: TriggerDagRunOperator DagRunOrder",
    ),
    "airflow.operators.dummy_operator": (f"{_EMPTY}: DummyOperator=EmptyOperator",),
    "airflow.operators.email_operator": ("airflow.providers.smtp.operators.smtp: EmailOperator",),
    "airflow.operators.http_operator": (
        "airflow.providers.http.operators.http: SimpleHttpOperator=HttpOperator",
    ),
    "airflow.operators.latest_only_operator": (
        f"{_STANDARD}.operators.latest_only: LatestOnlyOperator",
    ),
    "airflow.operators.mysql_operator": ("boraflow.airflow.sql: MySqlOperator",),
    "airflow.operators.postgres_operator": ("boraflow.airflow.sql: PostgresOperator",),
    "airflow.operators.python_operator": (
        f"{_PYTHON}: PythonOperator BranchPythonOperator ShortCircuitOperator PythonVirtualenvOperator",
    ),
    "airflow.operators.sensors": (
        f"{_EXTERNAL}: ExternalTaskSensor",
        f"{_STANDARD}.sensors.time_delta: TimeDeltaSensor",
        f"{_STANDARD}.sensors.time: TimeSensor",
        "airflow.providers.common.sql.sensors.sql: SqlSensor",
        "airflow.providers.http.sensors.http: HttpSensor",
        "airflow.sdk: BaseSensorOperator",
    ),
    "airflow.operators.sql_branch_operator": (f"{_SQL}: BranchSqlOperator=BranchSQLOperator",),
    "airflow.operators.sqlite_operator": ("boraflow.airflow.sql: SqliteOperator",),
    "airflow.operators.subdag_operator": ("boraflow.airflow.subdag: SubDagOperator",),
    "airflow.sensors.base_sensor_operator": ("airflow.sdk: BaseSensorOperator",),
    "airflow.sensors.date_time_sensor": (f"{_STANDARD}.sensors.date_time: DateTimeSensor",),
    "airflow.sensors.external_task_sensor": (
        f"{_EXTERNAL}: ExternalTaskMarker ExternalTaskSensor",
    ),
    "airflow.sensors.http_sensor": ("airflow.providers.http.sensors.http: HttpSensor",),
    "airflow.sensors.python_sensor": (f"{_STANDARD}.sensors.python: PythonSensor",),
    "airflow.sensors.sql_sensor": ("airflow.providers.common.sql.sensors.sql: SqlSensor",),
    "airflow.sensors.time_delta_sensor": (f"{_STANDARD}.sensors.time_delta: TimeDeltaSensor",),
    "airflow.sensors.weekday_sensor": (f"{_STANDARD}.sensors.weekday: DayOfWeekSensor",),
}
"""Names of Airflow 2 and 1.10, by where they are now. Each use is noted with the new place."""

_DATABASE = (
    "tasks have no access to the database; read runs and tasks with boraflow.client, or with `bora runs` and"
    " `bora tasks`"
)
_PLUGIN = "if a plugin brings it, put the plugin's files into plugins/ beside the DAG files"
ADVICE: dict[str, str] = {
    "airflow.api.common": "start a run with TriggerDagRunOperator",
    "airflow.cli": _DATABASE,
    "airflow.contrib": "what it holds moved to the apache-airflow-providers-... packages",
    "airflow.hooks": _PLUGIN,
    "airflow.jobs": _DATABASE,
    "airflow.kubernetes": "it moved to apache-airflow-providers-cncf-kubernetes",
    "airflow.lineage": "use inlets and outlets with Asset",
    "airflow.models.DagBag": "load a DAG file with boraflow.testing.load_dags",
    "airflow.models.DagModel": _DATABASE,
    "airflow.models.ImportError": _DATABASE,
    "airflow.models.Log": _DATABASE,
    "airflow.models.SlaMiss": "SLAs were removed in Airflow 3; use a deadline",
    "airflow.models.TaskFail": _DATABASE,
    "airflow.models.TaskReschedule": _DATABASE,
    "airflow.models.dag.DagModel": _DATABASE,
    "airflow.models.dagbag": "load a DAG file with boraflow.testing.load_dags",
    "airflow.operators": _PLUGIN,
    "airflow.sensors": _PLUGIN,
    "airflow.settings": _DATABASE,
    "airflow.utils.db": _DATABASE,
    "airflow.utils.session": _DATABASE,
    "airflow.www": "the dashboard is Boraflow's own",
}
"""What to do instead of a name that is not there; the longest prefix that fits counts."""

REPLACED: dict[str, str] = {
    "airflow.providers.http.operators.http.SimpleHttpOperator": "its name is HttpOperator",
    "airflow.utils.dates.days_ago": "write a fixed start_date, or pendulum.today('UTC').add(days=-n)",
    "airflow.utils.dates.datetime": "import datetime from datetime",
    "airflow.utils.dates.timedelta": "import timedelta from datetime",
    "airflow.utils.decorators.apply_defaults": "drop the decorator, default_args apply without it",
    "airflow.utils.email.send_email": "use SmtpNotifier or EmailOperator",
    "airflow.operators.subdag.SubDagOperator": "use a TaskGroup",
    "airflow.operators.subdag_operator.SubDagOperator": "use a TaskGroup",
}
"""What to write instead of old names that have no new place."""

INSTALLED = ("airflow.providers", "airflow.example_dags")
"""Packages that installed distributions fill: a module that is not listed above is looked for in these."""
PROVIDER_FAMILIES = frozenset({"apache", "atlassian", "cncf", "common", "dbt", "ibm", "microsoft"})
"""Folders below ``airflow.providers`` that hold several packages, not one."""
