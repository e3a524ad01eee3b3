"""The command tree and the one place where errors become a line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated, Any

import typer

from boraflow.cli import (
    assets,
    backfill,
    bundles,
    config,
    connections,
    dags,
    db,
    doctor,
    executors,
    hitl,
    pools,
    runs,
    services,
    state_store,
    tasks,
    tokens,
    up,
    variables,
)
from boraflow.cli.exits import (
    CONFLICT,
    DENIED,
    FAILED,
    INTERRUPTED,
    NOT_FOUND,
    PAUSED,
    TIMEOUT,
    UNAVAILABLE,
    USAGE,
    Exit,
    code_of,
)
from boraflow.cli.main import version as installed_version
from boraflow.config import ConfigError, config_path, load_settings

app = typer.Typer(
    name="bora",
    help="Boraflow: workflow orchestration with Airflow's model.",
    epilog=(
        f"Exit codes: 0 done; {FAILED} the run or the check failed; {USAGE} bad input;"
        f" {NOT_FOUND} not found; {UNAVAILABLE} a service is not there; {CONFLICT} conflict;"
        f" {DENIED} not allowed; {TIMEOUT} timed out; {PAUSED} the DAG is paused."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        print(f"boraflow {installed_version()}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Boraflow: workflow orchestration with Airflow's model."""


@app.command("version")
def show_version() -> None:
    """Show the installed version."""
    print(f"boraflow {installed_version()}")


app.command("up")(up.up)
app.command("down")(up.down)
for name, command in services.COMMANDS.items():
    app.command(name)(command)
app.add_typer(dags.app, name="dags")
app.add_typer(runs.app, name="runs")
app.add_typer(tasks.app, name="tasks")
app.add_typer(backfill.app, name="backfill")
app.add_typer(hitl.app, name="hitl")
app.command("deploy")(bundles.deploy)
app.add_typer(assets.app, name="assets")
app.add_typer(pools.app, name="pools")
app.add_typer(variables.app, name="variables")
app.add_typer(connections.app, name="connections")
app.add_typer(state_store.app, name="state-store")
app.add_typer(executors.app, name="executors")
app.add_typer(tokens.app, name="tokens")
app.add_typer(config.app, name="config")
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)


def _silence_stdout() -> None:
    # Who reads went away (`bora ... | head`): Python's own flush at exit must not complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; a mistake of the user gives one line, no traceback."""
    # gRPC's own log lines tell nothing that the error does not.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal's encoding does not have is no reason to show nothing.
        sys.stdout.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    # What the options read is the variable; `bora config` tells where a value comes from.
    from_file = None if given[:1] == ["config"] else _output_of_file()
    try:
        if from_file:
            os.environ["BORAFLOW_OUTPUT"] = from_file
        result: Any = app(args=arguments, standalone_mode=False, prog_name="bora")
        sys.stdout.flush()
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except Exit as error:
        return _say(str(error), error.code)
    except ConfigError as error:
        return _say(str(error), USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise
        # What is left in the buffer cannot be written either, and must not be tried again at exit.
        _silence_stdout()
        return _say(f"cannot write the result: {error.strerror}", FAILED)
    except Exception as error:
        # Typer carries its own copy of Click in newer versions, so its exceptions go by their shape.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()  # type: ignore[attr-defined]
            return int(error.exit_code)  # type: ignore[attr-defined]
        if type(error).__name__ == "Exit" and hasattr(error, "exit_code"):
            return int(error.exit_code)  # type: ignore[attr-defined]
        if type(error).__name__ == "Abort":
            return INTERRUPTED
        if type(error).__name__ == "ApiError":
            return _say(str(error), code_of(error))  # type: ignore[arg-type]
        raise
    finally:
        if from_file:
            del os.environ["BORAFLOW_OUTPUT"]


def _output_of_file() -> str | None:
    """Return ``[client] output`` of the settings file, if it says one and the environment does not."""
    if "BORAFLOW_OUTPUT" in os.environ or not config_path().exists():
        return None
    try:
        return load_settings("client").output
    except ConfigError:
        return None  # the command that needs the settings says what is wrong


def _say(message: str, code: int) -> int:
    if message:
        print(f"bora: {message}", file=sys.stderr)
    return code
