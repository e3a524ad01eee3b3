"""What files a bundle's folder holds and what is in them, by content hash.

A scan reads only files whose inode, size or times changed since the last one, and those it is told to.
Hidden files, ``__pycache__``, symbolic links, virtual environments and ``node_modules`` are no part of a bundle.
A Python module that an ignore file names is part of it (DAGs may import it), but is not parsed. A zip archive is
parsed as one DAG file, when a module at its root may define DAGs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from boraflow.logs import get_logger
from boraflow.model.discovery import may_define_dag, modules_of_zip
from boraflow_scheduler.bundles.ignore import AIRFLOW, BORAFLOW, Rule, ignored, parse_rules

log = get_logger(__name__)

MAX_FILE = 64 << 20
"""Bytes; the metastore takes no larger file."""

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})

Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a bundle."""

    digest: str
    """SHA-256 of its content, hexadecimal."""
    size: int
    signature: Signature
    """Inode, size and times: while these stay, so does the content."""
    parse: bool
    """It may define DAGs."""


@dataclass(slots=True)
class Scan:
    """What a folder holds now."""

    files: dict[str, BundleFile] = field(default_factory=dict)
    """By path inside the bundle, with forward slashes."""
    digest: str = ""
    """Of the manifest these files form."""

    def dependency_digest(self, path: str) -> str:
        """Return what stands for a dependency's state: a file's digest, a folder's listing, or empty."""
        if not path.endswith("/"):
            found = self.files.get(path)
            return found.digest if found else ""
        prefix = "" if path in ("./", "/") else path
        names = sorted(
            {p[len(prefix) :].split("/", 1)[0] for p in self.files if p.startswith(prefix)}
        )
        return hashlib.sha256("\n".join(names).encode()).hexdigest() if names else ""


def manifest_digest(files: dict[str, BundleFile]) -> str:
    """Return the SHA-256 over the sorted ``path NUL digest NEWLINE`` lines, as the metastore computes it."""
    lines = "".join(f"{path}\0{files[path].digest}\n" for path in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


class Folder:
    """A bundle's folder and what was last seen in it."""

    def __init__(self, root: Path, safe_mode: bool = True, ignore_syntax: str = "glob") -> None:
        self.root = root
        self._safe_mode = safe_mode
        self._ignore_syntax = ignore_syntax
        self._last: dict[str, tuple[BundleFile, bool]] = {}
        """Path to the file and whether its content may define a DAG."""
        self._complained: set[str] = set()

    def scan(self, touched: Collection[str] = ()) -> Scan:
        """Return what is there now; files in ``touched`` are read whatever their times say."""
        seen: dict[str, tuple[BundleFile, bool]] = {}
        if self.root.is_dir():
            self._walk("", _Context([], [], False, False), frozenset(touched), seen)
        self._last = seen
        files = {path: found for path, (found, _) in seen.items()}
        return Scan(files, manifest_digest(files))

    def unchanged(self, path: str, signature: Signature) -> bool:
        """Tell whether the file is still the one that was scanned."""
        try:
            return _signature((self.root / path).stat(follow_symlinks=False)) == signature
        except OSError:
            return False

    def _walk(
        self,
        prefix: str,
        context: _Context,
        touched: frozenset[str],
        seen: dict[str, tuple[BundleFile, bool]],
    ) -> None:
        try:
            with os.scandir(self.root / prefix) as listed:
                entries = sorted(listed, key=lambda e: e.name)
        except OSError as err:
            self._complain(prefix or ".", f"cannot list it: {err.strerror}")
            return
        names = {e.name for e in entries}
        if "pyvenv.cfg" in names:
            return
        if AIRFLOW in names or BORAFLOW in names:
            own = self._rules(prefix, BORAFLOW) if BORAFLOW in names else []
            theirs = self._rules(prefix, AIRFLOW) if AIRFLOW in names else []
            context = replace(
                context, rules=[*context.rules, *theirs, *own], own=[*context.own, *own]
            )
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            path = prefix + entry.name
            if not _encodable(path):
                self._complain(repr(path), "its name is not valid UTF-8")
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _SKIPPED_FOLDERS:
                        self._walk(path + "/", context.of_folder(path), touched, seen)
                elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(".pyc"):
                    python = entry.name.endswith(".py")
                    if python or not context.left_out(path):
                        wanted = path.endswith((".py", ".zip")) and not context.unparsed(path)
                        self._look(path, entry, wanted, path in touched, seen)
            except OSError as err:
                self._complain(path, f"cannot read it: {err.strerror}")

    def _look(
        self,
        path: str,
        entry: os.DirEntry[str],
        wanted: bool,
        touched: bool,
        seen: dict[str, tuple[BundleFile, bool]],
    ) -> None:
        signature = _signature(entry.stat(follow_symlinks=False))
        last = self._last.get(path)
        if last is not None and last[0].signature == signature and not touched:
            found, may_define = last
            if found.parse != (wanted and may_define):
                found = replace(found, parse=not found.parse)
            seen[path] = (found, may_define)
            return
        if signature[1] > MAX_FILE:
            self._complain(
                path, f"it has {signature[1]:,} bytes; a bundle's file may have {MAX_FILE:,}"
            )
            return
        content = (self.root / path).read_bytes()
        may_define = self._may_define(path, content)
        digest = hashlib.sha256(content).hexdigest()
        seen[path] = (
            BundleFile(digest, len(content), signature, wanted and may_define),
            may_define,
        )

    def _may_define(self, path: str, content: bytes) -> bool:
        if path.endswith(".zip"):
            try:
                return any(
                    not self._safe_mode or may_define_dag(source)
                    for _, source in modules_of_zip(content)
                )
            except ValueError:
                return True  # the parser says what is wrong with it
        return path.endswith(".py") and (not self._safe_mode or may_define_dag(content))

    def _rules(self, prefix: str, name: str) -> list[Rule]:
        try:
            text = (self.root / prefix / name).read_text("utf-8", "replace")
        except OSError as err:
            self._complain(prefix + name, f"cannot read it: {err.strerror}")
            return []
        syntax = self._ignore_syntax if name == AIRFLOW else "glob"
        rules, bad = parse_rules(text, prefix, syntax)
        for line in bad:
            self._complain(f"{prefix}{name}: {line}", "the pattern cannot be read")
        return rules

    def _complain(self, path: str, why: str) -> None:
        if path not in self._complained:
            self._complained.add(path)
            log.warning("left out of the bundle", path=path, why=why)


@dataclass(frozen=True, slots=True)
class _Context:
    """What ignore files say on the way down to a folder."""

    rules: list[Rule]
    """Of both kinds of ignore file: what they name is not parsed."""
    own: list[Rule]
    """Of ours alone: what they name and is no Python module is not even part of the bundle."""
    skip: bool
    """A parent is ignored."""
    hide: bool
    """A parent is ignored by ours."""

    def of_folder(self, path: str) -> _Context:
        if not self.rules:
            return self
        return replace(
            self,
            skip=self.skip or ignored(path, True, self.rules),
            hide=self.hide or ignored(path, True, self.own),
        )

    def unparsed(self, path: str) -> bool:
        return self.skip or ignored(path, False, self.rules)

    def left_out(self, path: str) -> bool:
        return self.hide or ignored(path, False, self.own)


def _signature(stat: os.stat_result) -> Signature:
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _encodable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
