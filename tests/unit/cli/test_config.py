"""Settings: environment over file over default, and mistakes named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from boraflow.config import (
    SECTIONS,
    ConfigError,
    home,
    load_settings,
    read_token,
    unknown_variables,
    variable_of,
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"BORAFLOW_HOME": str(tmp_path)}


def test_defaults(environ: dict[str, str], tmp_path: Path) -> None:
    settings = load_settings("metastore", environ)
    assert settings.address == "127.0.0.1:7781"
    assert settings.home == tmp_path
    assert load_settings("executor", environ).queues == ("default",)
    assert home({}) == Path("~/.boraflow").expanduser()


def test_environment_wins_over_file_and_file_over_default(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "boraflow.toml").write_text(
        '[executor]\nslots = 3\nqueues = ["a", "b"]\nlabels = {zone = "x"}\n'
        "[metastore]\nretention_days = 7.5\n"
    )
    settings = load_settings("executor", environ)
    assert (settings.slots, settings.queues, settings.labels) == (3, ("a", "b"), {"zone": "x"})
    assert load_settings("metastore", environ).retention_days == 7.5
    environ |= {
        "BORAFLOW_EXECUTOR_SLOTS": "5",
        "BORAFLOW_EXECUTOR_QUEUES": "gpu, cpu",
        "BORAFLOW_EXECUTOR_LABELS": "zone=a, gpu=yes",
    }
    settings = load_settings("executor", environ)
    assert (settings.slots, settings.queues) == (5, ("gpu", "cpu"))
    assert settings.labels == {"zone": "a", "gpu": "yes"}
    assert load_settings("executor", environ, slots=9).slots == 9
    assert load_settings("executor", environ, slots=None).slots == 5


def test_the_metastores_own_address_is_everybodys(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "boraflow.toml").write_text('[metastore]\naddress = "127.0.0.1:9"\n')
    for section in ("scheduler", "executor", "ui", "client"):
        assert load_settings(section, environ).metastore_address == "127.0.0.1:9"  # type: ignore[call-overload]


def test_what_is_up_on_this_home_is_found(environ: dict[str, str], tmp_path: Path) -> None:
    up = tmp_path / "up.json"
    up.write_text('{"services": {"metastore": {"address": "127.0.0.1:8"}}}')
    assert load_settings("client", environ).metastore_address == "127.0.0.1:8"
    environ["BORAFLOW_METASTORE_ADDRESS"] = "127.0.0.1:7"
    assert load_settings("client", environ).metastore_address == "127.0.0.1:7"
    del environ["BORAFLOW_METASTORE_ADDRESS"]
    for text in ("", "[]", "{}", '{"services": {"metastore": {"address": 3}}}'):
        up.write_text(text)
        assert load_settings("client", environ).metastore_address == "127.0.0.1:7781"


@pytest.mark.parametrize("word", ["1", "true", "Yes", "ON"])
def test_true(environ: dict[str, str], word: str) -> None:
    environ["BORAFLOW_LOG_JSON"] = word
    assert load_settings("ui", environ).log_json is True


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BORAFLOW_EXECUTOR_SLOTS", "many", "a whole number is expected, not 'many'"),
        ("BORAFLOW_LOG_JSON", "perhaps", "true or false"),
        ("BORAFLOW_EXECUTOR_KILL_GRACE_SECONDS", "5s", "a number is expected"),
        ("BORAFLOW_EXECUTOR_LABELS", "zone", "key=value"),
    ],
)
def test_a_bad_value_names_the_variable(
    environ: dict[str, str], name: str, value: str, message: str
) -> None:
    environ[name] = value
    with pytest.raises(ConfigError) as raised:
        load_settings("executor", environ)
    assert name in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[executor]\nslot = 3\n", "unknown setting 'slot' in [executor]; did you mean 'slots'?"),
        ("[exectutor]\nslots = 3\n", "unknown section [exectutor]; did you mean 'executor'?"),
        ("[executor]\nslots = true\n", "[executor] slots: a whole number is expected"),
        ("[executor\n", "is not valid TOML"),
        ("executor = 3\n", "is expected to be a table"),
    ],
)
def test_a_bad_file_names_the_place(
    environ: dict[str, str], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "boraflow.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings("executor", environ)
    assert message in str(raised.value)


def test_a_named_file_must_be_there(environ: dict[str, str]) -> None:
    environ["BORAFLOW_CONFIG"] = "/nowhere/b.toml"
    with pytest.raises(ConfigError, match="BORAFLOW_CONFIG"):
        load_settings("ui", environ)


def test_unknown_variables_are_found(environ: dict[str, str]) -> None:
    environ |= {"BORAFLOW_EXECUTOR_SLOT": "3", "BORAFLOW_VAR_X": "1", "BORAFLOW_TOKEN": "x"}
    (sentence,) = unknown_variables(environ)
    assert "BORAFLOW_EXECUTOR_SLOT " in sentence
    assert "BORAFLOW_EXECUTOR_SLOTS" in sentence


def test_tokens(environ: dict[str, str], tmp_path: Path) -> None:
    assert read_token("admin", environ) is None
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "admin.token").write_text("secret\n")
    assert read_token("admin", environ) == "secret"
    assert read_token("admin", {**environ, "BORAFLOW_TOKEN": " other "}) == "other"
    with pytest.raises(ConfigError, match="BORAFLOW_TOKEN holds no token"):
        read_token("admin", {**environ, "BORAFLOW_TOKEN": "schlüssel"})
    (tmp_path / "tokens" / "admin.token").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match=r"admin\.token holds no token"):
        read_token("admin", environ)


def test_variables_are_unique_or_mean_the_same() -> None:
    seen: dict[str, tuple[str, object]] = {}
    for section, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            assert field.metadata["doc"].endswith("."), f"{section}.{field.name}"
            name = variable_of(section, field)
            if name in seen and name != "BORAFLOW_METASTORE_ADDRESS":
                other, doc = seen[name]
                same = doc == field.metadata["doc"]
                assert same, f"{name}: {other}, {section}"
            seen.setdefault(name, (section, field.metadata["doc"]))
