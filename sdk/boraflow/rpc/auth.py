"""Tokens and roles: the client's metadata and the server's check in one file, so that they cannot drift.

Every call carries ``authorization: Bearer <secret>``. :data:`METHOD_ROLES` names, for each method, the roles
that may call it; a method that is not in it is denied to everybody.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

AUTHORIZATION: Final = "authorization"
_SCHEME: Final = "Bearer "


class Role(StrEnum):
    """What a token may do."""

    VIEWER = "viewer"
    """Reads; secrets are masked."""
    OPERATOR = "operator"
    """Also triggers, pauses, clears, marks, backfills; sets pools, variables and connections."""
    ADMIN = "admin"
    """May call everything, deploys code and creates tokens."""
    EXECUTOR = "executor"
    """What an executor needs to run attempts."""
    SCHEDULER = "scheduler"
    """What a scheduler needs to decide."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    name: str
    """Name of the token: the actor in the audit log."""
    role: Role | None
    """``None`` for a call without a token (health checks)."""


ANONYMOUS: Final = Caller("anonymous", None)
_caller: ContextVar[Caller] = ContextVar("boraflow_caller", default=ANONYMOUS)


class Authenticator(Protocol):
    """Tells who holds a secret."""

    async def __call__(self, secret: str) -> Caller | None:
        """Return the caller, or ``None`` when the secret is unknown, expired or revoked.

        It is called for each call: an implementation that looks far away caches for a short time.
        """
        ...


def current_caller() -> Caller:
    """Return who makes the call that is being served."""
    return _caller.get()


def set_caller(caller: Caller) -> None:
    """Note the caller for the current task; the server's interceptor calls it."""
    _caller.set(caller)


def bearer(token: str) -> tuple[str, str]:
    """Return the metadata entry that carries ``token``."""
    return (AUTHORIZATION, _SCHEME + token)


def secret_of(metadata: object) -> str | None:
    """Return the secret in a call's metadata, or ``None``."""
    for key, value in metadata or ():  # type: ignore[attr-defined]
        if key == AUTHORIZATION:
            return value[7:] if value[:7].lower() == "bearer " else None
    return None


_READ = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
_OPERATE = frozenset({Role.OPERATOR, Role.ADMIN})
_ADMIN = frozenset({Role.ADMIN})
_ANY = frozenset(Role)
_SCHEDULE = frozenset({Role.SCHEDULER, Role.ADMIN})
_EXECUTE = frozenset({Role.EXECUTOR, Role.ADMIN})
# A task may trigger runs and look at them (TriggerDagRunOperator, ExternalTaskSensor) through its executor.
_READ_OR_EXECUTE = _READ | {Role.EXECUTOR}
_OPERATE_OR_EXECUTE = _OPERATE | {Role.EXECUTOR}
# Code is moved by digest: schedulers store what they find in the DAG folder, executors fetch it.
_CODE_IN = frozenset({Role.SCHEDULER, Role.ADMIN})
_CODE_OUT = frozenset({Role.SCHEDULER, Role.EXECUTOR, Role.OPERATOR, Role.ADMIN})

_M = "/boraflow.api.metastore.v1."

#: Called without a token: load balancers and supervisors probe them.
PUBLIC_METHODS: Final = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
    }
)

