"""What is part of a bundle, what is parsed, and when content is read again."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

from boraflow.model.discovery import may_define_dag
from boraflow_scheduler.bundles.folder import Folder

DAG = "from boraflow import DAG\n"


def put(root: Path, path: str, text: str = DAG) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def parsed(folder: Folder) -> list[str]:
    return [p for p, f in folder.scan().files.items() if f.parse]


def test_only_files_that_name_a_dag_are_parsed(tmp_path: Path) -> None:
    put(tmp_path, "dag.py")
    put(tmp_path, "airflow_dag.py", "from airflow.sdk import dag\n")
    put(tmp_path, "helper.py", "import os\n")
    put(tmp_path, "asset.py", "from airflow.sdk import asset\n")
    put(tmp_path, "query.sql", "select 1")
    scan = Folder(tmp_path).scan()
    assert [p for p, f in scan.files.items() if f.parse] == ["airflow_dag.py", "asset.py", "dag.py"]
    assert sorted(scan.files) == ["airflow_dag.py", "asset.py", "dag.py", "helper.py", "query.sql"]


def test_archives_with_dag_modules_are_parsed(tmp_path: Path) -> None:
    for name, inside, text in (
        ("dags.zip", "a.py", DAG),
        ("deeper.zip", "inner/a.py", DAG),
        ("data.zip", "a.csv", DAG),
        ("helpers.zip", "a.py", "import os\n"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inside, text)
    put(tmp_path, "torn.zip", "no archive")
    assert parsed(Folder(tmp_path)) == ["dags.zip", "torn.zip"]
    assert parsed(Folder(tmp_path, safe_mode=False)) == ["dags.zip", "helpers.zip", "torn.zip"]
    put(tmp_path, ".airflowignore", "torn.zip\n")
    assert parsed(Folder(tmp_path)) == ["dags.zip"]


def test_without_safe_mode_every_python_file_is_parsed(tmp_path: Path) -> None:
    put(tmp_path, "helper.py", "import os\n")
    assert parsed(Folder(tmp_path, safe_mode=False)) == ["helper.py"]


def test_what_is_no_part_of_a_bundle(tmp_path: Path) -> None:
    put(tmp_path, "dag.py")
    for path in (
        ".hidden.py",
        ".git/dag.py",
        "__pycache__/dag.py",
        "node_modules/dag.py",
        "venv/pyvenv.cfg",
        "venv/lib/dag.py",
        "dag.pyc",
    ):
        put(tmp_path, path)
    (tmp_path / "link.py").symlink_to(tmp_path / "dag.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / os.fsdecode(b"bad\xff.py")).write_text(DAG)
    assert list(Folder(tmp_path).scan().files) == ["dag.py"]


def test_an_ignored_module_is_shipped_but_not_parsed(tmp_path: Path) -> None:
    put(tmp_path, ".airflowignore", "include/\nold_*.py\n")
    put(tmp_path, "dag.py")
    put(tmp_path, "old_dag.py")
    put(tmp_path, "include/helper_dag.py")
    put(tmp_path, "include/query.sql")
    scan = Folder(tmp_path).scan()
    assert [p for p, f in scan.files.items() if f.parse] == ["dag.py"]
    assert sorted(scan.files) == [
        "dag.py", "include/helper_dag.py", "include/query.sql", "old_dag.py",
    ]  # fmt: skip


def test_boraflowignore_keeps_data_out(tmp_path: Path) -> None:
    put(tmp_path, ".boraflowignore", "data/\n*.csv\n")
    put(tmp_path, "dag.py")
    put(tmp_path, "data/module.py")
    put(tmp_path, "data/big.bin")
    put(tmp_path, "a.csv")
    scan = Folder(tmp_path).scan()
    assert sorted(scan.files) == ["dag.py", "data/module.py"]
    assert not scan.files["data/module.py"].parse


def test_a_changed_ignore_file_counts_at_once(tmp_path: Path) -> None:
    put(tmp_path, "dag.py")
    folder = Folder(tmp_path)
    assert parsed(folder) == ["dag.py"]
    put(tmp_path, ".airflowignore", "dag.py\n")
    assert parsed(folder) == []
    (tmp_path / ".airflowignore").unlink()
    assert parsed(folder) == ["dag.py"]


def test_content_decides(tmp_path: Path) -> None:
    put(tmp_path, "dag.py")
    folder = Folder(tmp_path)
    first = folder.scan()
    put(tmp_path, "dag.py")
    os.utime(tmp_path / "dag.py", ns=(1, 1))
    assert folder.scan().digest == first.digest
    put(tmp_path, "dag.py", DAG + "# more\n")
    assert folder.scan().digest != first.digest


def test_a_touched_file_is_read_even_with_old_times(tmp_path: Path) -> None:
    put(tmp_path, "dag.py", "from boraflow import DAG # 1\n")
    folder = Folder(tmp_path)
    first = folder.scan()
    # As if the clock's grain hid the second write.
    found, may = folder._last["dag.py"]
    put(tmp_path, "dag.py", "from boraflow import DAG # 2\n")
    stat = (tmp_path / "dag.py").stat()
    folder._last["dag.py"] = (
        type(found)(
            found.digest,
            found.size,
            (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns),
            found.parse,
        ),
        may,
    )
    assert folder.scan().digest == first.digest
    assert folder.scan({"dag.py"}).digest != first.digest


def test_the_manifest_digest_is_the_documented_one(tmp_path: Path) -> None:
    put(tmp_path, "b.py", "1")
    put(tmp_path, "a/c.py", "2")
    lines = "".join(
        f"{path}\0{hashlib.sha256(text).hexdigest()}\n"
        for path, text in (("a/c.py", b"2"), ("b.py", b"1"))
    )
    assert Folder(tmp_path).scan().digest == hashlib.sha256(lines.encode()).hexdigest()


def test_a_listing_changes_with_names_not_with_content(tmp_path: Path) -> None:
    put(tmp_path, "conf/a.yaml", "1")
    folder = Folder(tmp_path)
    first = folder.scan().dependency_digest("conf/")
    put(tmp_path, "conf/a.yaml", "2")
    assert folder.scan().dependency_digest("conf/") == first
    put(tmp_path, "conf/b.yaml", "1")
    assert folder.scan().dependency_digest("conf/") != first
    assert folder.scan().dependency_digest("none/") == ""


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    assert Folder(tmp_path / "none").scan().files == {}


def test_an_unreadable_folder_harms_no_other(tmp_path: Path) -> None:
    put(tmp_path, "dag.py")
    put(tmp_path, "closed/dag.py")
    (tmp_path / "closed").chmod(0)
    try:
        assert "dag.py" in Folder(tmp_path).scan().files
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_safe_mode_words() -> None:
    assert may_define_dag(b"import BORAFLOW; DAG")
    assert not may_define_dag(b"import boraflow")
    assert not may_define_dag(b"a dag of something else")
