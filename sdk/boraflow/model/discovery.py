"""Which files may define DAGs: Python files, and zip archives of them."""

from __future__ import annotations

import io
from collections.abc import Iterator

MOST_MODULE = 64 << 20
"""Bytes of a module inside an archive."""


def may_define_dag(content: bytes) -> bool:
    """Tell whether a Python file is worth importing: it names us (or Airflow) and a DAG or an asset."""
    text = content.lower()
    return (b"boraflow" in text or b"airflow" in text) and (b"dag" in text or b"asset" in text)


def modules_of_zip(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and sources of the Python files at the root of an archive, by name.

    Raises:
        ValueError: the archive, or one of them, cannot be read.
    """
    import zipfile  # not where workers are forked: it brings compressors

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in sorted(archive.infolist(), key=lambda i: i.filename):
                name = info.filename
                if "/" in name or not name.endswith(".py") or name == "__init__.py":
                    continue
                if info.flag_bits & 1:
                    raise ValueError(f"{name} in it is encrypted: pack it without a password")
                if info.file_size > MOST_MODULE:
                    raise ValueError(
                        f"{name} in it has {info.file_size:,} bytes; {MOST_MODULE:,} are allowed"
                    )
                yield name, archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as err:
        raise ValueError(
            f"it cannot be read as a zip archive ({err}): pack it anew, or name it in .airflowignore"
        ) from None