#: Full method name to the roles that may call it. What is missing here is denied.
METHOD_ROLES: Final[dict[str, frozenset[Role]]] = {
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY,
    # DAGs
    f"{_M}DagService/ListDags": _READ,
    f"{_M}DagService/GetDag": _READ_OR_EXECUTE,
    f"{_M}DagService/ListDagVersions": _READ,
    f"{_M}DagService/GetDagVersion": _READ,
    f"{_M}DagService/GetDagSource": _READ,
    f"{_M}DagService/PauseDag": _OPERATE,
    f"{_M}DagService/UnpauseDag": _OPERATE,
    f"{_M}DagService/DeleteDag": _OPERATE,
    f"{_M}DagService/ListImportErrors": _READ,
    f"{_M}DagService/SummarizeDags": _READ,
    # A mark of one's own: who may look may keep it.
    f"{_M}DagService/SetFavorite": _READ,
    f"{_M}DagService/ListFavorites": _READ,
    # Runs
    f"{_M}RunService/TriggerRun": _OPERATE_OR_EXECUTE,
    f"{_M}RunService/GetRun": _READ_OR_EXECUTE,
    f"{_M}RunService/ListRuns": _READ_OR_EXECUTE,
    f"{_M}RunService/SummarizeRuns": _READ,
    f"{_M}RunService/ListDeadlines": _READ,
    f"{_M}RunService/WatchRun": _READ_OR_EXECUTE,
    f"{_M}RunService/CancelRun": _OPERATE,
    f"{_M}RunService/MarkRun": _OPERATE,
    f"{_M}RunService/ClearRun": _OPERATE,
    f"{_M}RunService/DeleteRun": _OPERATE,
    f"{_M}RunService/UpdateRunNote": _OPERATE,
    # Task instances
    f"{_M}TaskService/ListTaskInstances": _READ_OR_EXECUTE,
    f"{_M}TaskService/SummarizeTasks": _READ,
    f"{_M}TaskService/GetTaskInstance": _READ_OR_EXECUTE,
    f"{_M}TaskService/ListAttempts": _READ,
    f"{_M}TaskService/ClearTasks": _OPERATE,
    f"{_M}TaskService/MarkTasks": _OPERATE,
    f"{_M}TaskService/ExplainTask": _READ,
    f"{_M}TaskService/ListXcoms": _READ,
    f"{_M}TaskService/GetXcom": _READ,
    # Human in the loop
    f"{_M}HitlService/ListHitlDetails": _READ,
    f"{_M}HitlService/GetHitlDetail": _READ,
    f"{_M}HitlService/RespondHitl": _OPERATE,
    # Backfills
    f"{_M}BackfillService/CreateBackfill": _OPERATE,
    f"{_M}BackfillService/GetBackfill": _READ,
    f"{_M}BackfillService/ListBackfills": _READ,
    f"{_M}BackfillService/PauseBackfill": _OPERATE,
    f"{_M}BackfillService/ResumeBackfill": _OPERATE,
    f"{_M}BackfillService/CancelBackfill": _OPERATE,
    # Assets
    f"{_M}AssetService/ListAssets": _READ,
    f"{_M}AssetService/GetAsset": _READ,
    f"{_M}AssetService/ListAssetAliases": _READ,
    f"{_M}AssetService/ListAssetEvents": _READ,
    f"{_M}AssetService/CreateAssetEvent": _OPERATE,
    f"{_M}AssetService/MaterializeAsset": _OPERATE,
    f"{_M}AssetService/ListQueuedAssetEvents": _READ,
    f"{_M}AssetService/DeleteQueuedAssetEvents": _OPERATE,
    f"{_M}AssetService/ListPendingPartitions": _READ,
    f"{_M}AssetService/ListAssetWatches": _READ,
    # Logs
    f"{_M}LogService/ReadLog": _READ,
    f"{_M}LogService/StreamLog": _READ,
    f"{_M}LogService/AppendLog": _EXECUTE,
    # Pools, variables, connections
    f"{_M}PoolService/ListPools": _READ,
    f"{_M}PoolService/GetPool": _READ,
    f"{_M}PoolService/SetPool": _OPERATE,
    f"{_M}PoolService/DeletePool": _OPERATE,
    f"{_M}VariableService/ListVariables": _READ,
    f"{_M}VariableService/GetVariable": _READ,
    f"{_M}VariableService/SetVariable": _OPERATE,
    f"{_M}VariableService/DeleteVariable": _OPERATE,
    f"{_M}StateStoreService/ListStateEntries": _READ,
    f"{_M}StateStoreService/GetStateEntry": _READ,
    f"{_M}StateStoreService/SetStateEntry": _OPERATE,
    f"{_M}StateStoreService/DeleteStateEntry": _OPERATE,
    f"{_M}StateStoreService/ClearState": _OPERATE,
    f"{_M}StateStoreService/CleanState": _OPERATE,
    f"{_M}ConnectionService/ListConnections": _READ,
    f"{_M}ConnectionService/GetConnection": _READ,
    f"{_M}ConnectionService/SetConnection": _OPERATE,
    f"{_M}ConnectionService/DeleteConnection": _OPERATE,
    f"{_M}ConnectionService/TestConnection": _OPERATE,
    # Changes and the system
    f"{_M}ChangeService/WatchChanges": _READ,
    f"{_M}SystemService/GetSystemState": _ANY,
    f"{_M}SystemService/ListExecutors": _READ,
    f"{_M}SystemService/DrainExecutor": _OPERATE,
    f"{_M}SystemService/ListAuditEntries": _READ,
    f"{_M}SystemService/GetPerformance": _READ,
    f"{_M}TokenService/CreateToken": _ADMIN,
    f"{_M}TokenService/ListTokens": _ADMIN,
    f"{_M}TokenService/RevokeToken": _ADMIN,
    f"{_M}TokenService/GetCaller": _ANY,
    # Who signs in shows an ID token that the metastore checks; who signs out, the session's own secret.
    f"{_M}TokenService/SignIn": _ANY,
    f"{_M}TokenService/SignOut": _ANY,
    # Bundles: a deployed bundle is code that executors run, so it takes an admin.
    f"{_M}BundleService/ListMissingFiles": _CODE_IN,
    f"{_M}BundleService/PutFiles": _CODE_IN,
    f"{_M}BundleService/PutManifest": _CODE_IN,
    f"{_M}BundleService/GetManifest": _CODE_OUT,
    f"{_M}BundleService/GetFiles": _CODE_OUT,
    f"{_M}BundleService/DeployBundle": _ADMIN,
    f"{_M}BundleService/ListBundles": _READ | {Role.SCHEDULER},
    # What schedulers and executors say to the metastore
    f"{_M}SchedulingService/Lead": _SCHEDULE,
    f"{_M}SchedulingService/LoadState": _SCHEDULE,
    f"{_M}SchedulingService/Commit": _SCHEDULE,
    f"{_M}SchedulingService/StreamCommits": _SCHEDULE,
    f"{_M}SchedulingService/ListUnhandledAttempts": _SCHEDULE,
    f"{_M}SchedulingService/GetRunRows": _SCHEDULE,
    f"{_M}SchedulingService/GetPreviousRun": _SCHEDULE,
    f"{_M}SchedulingService/PublishParse": _SCHEDULE,
    f"{_M}ExecutionService/Report": _EXECUTE,
    f"{_M}ExecutionService/ClaimAttempt": _EXECUTE,
    f"{_M}ExecutionService/PullXcoms": _EXECUTE,
    # A DAG file may read a variable while the scheduler's parser imports it.
    f"{_M}ExecutionService/ReadVariable": _EXECUTE | {Role.SCHEDULER},
    f"{_M}ExecutionService/WriteVariable": _EXECUTE,
    f"{_M}ExecutionService/ReadConnection": _EXECUTE | {Role.SCHEDULER},
    f"{_M}ExecutionService/ReadStates": _EXECUTE,
    f"{_M}ExecutionService/GetPreviousSuccess": _EXECUTE,
    f"{_M}ExecutionService/ReadAssetEvents": _EXECUTE,
    f"{_M}ExecutionService/CheckAssets": _EXECUTE,
    f"{_M}ExecutionService/RecordWatchEvent": _EXECUTE,
    f"{_M}ExecutionService/ReadState": _EXECUTE,
    f"{_M}ExecutionService/WriteState": _EXECUTE,
    # The scheduler's and the executor's own doors
    "/boraflow.api.scheduler.v1.DispatchService/Attach": _EXECUTE,
    "/boraflow.api.executor.v1.ExecutorService/GetState": _READ,
    "/boraflow.api.executor.v1.ExecutorService/Drain": _OPERATE,
    "/boraflow.api.executor.v1.ExecutorService/TailLog": _READ,
}


def may_call(role: Role | None, method: str) -> bool:
    """Return whether ``role`` may call the full method name ``method``."""
    return method in PUBLIC_METHODS or (
        role is not None and role in METHOD_ROLES.get(method, frozenset())
    )
