"""``bora config``."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from boraflow import config as settings
from boraflow.cli import output
from boraflow.cli.exits import CONFLICT, NOT_FOUND, USAGE, Exit
from boraflow.cli.output import Format, Output
from boraflow.exceptions import suggest

app = typer.Typer(
    help="Settings of this machine: the file boraflow.toml, the environment, defaults.",
    no_args_is_help=True,
)

_ShowSecrets = Annotated[bool, typer.Option("--show-secrets", help="Keys and passwords too.")]


def _section(name: str) -> str:
    if name not in settings.SECTIONS:
        known = list(settings.SECTIONS)
        raise Exit(
            NOT_FOUND, f"there is no section {name!r}: {', '.join(known)}{suggest(name, known)}"
        )
    return name


def _shown(found: settings.FoundSetting, secrets: bool) -> Any:
    if found.secret and found.value and not secrets:
        # A URL without its password tells more than three stars.
        parts = urlsplit(str(found.value))
        if found.key.endswith("_url") and parts.password is not None:
            return str(found.value).replace(f":{parts.password}@", ":***@")
        return found.value if found.key == "database_url" else "***"
    value = found.value
    return list(value) if isinstance(value, tuple) else str(value) if found.key == "home" else value


@app.command()
def show(
    section: Annotated[
        str | None, typer.Argument(metavar="[SECTION]", help="Only this section.")
    ] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not a default.")] = False,
    show_secrets: _ShowSecrets = False,
    form: Output = Format.TABLE,
) -> None:
    """Show the settings that hold here, and where each comes from."""
    names = [_section(section)] if section else list(settings.SECTIONS)
    found = [f for name in names for f in settings.find_settings(name)]
    records = [
        {
            "section": f.section,
            "key": f.key,
            "value": _shown(f, show_secrets),
            "source": f.source,
            "variable": f.variable,
        }
        for f in found
        if not changed or f.source != "default"
    ]
    output.rows(
        records, form, ["section", "key", "value", "source"], empty="All settings are defaults."
    )


@app.command()
def get(
    section: Annotated[
        str, typer.Argument(metavar="SECTION[.KEY]", help="Such as executor.slots.")
    ],
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="The setting.")] = None,
    show_secrets: _ShowSecrets = False,
) -> None:
    """Print the value of one setting."""
    if key is None:
        section, _, key = section.partition(".")
    if not key:
        raise Exit(USAGE, "which setting? bora config get executor.slots")
    found = {f.key: f for f in settings.find_settings(_section(section))}
    if key not in found:
        raise Exit(
            NOT_FOUND, f"there is no setting {key!r} in [{section}]{suggest(key, list(found))}"
        )
    value = _shown(found[key], show_secrets)
    print(value if isinstance(value, str) else json.dumps(value))


@app.command()
def check() -> None:
    """Check the settings file and the environment: a line for each mistake."""
    found = settings.problems()
    for line in found:
        output.note(line)
    if found:
        raise Exit(USAGE, f"{len(found)} {'mistake' if len(found) == 1 else 'mistakes'}")
    path = settings.config_path()
    print(f"{path} is right" if path.exists() else f"There is no {path}; the environment is right")


@app.command()
def init(
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
) -> None:
    """Write a settings file that names every setting with its default, all commented out."""
    path = settings.config_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        # It may come to hold a database's password.
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        raise Exit(CONFLICT, f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise Exit(USAGE, f"cannot write {path}: {error.strerror}") from None
    print(f"Wrote {path}")


def template() -> str:
    """Return the text of a settings file with every setting commented out."""
    import dataclasses
    import textwrap

    shared = {f.name for f in dataclasses.fields(settings.Settings)}
    lines = ["# Settings of Boraflow. Take the # away from what you change.", ""]
    for section, cls in settings.SECTIONS.items():
        lines += [f"# {(cls.__doc__ or '').strip()}", f"[{section}]"]
        fields = [f for f in dataclasses.fields(cls) if f.name != "home"]
        for f in sorted(fields, key=lambda f: f.name in shared):
            if f.name in shared and section != "metastore":
                continue
            default = f.default if f.default is not dataclasses.MISSING else f.default_factory()  # type: ignore[misc]
            lines += [
                f"# {line}" for line in textwrap.wrap(f.metadata["doc"].replace("`", "'"), 96)
            ]
            lines.append(f"#{f.name} = {_toml(default)}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return json.dumps(list(value))
    if isinstance(value, dict):
        return "{}"
    return json.dumps(value)
