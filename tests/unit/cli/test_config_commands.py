"""`bora config`: what holds here, where it comes from, and what is wrong with it."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from boraflow.cli.app import run
from boraflow.cli.config import template
from boraflow.config import SECTIONS


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    import os

    for name in [n for n in os.environ if n.startswith("BORAFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BORAFLOW_HOME", str(tmp_path))
    return tmp_path / "boraflow.toml"


def test_show_and_get(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write_text(
        '[executor]\nqueues = ["a", "b"]\n\n[metastore]\nretention_days = 7\n'
        'database_url = "postgresql://u:hush@h/d"\nfernet_key = "k3y"\n'
    )
    monkeypatch.setenv("BORAFLOW_EXECUTOR_SLOTS", "5")
    assert run(["config", "show", "executor", "--changed", "-o", "json"]) == 0
    found = {r["key"]: (r["value"], r["source"]) for r in json.loads(capsys.readouterr().out)}
    assert found == {
        "slots": (5, "BORAFLOW_EXECUTOR_SLOTS"), "queues": (["a", "b"], f"{place}:2"),
        "home": (str(place.parent), "BORAFLOW_HOME"),
    }  # fmt: skip
    assert run(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "hush" not in out
    assert "k3y" not in out
    assert "postgresql://u:***@h/d" in out
    assert all(section in out for section in SECTIONS)
    for arguments, value in (
        (["executor.slots"], "5"), (["metastore", "retention_days"], "7.0"), (["client.output"], "table"),
        (["executor.queues"], '["a", "b"]'), (["metastore.fernet_key"], "***"),
        (["metastore.fernet_key", "--show-secrets"], "k3y"),
    ):  # fmt: skip
        assert run(["config", "get", *arguments]) == 0
        assert capsys.readouterr().out == f"{value}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["get", "executor.slot"],
            3,
            "there is no setting 'slot' in [executor]; did you mean 'slots'?",
        ),
        (["get", "exec.slots"], 3, "there is no section 'exec'"),
        (["get", "executor"], 2, "which setting?"),
        (["show", "metastor"], 3, "did you mean 'metastore'?"),
    ],
)
def test_wrong_names(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", *arguments]) == code
    assert message in capsys.readouterr().err


def test_check_names_every_mistake_with_its_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write_text(
        "[executor]\n"
        "slot = 3\n"
        'slots = "many"\n'
        "lane_slots = -1\n"
        "# a comment\n"
        "[exectutor]\n"
        "slots = 3\n"
        "[client]\n"
        'output = "tabel"\n'
        "slots = 3\n"
        "[metastore]\n"
        '"log_json" = "perhaps"\n'
        "[scheduler]\n"
        "bundle_name = 3\n"
    )
    monkeypatch.setenv("BORAFLOW_EXECUTOR_SLOTZ", "3")
    monkeypatch.setenv("BORAFLOW_LOG_LEVEL", "loud")
    assert run(["config", "check"]) == 2
    err = capsys.readouterr().err
    for line in (
        f"{place}:2: unknown setting 'slot' in [executor]; did you mean 'slots'?",
        f"{place}:3: [executor] slots: a whole number is expected, not 'many'",
        f"{place}:4: [executor] lane_slots: a number from 0 is expected, not -1",
        f"{place}:6: unknown section [exectutor]; did you mean 'executor'?",
        f"{place}:9: [client] output: one of table, json, yaml is expected, not 'tabel'; did you mean 'table'?",
        f"{place}:10: unknown setting 'slots' in [client]; it is one of [executor]",
        f"{place}:12: [metastore] log_json: true or false is expected, not 'perhaps'",
        f"{place}:14: [scheduler] bundle_name: text is expected, not 3",
        "BORAFLOW_LOG_LEVEL: one of debug, info, warning, error is expected, not 'loud'",
        "BORAFLOW_EXECUTOR_SLOTZ is set, but nothing reads it; did you mean 'BORAFLOW_EXECUTOR_SLOTS'?",
        "bora: 10 mistakes",
    ):
        assert line in err.splitlines()
    # A service stops at the first.
    assert run(["config", "get", "ui.address"]) == 2
    assert f"{place}:2: unknown setting" in capsys.readouterr().err


def test_check_of_a_file_that_is_no_toml(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check"]) == 0
    assert "There is no" in capsys.readouterr().out
    place.write_text("[executor]\nslots = 1\nslots = 2\n")
    assert run(["config", "check"]) == 2
    assert f"{place}:3: is not valid TOML" in capsys.readouterr().err
    place.write_text("executor.slots = 3\n")
    assert run(["config", "check"]) == 0
    assert "is right" in capsys.readouterr().out


def test_init(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "init"]) == 0
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert run(["config", "check"]) == 0
    assert run(["config", "init"]) == 5
    assert "--force replaces it" in capsys.readouterr().err
    assert run(["config", "init", "--force"]) == 0
    # Every line that it offers is one that the check takes.
    settings = "\n".join(
        line[1:] if line.startswith("#") and line[1:2].isalpha() else line
        for line in place.read_text().splitlines()
    )
    assert set(tomllib.loads(settings)) == set(SECTIONS)
    place.write_text(settings)
    assert run(["config", "check"]) == 0, capsys.readouterr().err
    assert "slots = 0" in template()


def test_the_file_sets_how_commands_print(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    command = ["dags", "lint", str(place.parent)]
    (place.parent / "empty.py").write_text("")
    place.write_text('[client]\noutput = "json"\n')
    run(command)
    assert isinstance(json.loads(capsys.readouterr().out), list | dict)
    assert "BORAFLOW_OUTPUT" not in os.environ
    monkeypatch.setenv("BORAFLOW_OUTPUT", "table")
    run(command)
    assert not capsys.readouterr().out.startswith(("[", "{"))
