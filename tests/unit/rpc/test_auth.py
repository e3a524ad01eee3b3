"""The table of roles covers every method of every proto, and denies what it does not know."""

from __future__ import annotations

import importlib
import pkgutil

import boraflow.api
from boraflow.rpc.auth import METHOD_ROLES, Role, bearer, may_call, secret_of


def proto_methods() -> set[str]:
    methods = set()
    for module in pkgutil.walk_packages(boraflow.api.__path__, "boraflow.api."):
        if module.name.endswith("_service_pb2"):
            file = importlib.import_module(module.name).DESCRIPTOR
            for service in file.services_by_name.values():
                methods |= {f"/{service.full_name}/{m.name}" for m in service.methods}
    return methods


def test_every_method_has_roles() -> None:
    methods = proto_methods()
    assert len(methods) > 60
    ours = {m for m in METHOD_ROLES if m.startswith("/boraflow.")}
    assert methods - ours == set(), "methods without an entry in METHOD_ROLES"
    assert ours - methods == set(), "entries for methods that no proto has"


def test_admin_may_call_everything_and_a_viewer_writes_nothing() -> None:
    writes = ("Trigger", "Set", "Delete", "Clear", "Mark", "Cancel", "Pause", "Create", "Put")
    for method in proto_methods():
        assert may_call(Role.ADMIN, method), method
        name = method.rpartition("/")[2]
        # Favorites are the caller's own: what a reader likes changes nothing for anybody else.
        if name.startswith(writes) and name != "SetFavorite":
            assert not may_call(Role.VIEWER, method), method


def test_denied_by_default() -> None:
    for role in Role:
        assert not may_call(role, "/boraflow.api.metastore.v1.RunService/Unheard")
    assert not may_call(None, "/boraflow.api.metastore.v1.DagService/ListDags")
    assert may_call(None, "/grpc.health.v1.Health/Check")


def test_an_executor_cannot_read_other_secrets_or_deploy() -> None:
    for name in (
        "ConnectionService/GetConnection",
        "TokenService/CreateToken",
        "LogService/ReadLog",
    ):
        assert not may_call(Role.EXECUTOR, f"/boraflow.api.metastore.v1.{name}")
    assert not may_call(Role.EXECUTOR, "/boraflow.api.metastore.v1.SchedulingService/Commit")
    assert not may_call(Role.OPERATOR, "/boraflow.api.metastore.v1.BundleService/DeployBundle")


def test_the_secret_is_found_in_metadata() -> None:
    assert secret_of((("user-agent", "x"), bearer("abc"))) == "abc"
    assert secret_of((("authorization", "Basic abc"),)) is None
    assert secret_of(()) is None
    assert secret_of(None) is None
