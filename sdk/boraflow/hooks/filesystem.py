"""FSHook: paths below a folder that a connection names."""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path
from typing import Any

from boraflow.hooks.base import BaseHook


class FSHook(BaseHook):
    """A folder given by a connection of type ``fs``: its extra ``{"path": "/data"}``, or its host."""

    conn_name_attr = "fs_conn_id"
    default_conn_name = "fs_default"
    conn_type = "fs"
    hook_name = "File (path)"

    def __init__(self, fs_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fs_conn_id = fs_conn_id
        connection = self.get_connection(fs_conn_id)
        self.basepath = str(connection.extra_dejson.get("path") or connection.host or "")
        self.conn = connection

    def get_conn(self) -> None:
        """Return nothing: a folder needs no client."""

    def get_path(self) -> str:
        """Return the folder."""
        return self.basepath

    def full_path(self, name: str) -> str:
        """Return a path below the folder; an absolute one stays as it is."""
        return os.path.join(self.basepath, name)  # noqa: PTH118 (a glob is not a path)

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the folder exists."""
        path = self.get_path()
        if not path:
            return False, "File Path is undefined."
        if not Path(path).exists():
            return False, f"Path {path} does not exist."
        return True, f"Path {path} is existing."


def find_file(pattern: str, recursive: bool = False) -> str | None:
    """Return the first file that matches, or that lies in a matching folder; None if there is none."""
    for path in sorted(glob(pattern, recursive=recursive)):  # noqa: PTH207
        if os.path.isfile(path):  # noqa: PTH113
            return path
        for folder, _, files in os.walk(path):
            if files:
                return os.path.join(folder, min(files))  # noqa: PTH118
    return None
