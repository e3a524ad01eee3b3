"""FileTransferOperator: copy files between this machine, servers and object stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from boraflow._operator import BaseOperator
from boraflow.exceptions import AirflowException
from boraflow.hooks.object_storage import Location, ObjectStorageHook
from boraflow.hooks.sql_load import readable

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments

_CHUNK = 1 << 20


class FileTransferOperator(BaseOperator):
    """Copy a file, the files of a folder or those that a pattern matches, a megabyte at a time.

    Each file appears at its destination as a whole. A destination that ends in ``/``, a folder as source and a
    pattern mean: below that folder. The XCom is ``{"files": ..., "bytes": ...}``.

    Args:
        src: what to copy: a path or URL that fsspec knows.
        dst: where to.
        source_conn_id: connection with the account for the source.
        dest_conn_id: connection with the account for the destination.
        overwrite: False fails when a file is there already.
    """

    template_fields: Any = ("src", "dst", "source_conn_id", "dest_conn_id")
    ui_color = "#b0f07c"

    def __init__(
        self,
        *,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        source_conn_id: str | None = None,
        dest_conn_id: str | None = None,
        overwrite: bool = False,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.src = os.fspath(src)
        self.dst = os.fspath(dst)
        self.source_conn_id = source_conn_id
        self.dest_conn_id = dest_conn_id
        self.overwrite = overwrite

    def execute(self, context: Context) -> dict[str, int]:
        """Copy."""
        source = ObjectStorageHook(self.source_conn_id).locate(self.src)
        target = ObjectStorageHook(self.dest_conn_id).locate(self.dst)
        files = [f for f in source.files() if f.exists()]
        if not files:
            raise AirflowException(f"there is no file '{self.src}'")
        many = len(files) > 1 or files[0].path != source.path
        into = many or self.dst.endswith("/") or target.is_folder()
        root = source.path.rstrip("/") + "/" if source.is_folder() else ""
        pairs = [
            (f, target.at(f"{target.path.rstrip('/')}/{_name(f.path, root)}") if into else target)
            for f in files
        ]
        if not self.overwrite:
            for _, place in pairs:
                if place.exists():
                    raise AirflowException(
                        f"the file '{place.url}' is there already; overwrite=True replaces it"
                    )
        total = sum(self._copy(*pair) for pair in pairs)
        self.log.info("Copied %d files, %s", len(pairs), readable(total))
        return {"files": len(pairs), "bytes": total}

    def _copy(self, source: Location, target: Location) -> int:
        with source.open() as file, target.replacing() as out:
            while data := file.read(_CHUNK):
                out.write(data)
        self.log.info("%s -> %s, %s", source.url, target.url, readable(out.count))
        return out.count


def _name(path: str, root: str) -> str:
    return path[len(root) :] if root and path.startswith(root) else path.rpartition("/")[2]
