"""``bora deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boraflow.cli import inputs, output
from boraflow.cli.output import Format, Output


def deploy(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with DAG files.")],
    name: Annotated[
        str, typer.Option("--name", help="Bundle; `dags` takes the place of the DAG folder.")
    ] = "dags",
    form: Output = Format.TABLE,
) -> None:
    """Deploy a folder of DAG files: only files that are not stored yet are sent.

    The scheduler parses it at once; runs that go on keep the code they began with.
    """
    with inputs.connect() as client:
        done = client.bundles.deploy(folder, name=name)
    output.done(
        f"Deployed {done.file_count} files ({done.uploaded_count} new) as {done.name}"
        f" generation {done.generation}",
        {
            "name": done.name,
            "generation": done.generation,
            "manifest_digest": done.manifest_digest,
            "file_count": done.file_count,
            "uploaded_count": done.uploaded_count,
        },
        form,
    )
