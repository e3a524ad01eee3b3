"""Provider packages that are installed beside Boraflow, with no Airflow: one made here as such packages are."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import boraflow.airflow as hook_package
from boraflow import Connection, _task
from boraflow.airflow import conf, hook, providers
from boraflow.exceptions import AirflowTaskTimeout
from boraflow.runtime.loader import LoadedFile, load_file

SSH = """
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, conf
from airflow.utils.helpers import prune_dict, exactly_one
from airflow.models import Variable

class SSHHook(BaseHook):
    conn_name_attr = "ssh_conn_id"
    def __init__(self, ssh_conn_id="ssh_default"):
        self.ssh_conn_id = ssh_conn_id
        self.retries = conf.getint("ssh_acme", "retries")

class SSHOperator(BaseOperator):
    template_fields = ("command",)
    def __init__(self, *, command, ssh_conn_id="ssh_default", **kwargs):
        super().__init__(**kwargs)
        self.command = command
        self.ssh_conn_id = ssh_conn_id
    def execute(self, context):
        return prune_dict({"ran": self.command, "nothing": None})
"""
INFO = """
def get_provider_info():
    return {
        "package-name": "apache-airflow-providers-ssh",
        "connection-types": [
            {"connection-type": "ssh", "hook-class-name": "airflow.providers.ssh.operators.ssh.SSHHook"}
        ],
        "config": {"ssh_acme": {"options": {"retries": {"default": "7"}}}},
    }
"""
HTTP_TRIGGERS = """
from airflow.providers.http.hooks.http import HttpHook

class HttpTrigger:
    hook = HttpHook

class HttpSensorTrigger:
    pass
