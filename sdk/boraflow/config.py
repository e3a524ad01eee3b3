# ruff: noqa: RUF009  _setting is dataclasses.field with the words of the reference page
"""Settings: one frozen dataclass per service, read once, passed down; nothing else reads the environment.

A setting comes from the environment (``BORAFLOW_...``), else from ``boraflow.toml`` in the home folder
(``[section]`` and the field's name), else from its default here; the metastore's address, also from what
``bora up`` on the same home says. ``docs/reference/settings.md`` is
generated from this module. Standard library only: a DAG file's process may import it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, overload


class ConfigError(Exception):
    """A setting, an address or a file of the set-up cannot be used; the message names it and the fix."""


T = TypeVar("T")


def home(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder that holds all state: ``BORAFLOW_HOME``, else ``~/.boraflow``."""
    environ = os.environ if environ is None else environ
    return Path(environ.get("BORAFLOW_HOME") or "~/.boraflow").expanduser().absolute()


def read_token(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return a token's secret: ``BORAFLOW_TOKEN``, else ``$BORAFLOW_HOME/tokens/<name>.token``, else ``None``.

    Raises:
        ConfigError: the file is there and cannot be read, or no token could look like this.
    """
    environ = os.environ if environ is None else environ
    if secret := environ.get("BORAFLOW_TOKEN", "").strip():
        return _plausible(secret, "BORAFLOW_TOKEN")
    path = home(environ) / "tokens" / f"{name}.token"
    try:
        return _plausible(path.read_text(errors="replace").strip(), str(path)) or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read the token {path}: {error.strerror}") from error


def _plausible(secret: str, where: str) -> str:
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigError(f"{where} holds no token: there are characters in it that no token has")
    return secret


def _setting(
    default: Any,
    doc: str,
    *,
    env: str | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """Declare a field.

    Args:
        default: its value, or a function that makes it.
        doc: a sentence or two for the reference page.
        env: instead of the name ``BORAFLOW_<SECTION>_<FIELD>``.
        choices: all values that it may have.
        secret: ``bora config`` does not show it unasked.
    """
    metadata = {"doc": doc, "env": env, "choices": choices, "secret": secret}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every section has."""

    home: Path = _setting(home, "Folder that holds all state.", env="BORAFLOW_HOME")
    log_level: str = _setting(
        "info",
        "`debug`, `info`, `warning` or `error`.",
        env="BORAFLOW_LOG_LEVEL",
        choices=("debug", "info", "warning", "error"),
    )
    log_json: bool = _setting(
        False, "Log one JSON object a line instead of text.", env="BORAFLOW_LOG_JSON"
    )
    tls_ca: str = _setting(
        "", "PEM file of the authority that peers are checked against.", env="BORAFLOW_TLS_CA"
    )
    tls_cert: str = _setting("", "PEM file of the service's certificate.", env="BORAFLOW_TLS_CERT")
    tls_key: str = _setting("", "PEM file of its private key.", env="BORAFLOW_TLS_KEY")
    allow_insecure: bool = _setting(
        False,
        "Speak plain text off loopback too: only on a network that you trust.",
        env="BORAFLOW_ALLOW_INSECURE",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings(Settings):
    """What metastore and dashboard both know of the provider that people sign in at."""

    oidc_issuer: str = _setting(
        "",
        "URL of the OpenID Connect provider whose people may sign in; empty is none.",
        env="BORAFLOW_OIDC_ISSUER",
    )
    oidc_client_id: str = _setting(
        "", "What the provider calls this installation.", env="BORAFLOW_OIDC_CLIENT_ID"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetastoreSettings(ProviderSettings):
    """The metastore."""

    address: str = _setting("127.0.0.1:7781", "Where the public API listens.")
    database_url: str = _setting(
        "",
        "SQLAlchemy URL, such as `postgresql://user@host/boraflow`; empty is SQLite in the home folder.",
        env="BORAFLOW_DATABASE_URL",
        secret=True,
    )
    logs_url: str = _setting(
        "",
        "Where logs are kept, any fsspec URL; empty is `logs/` in the home folder.",
        env="BORAFLOW_LOGS_URL",
    )
    files_url: str = _setting(
        "",
        "Where bundle files are kept, any fsspec URL; empty is `files/` in the home folder.",
        env="BORAFLOW_FILES_URL",
    )
    fernet_key: str = _setting(
        "",
        "Keys that encrypt variables and connections, comma separated, the first one encrypts;"
        " empty is `fernet.key` in the home folder.",
        env="BORAFLOW_FERNET_KEY",
        secret=True,
    )
    auto_migrate: bool = _setting(True, "Bring the database's schema up to date at start.")
    dags_are_paused_at_creation: bool = _setting(
        True,
        "Whether a new DAG starts paused, when it does not say.",
        env="BORAFLOW_DAGS_ARE_PAUSED_AT_CREATION",
    )
    retention_days: float = _setting(
        90.0,
        "Tasks, XComs and logs of finished runs are removed after this; 0 keeps them.",
        env="BORAFLOW_RETENTION_DAYS",
    )
    xcom_max_bytes: int = _setting(
        1_048_576, "Largest XCom value, as JSON text.", env="BORAFLOW_XCOM_MAX_BYTES"
    )
    state_max_bytes: int = _setting(
        65_535,
        "Largest value of a state store, as JSON text, that the API takes, and beyond which a task is warned; 0 is"
        " none.",
        env="BORAFLOW_STATE_MAX_BYTES",
    )
    state_retention_days: float = _setting(
        30.0,
        "What a task keeps in `task_state_store` goes after this, unless it says how long; 0 keeps it as long as"
        " its run.",
        env="BORAFLOW_STATE_RETENTION_DAYS",
    )
    state_clear_on_success: bool = _setting(
        False,
        "Whether a task that succeeds loses what it kept in `task_state_store`.",
        env="BORAFLOW_STATE_CLEAR_ON_SUCCESS",
    )
    leader_lease_seconds: float = _setting(
        10.0, "A scheduler that was not heard of for so long no longer leads."
    )
    relay_timeout_seconds: float = _setting(
        30.0, "How long a command waits for the leading scheduler's answer."
    )
    oidc_roles: dict[str, str] = _setting(
        dict,
        "Who gets which role, strongest first to match: `admin=platform,operator=data|sre,viewer=*`. Several values"
        " are separated by `|`; `*` is everybody whom the provider knows.",
        env="BORAFLOW_OIDC_ROLES",
    )
    oidc_role_claim: str = _setting(
        "groups",
        "Claim of the ID token that these values are looked for in, such as `realm_access.roles`.",
        env="BORAFLOW_OIDC_ROLE_CLAIM",
    )
    oidc_name_claim: str = _setting(
        "email", "Claim that names people, in the audit log too.", env="BORAFLOW_OIDC_NAME_CLAIM"
    )
    oidc_session_hours: float = _setting(
        12.0, "How long a person stays signed in.", env="BORAFLOW_OIDC_SESSION_HOURS"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings(Settings):
    """The scheduler."""

    address: str = _setting("127.0.0.1:7782", "Where executors attach.")
    advertise_address: str = _setting(
        "", "Address that executors are told to dial; empty is `address`."
    )
    metastore_address: str = _setting(
        "127.0.0.1:7781", "The metastore.", env="BORAFLOW_METASTORE_ADDRESS"
    )
    dags_folder: str = _setting(
        "", "Folder of DAG files; empty is `dags/` in the home folder.", env="BORAFLOW_DAGS_FOLDER"
    )
    bundle_name: str = _setting("dags", "Name of the bundle that the DAG folder is.")
    executor_lease_seconds: float = _setting(
        30.0,
        "An executor that was not heard of for so long has lost its work; also the outage of the control plane"
        " that running tasks survive.",
    )
    queued_timeout_seconds: float = _setting(
        600.0, "A task that no worker took for so long after its hand-out is handed out again."
    )
    parallelism: int = _setting(
        0, "Most task instances that run at once; 0 is the executors' slots."
    )
    max_map_length: int = _setting(1024, "Most instances of one mapped task.")
    parse_timeout_seconds: float = _setting(30.0, "Longest time to parse one DAG file.")
    parse_memory_mb: int = _setting(512, "Most memory that parsing one DAG file may add.")
    parse_processes: int = _setting(2, "How many DAG files are parsed at once.")
    dag_discovery_safe_mode: bool = _setting(
        True,
        "Skip Python files that do not name Boraflow or Airflow together with a DAG or an asset.",
        env="BORAFLOW_DAG_DISCOVERY_SAFE_MODE",
    )
    dag_ignore_file_syntax: str = _setting(
        "glob",
        "How `.airflowignore` is read: `glob`, as `.gitignore`, or `regexp`.",
        env="BORAFLOW_DAG_IGNORE_FILE_SYNTAX",
        choices=("glob", "regexp"),
    )
    rescan_seconds: float = _setting(
        60.0,
        "The DAG folder is looked through again so often, beside being watched; what cannot be used is parsed again.",
    )
    alert_webhook_url: str = _setting(
        "",
        "Is sent a JSON message when a run fails.",
        env="BORAFLOW_ALERT_WEBHOOK_URL",
        secret=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings(Settings):
    """The executor."""

    address: str = _setting("127.0.0.1:7783", "Its own door: state, drain, live logs.")
    metastore_address: str = _setting(
        "127.0.0.1:7781", "The metastore.", env="BORAFLOW_METASTORE_ADDRESS"
    )
    scheduler_address: str = _setting(
        "", "Where to attach; empty asks the metastore, so that a failover is followed."
    )
    name: str = _setting("", "Stable name; empty is the host's name.")
    slots: int = _setting(0, "Tasks that run at once; 0 is four per core, at least 8.")
    lane_slots: int = _setting(
        1000, "Sensors and deferred tasks that wait in the async lane at once."
    )
    queues: tuple[str, ...] = _setting(("default",), "Queues it takes work from, comma separated.")
    labels: dict[str, str] = _setting(dict, "Free labels: `zone=a,gpu=yes`.")
    tasks_per_worker: int = _setting(
        1,
        "How many tasks one worker process runs before it is replaced; 1 is a fresh process each.",
    )
    task_memory_limit_mb: int = _setting(0, "Memory limit of a task that sets none; 0 is none.")
    kill_grace_seconds: float = _setting(
        5.0, "Time between SIGTERM and SIGKILL when a task is stopped."
    )
    drain_timeout_seconds: float = _setting(
        30.0, "On shutdown, how long running tasks may finish before they are handed back."
    )
    log_max_bytes: int = _setting(1 << 30, "Longest log of one attempt; the rest is dropped.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UiSettings(ProviderSettings):
    """The dashboard."""

    address: str = _setting("127.0.0.1:7780", "Where the dashboard listens.")
    login: str = _setting(
        "auto",
        "`token`: people sign in; `none`: everybody acts with the dashboard's own token; `auto`: `none` on loopback"
        " without an OpenID Connect provider, else `token`.",
    )
    oidc_client_secret: str = _setting(
        "",
        "The secret that the provider gave it; empty for a public client.",
        env="BORAFLOW_OIDC_CLIENT_SECRET",
        secret=True,
    )
    oidc_scope: str = _setting(
        "openid email profile", "What the provider is asked for.", env="BORAFLOW_OIDC_SCOPE"
    )
    oidc_redirect_url: str = _setting(
        "",
        "Where the provider sends people back to: the dashboard's address with `/login/callback`. Empty is made from"
        " the address in the browser.",
        env="BORAFLOW_OIDC_REDIRECT_URL",
    )
    pictures_folder: str = _setting(
        "",
        "Folder that tasks write pictures to and the dashboard can read: an XCom that is the path of one below it"
        " is shown as the picture. Empty: paths are shown as text.",
    )
    metastore_address: str = _setting(
        "127.0.0.1:7781", "The metastore.", env="BORAFLOW_METASTORE_ADDRESS"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(Settings):
    """The command line and the Python client."""

    metastore_address: str = _setting(
        "127.0.0.1:7781", "The metastore.", env="BORAFLOW_METASTORE_ADDRESS"
    )
    timeout_seconds: float = _setting(30.0, "Longest time for one call.")
    output: str = _setting(
        "table",
        "`table`, `json` or `yaml`.",
        env="BORAFLOW_OUTPUT",
        choices=("table", "json", "yaml"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsSettings(Settings):
    """Where tasks and DAG files look for connections and variables first."""

    backend: str = _setting(
        "",
        "Class path of a secrets backend, such as `boraflow.secrets.LocalFilesystemBackend`; empty is none.",
    )
    backend_kwargs: str = _setting(
        "",
        'Its arguments, as JSON: `{"connections_file_path": "/run/secrets/connections.json"}`.',
        secret=True,
    )


SECTIONS: dict[str, type[Settings]] = {
    "metastore": MetastoreSettings,
    "scheduler": SchedulerSettings,
    "executor": ExecutorSettings,
    "ui": UiSettings,
    "client": ClientSettings,
    "secrets": SecretsSettings,
}

#: Variables that are read elsewhere, with what they mean.
OTHER_VARIABLES: dict[str, str] = {
    "BORAFLOW_TOKEN": "Secret that calls carry; else the token file of the service or, for `bora`, `admin.token`.",
    "BORAFLOW_EMAIL_CONN_ID": "Connection of the mail server that a task's `email` is sent through; `smtp_default` by"
    " default.",
    "BORAFLOW_UI_URL": "Address of the dashboard in links that tasks make (`ti.log_url`), such as"
    " `https://boraflow.example.org`; `bora up` sets it.",
    "BORAFLOW_AIRFLOW_IMPORTS": "What `import airflow` gives in DAG files: `boraflow` (the default), Boraflow's own"
    " objects, or `installed`, an Airflow that is installed there. Of the scheduler and of each executor.",
    "BORAFLOW_CONFIG": "Another settings file than `boraflow.toml` in the home folder.",
    "BORAFLOW_PLUGINS_FOLDER": "Folder of plugins and of `airflow_local_settings.py`, beside `plugins/` of each bundle;"
    " `plugins/` in the home folder by default. Of the scheduler and of each executor.",
    "BORAFLOW_XCOM_BACKEND": "Import path of a subclass of `BaseXCom` that stores and reads XComs, such as"
    " `boraflow.airflow.xcom_storage.XComObjectStorageBackend`. Of each executor.",
    "BORAFLOW_XCOM_STORAGE_URL": "Where `XComObjectStorageBackend` keeps large XComs, any fsspec URL. Of each executor.",
    "BORAFLOW_XCOM_STORAGE_THRESHOLD": "From how many bytes on it does so; -1, the default, is never, 0 always.",
    "BORAFLOW_XCOM_STORAGE_COMPRESSION": "How it compresses them, such as `gzip`; not at all by default.",
    "BORAFLOW_VAR_<KEY>": "Value of a variable, for tasks.",
    "BORAFLOW_CONN_<ID>": "A connection as URI or JSON, for tasks.",
}


def variable_of(section: str, field: dataclasses.Field[Any]) -> str:
    """Return the environment variable that sets a field."""
    return field.metadata.get("env") or f"BORAFLOW_{section.upper()}_{field.name.upper()}"


_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def _parse(field: dataclasses.Field[Any], kind: Any, value: Any, where: str) -> Any:
    """Return ``value`` (text of a variable, or a TOML value) as the field has it.

    Raises:
        ConfigError: it cannot be that; ``where`` says where it stands.
    """
    try:
        parsed = _as(kind, value)
    except (ValueError, TypeError, AttributeError):
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        expected = names.get(
            kind, "a list" if typing.get_origin(kind) is tuple else "key=value pairs"
        )
        raise ConfigError(f"{where}: {expected} is expected, not {value!r}") from None
    choices = field.metadata.get("choices")
    if choices and parsed not in choices:
        raise ConfigError(
            f"{where}: one of {', '.join(choices)} is expected, not {parsed!r}{_near(parsed, choices)}"
        )
    if kind in (int, float) and not parsed >= 0:
        raise ConfigError(f"{where}: a number from 0 is expected, not {parsed}")
    if field.name.endswith("address") and parsed and not _is_address(parsed):
        raise ConfigError(
            f"{where}: {parsed!r} is not an address: host:port is expected, such as 127.0.0.1:7781"
        )
    return parsed


def _is_address(text: str) -> bool:
    if text.startswith(("unix:", "dns:", "ipv4:", "ipv6:")):  # as gRPC has them
        return True
    host, _, port = text.rpartition(":")
    return bool(host) and "/" not in host and port.isdecimal() and int(port) < 65536


def _as(kind: Any, value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise ValueError
    if kind is int:
        if isinstance(value, bool):
            raise ValueError
        return int(str(value).replace("_", ""))
    if kind is float:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    if kind is Path:
        return Path(str(value)).expanduser().absolute()
    if kind is str:
        if not isinstance(value, str):
            raise ValueError
        return value
    if typing.get_origin(kind) is tuple:
        items = value.split(",") if isinstance(value, str) else list(value)
        return tuple(s for item in items if (s := str(item).strip()))
    if typing.get_origin(kind) is dict:
        if isinstance(value, dict):
            return {str(k): str(v) for k, v in value.items()}
        pairs = [p for p in value.split(",") if p.strip()]
        return {k.strip(): v.strip() for k, v in (p.split("=", 1) for p in pairs)}
    raise TypeError(f"no reader for {kind}")


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return the settings file: ``BORAFLOW_CONFIG``, else ``boraflow.toml`` in the home folder."""
    environ = os.environ if environ is None else environ
    named = environ.get("BORAFLOW_CONFIG")
    return Path(named).expanduser() if named else home(environ) / "boraflow.toml"


class _File:
    """The settings file: its values by section and key, where each stands, and all that is wrong with it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.path = config_path(environ)
        self.problems: list[str] = []
        self.data: dict[str, dict[str, Any]] = {}
        self._lines: list[str] = []
        try:
            text = self.path.read_text(encoding="utf-8")
            self._lines = text.splitlines()
            data = tomllib.loads(text)
        except FileNotFoundError:
            if environ.get("BORAFLOW_CONFIG"):
                self.problems.append(f"BORAFLOW_CONFIG: there is no file {self.path}")
            return
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            line = f":{found[1]}" if found else ""
            self.problems.append(f"{self.path}{line}: is not valid TOML: {error}")
            return
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"cannot read {self.path}: {error}")
            return
        for section, values in data.items():
            self._check(section, values)

    def _check(self, section: str, values: Any) -> None:
        where = self.where(section)
        if section not in SECTIONS:
            self.problems.append(f"{where}: unknown section [{section}]{_near(section, SECTIONS)}")
            return
        if not isinstance(values, dict):
            self.problems.append(f"{where}: [{section}] is expected to be a table")
            return
        fields = {f.name: f for f in dataclasses.fields(SECTIONS[section]) if f.name != "home"}
        hints = typing.get_type_hints(SECTIONS[section])
        self.data[section] = {}
        for key, value in values.items():
            where = self.where(section, key)
            if key not in fields:
                others = [
                    s
                    for s, cls in SECTIONS.items()
                    if key in {f.name for f in dataclasses.fields(cls)}
                ]
                hint = _near(key, fields) or (f"; it is one of [{others[0]}]" if others else "")
                self.problems.append(f"{where}: unknown setting {key!r} in [{section}]{hint}")
                continue
            try:
                parsed = _parse(fields[key], hints[key], value, f"{where}: [{section}] {key}")
            except ConfigError as error:
                self.problems.append(str(error))
                continue
            self.data[section][key] = parsed

    def where(self, section: str, key: str | None = None) -> str:
        """Return file and line of a section or of a key in it."""
        inside = ""
        for number, line in enumerate(self._lines, start=1):
            text = line.strip()
            if text.startswith("["):
                inside = text.strip("[]").partition("]")[0].strip().strip("\"'")
                if key is None and inside == section:
                    return f"{self.path}:{number}"
                continue
            name, sign, _ = text.partition("=")
            if not sign:
                continue
            dotted = name.replace('"', "").replace("'", "").replace(" ", "").strip()
            full = f"{inside}.{dotted}" if inside else dotted
            if (key is None and full.partition(".")[0] == section) or full == f"{section}.{key}":
                return f"{self.path}:{number}"
        return str(self.path)


def _address_of_up(environ: Mapping[str, str]) -> str:
    """Return where ``bora up`` on this home has its metastore; empty when nothing is up."""
    try:
        state = json.loads((home(environ) / "up.json").read_text())
        address = state["services"]["metastore"]["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return address if isinstance(address, str) else ""


def _near(word: str, words: typing.Iterable[str]) -> str:
    match = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {match[0]!r}?" if match else ""


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each ``BORAFLOW_`` variable that nothing reads: a typing mistake, likely."""
    environ = os.environ if environ is None else environ
    known = {name for name in OTHER_VARIABLES if "<" not in name}
    for section, cls in SECTIONS.items():
        known |= {variable_of(section, f) for f in dataclasses.fields(cls)}
    return [
        f"{name} is set, but nothing reads it{_near(name, known)}"
        for name in sorted(environ)
        if name.startswith("BORAFLOW_")
        and name not in known
        and not name.startswith(("BORAFLOW_VAR_", "BORAFLOW_CONN_"))
    ]


@overload
def load_settings(
    section: Literal["metastore"], environ: Mapping[str, str] | None = None, **overrides: Any
) -> MetastoreSettings: ...
@overload
def load_settings(
    section: Literal["scheduler"], environ: Mapping[str, str] | None = None, **overrides: Any
) -> SchedulerSettings: ...
@overload
def load_settings(
    section: Literal["executor"], environ: Mapping[str, str] | None = None, **overrides: Any
) -> ExecutorSettings: ...
@overload
def load_settings(
    section: Literal["ui"], environ: Mapping[str, str] | None = None, **overrides: Any
) -> UiSettings: ...
@overload
def load_settings(
    section: Literal["client"], environ: Mapping[str, str] | None = None, **overrides: Any
) -> ClientSettings: ...
@overload
def load_settings(
    section: Literal["secrets"], environ: Mapping[str, str] | None = None, **overrides: Any
) -> SecretsSettings: ...
def load_settings(
    section: str, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Return the settings of a section.

    Args:
        section: ``metastore``, ``scheduler``, ``executor``, ``ui`` or ``client``.
        environ: Instead of ``os.environ``.
        **overrides: Fields that win over everything, such as options of a command; ``None`` does not.

    Raises:
        ConfigError: a value cannot be read, or the settings file has an unknown key.
    """
    environ = os.environ if environ is None else environ
    found = find_settings(section, environ, _checked(environ), overrides)
    if overrides:
        raise TypeError(f"unknown settings: {', '.join(sorted(overrides))}")
    return SECTIONS[section](**{f.key: f.value for f in found})


@dataclass(frozen=True, slots=True)
class FoundSetting:
    """A setting, and where its value comes from."""

    section: str
    key: str
    variable: str
    value: Any
    source: str
    """A variable's name, ``FILE:LINE``, ``option``, ``bora up`` or ``default``."""
    secret: bool
    doc: str


def _checked(environ: Mapping[str, str]) -> _File:
    file = _File(environ)
    if file.problems:
        raise ConfigError(file.problems[0])
    return file


def find_settings(
    section: str,
    environ: Mapping[str, str] | None = None,
    file: _File | None = None,
    overrides: dict[str, Any] | None = None,
) -> list[FoundSetting]:
    """Return all settings of a section; takes what it uses from ``overrides``.

    Raises:
        ConfigError: a value cannot be read, or the settings file has a mistake.
    """
    environ = os.environ if environ is None else environ
    file = _checked(environ) if file is None else file
    overrides = {} if overrides is None else overrides
    cls = SECTIONS[section]
    table = file.data.get(section, {})
    # What the file says of a variable that several sections share holds for each of them.
    shared: dict[str, tuple[str, str]] = {}
    for other, values in file.data.items():
        for field in dataclasses.fields(SECTIONS[other]):
            if field.metadata.get("env") and field.name in values:
                shared[field.metadata["env"]] = (other, field.name)
    hints = typing.get_type_hints(cls)
    out: list[FoundSetting] = []
    for field in dataclasses.fields(cls):
        key, name = field.name, variable_of(section, field)
        if (given := overrides.pop(key, None)) is not None:
            value, source = given, "option"
        elif name in environ:
            value, source = _parse(field, hints[key], environ[name], name), name
        elif key in table:
            value, source = table[key], file.where(section, key)
        elif name in shared:
            value, source = file.data[shared[name][0]][shared[name][1]], file.where(*shared[name])
        elif key == "home":
            value, source = home(environ), "default"
        elif key == "metastore_address" and (own := file.data.get("metastore", {}).get("address")):
            # One variable for who serves and who dials: the metastore's own address is the default.
            value, source = own, file.where("metastore", "address")
        elif key == "metastore_address" and (own := _address_of_up(environ)):
            value, source = own, "bora up"
        elif field.default is not dataclasses.MISSING:
            value, source = field.default, "default"
        else:
            assert field.default_factory is not dataclasses.MISSING
            value, source = field.default_factory(), "default"
        out.append(
            FoundSetting(
                section,
                key,
                name,
                value,
                source,
                bool(field.metadata.get("secret")),
                field.metadata["doc"],
            )
        )
    return out


def problems(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a line for each mistake in the settings file and in the variables."""
    environ = os.environ if environ is None else environ
    out = list(_File(environ).problems)
    for section, cls in SECTIONS.items():
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            name = variable_of(section, field)
            if name in environ:
                try:
                    _parse(field, hints[field.name], environ[name], name)
                except ConfigError as error:
                    out.append(str(error))
    return list(dict.fromkeys([*out, *unknown_variables(environ)]))