"""


def forget() -> None:
    """Drop what was found of the packages that were there before."""
    for cached in (hook.exists, hook._behind, providers.infos, conf._provided, _task._provided):
        cached.cache_clear()
    hook._ours.clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site-packages"
    for path, text in {
        "airflow/providers/ssh/__init__.py": "",
        "airflow/providers/ssh/get_provider_info.py": INFO,
        "airflow/providers/ssh/operators/__init__.py": "",
        "airflow/providers/ssh/operators/ssh.py": SSH,
        "airflow/providers/http/triggers/http.py": HTTP_TRIGGERS,
        "airflow/providers/google/__init__.py": "",
        "airflow/providers/google/cloud/__init__.py": "from airflow.models import DagModel",
        "ssh-1.0.dist-info/METADATA": "Name: apache-airflow-providers-ssh\nVersion: 9.8.7\n",
        "ssh-1.0.dist-info/entry_points.txt": (
            "[apache_airflow_provider]\n"
            "provider_info=airflow.providers.ssh.get_provider_info:get_provider_info\n"
        ),
    }.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    forget()
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    forget()


def load(folder: Path, text: str, name: str) -> LoadedFile:
    file = folder / "dags" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return load_file(file, file.parent)


def test_an_installed_package_is_used_on_old_and_new_paths(site: Path) -> None:
    loaded = load(
        site.parent,
        """
        from airflow import DAG
        from airflow.contrib.operators.ssh_operator import SSHOperator
        from airflow.providers.ssh.operators.ssh import SSHOperator as New

        assert New is SSHOperator
        with DAG("remote", schedule_interval=None, start_date=None):
            SSHOperator(task_id="list", command="ls {{ ds }}")
        """,
        "old.py",
    )
    assert not loaded.errors
    # The author hears of his own file, not of the package's.
    assert {(w.file, w.line) for w in loaded.warnings} == {("old.py", 3), ("old.py", 7)}
    assert any(
        "import SSHOperator from airflow.providers.ssh.operators.ssh" in w.message
        for w in loaded.warnings
    )
    from datetime import UTC, datetime

    run = loaded.dags["remote"].test(logical_date=datetime(2026, 1, 2, tzinfo=UTC))
    assert run.xcoms["list"] == {"ran": "ls 2026-01-02"}


def test_a_connection_finds_the_hook_of_a_package(site: Path) -> None:
    found = Connection(conn_id="far", conn_type="ssh", host="h").get_hook()
    assert (type(found).__name__, found.ssh_conn_id, found.retries) == ("SSHHook", "far", 7)
    manager = providers.ProvidersManager()
    info = manager.hooks["ssh"]
    assert info.package_name == "apache-airflow-providers-ssh"
    assert manager.providers[info.package_name].version == "9.8.7"


def test_the_rest_of_a_module_that_boraflow_has_in_part_comes_from_the_package(site: Path) -> None:
    with hook.active():
        module = importlib.import_module("airflow.providers.http.triggers.http")
        assert module.HttpTrigger.__module__ == module.__name__
        assert module.HttpSensorTrigger.__module__ == "boraflow.triggers.http"
        assert module.HttpTrigger.hook.__module__ == "boraflow.hooks.http"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "from airflow.providers.google.cloud.operators.bigquery import BigQueryX",
            "Boraflow has no airflow.models.DagModel yet: tasks have no access to the database; read runs and tasks"
            " with boraflow.client, or with `bora runs` and `bora tasks` (imported by airflow.providers.google.cloud"
            " of apache-airflow-providers-google)",
        ),
        (
            "from airflow.providers.ssh.operators.ssh_remote import Gone",
            "Boraflow has no airflow.providers.ssh.operators.ssh_remote.Gone yet: the installed"
            " apache-airflow-providers-ssh has no such name",
        ),
        (
            "from airflow.contrib.hooks.ssh_hook import SSHHook",
            "Boraflow has no airflow.contrib.hooks.ssh_hook.SSHHook yet: it became"
            " airflow.providers.ssh.hooks.ssh.SSHHook, which the installed apache-airflow-providers-ssh does not have",
        ),
        (
            "from airflow.operators.hive_operator import HiveOperator",
            "Boraflow has no airflow.operators.hive_operator.HiveOperator yet: it is now"
            " airflow.providers.apache.hive.operators.hive.HiveOperator of the package"
            " apache-airflow-providers-apache-hive; install it, without Airflow, where",
        ),
        (
            "from airflow.providers.cncf.kubernetes.operators.kubernetes_pod import KubernetesPodOperator",
            "it is now airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator of the package"
            " apache-airflow-providers-cncf-kubernetes",
        ),
        (
            "import airflow.providers.cncf.kubernetes.operators.pod",
            "Boraflow has no airflow.providers.cncf.kubernetes.operators.pod yet: it is of the package"
            " apache-airflow-providers-cncf-kubernetes",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_package(site: Path, text: str, said: str) -> None:
    loaded = load(site.parent, f"import os\n{text}\n", "bad.py")
    assert len(loaded.errors) == 1
    assert str(loaded.errors[0]).startswith("bad.py:2: ModuleNotFoundError: ")
    assert said in loaded.errors[0].message


async def _later() -> None: ...


def test_small_tools_do_what_providers_expect() -> None:
    from boraflow.airflow import provider_base as tools

    nested = {"a": None, "b": [1, None, {"c": None}], "d": {"e": None}, "f": 0}
    assert tools.prune_dict(nested) == {"b": [1, {}], "d": {}, "f": 0}
    assert tools.prune_dict(nested, "truthy") == {"b": [1]}
    assert tools.exactly_one(1, None, 0)
    assert not tools.exactly_one(1, 2)
    assert tools.at_most_one(None, 0) and not tools.at_most_one(1, 2)
    assert list(tools.chunks([1, 2, 3], 2)) == [[1, 2], [3]]
    assert tools.merge_dicts({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert tools.convert_camel_to_snake("jobName") == "job_name"
    assert tools.as_flattened_list([1, [2, ["three"]]]) == [1, 2, "three"]
    assert tools.determine_kwargs(lambda r, ds: None, ["r"], {"ds": "d", "ti": 1}) == {"ds": "d"}
    assert tools.is_async_callable(tools.functools.partial(_later)) and not tools.is_async_callable(
        print
    )
    assert tools.make_kwargs_callable(lambda a: a)(a=1, b=2) == 1
    with hook.active():
        found = importlib.import_module("airflow.sdk.module_loading").iter_namespace(hook_package)
    assert "boraflow.airflow.hook" in {m.name for m in found}
    with (
        pytest.raises(AirflowTaskTimeout, match=r"too slow after 0.01 s"),
        tools.timeout(0.01, "too slow"),
    ):
        importlib.import_module("time").sleep(5)
