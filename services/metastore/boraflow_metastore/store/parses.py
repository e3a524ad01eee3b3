"""What the leader's parser found: DAG versions, files and their errors, in one transaction."""

from __future__ import annotations

import json

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import dag_pb2
from boraflow.model.spec import DagSpec, dag_from_json
from boraflow.rpc.errors import invalid
from boraflow.wire import timestamp
from boraflow_metastore.store import assets, rows, tables
from boraflow_metastore.store.commits import check_epoch
from boraflow_metastore.store.database import BulkInsert
from boraflow_metastore.store.writer import Transaction

_insert_versions = BulkInsert(
    tables.dag_version,
    (
        "dag_id",
        "version",
        "spec_json",
        "spec_digest",
        "source_digest",
        "manifest",
        "fileloc",
        "created_us",
    ),
)
_upsert_dags = BulkInsert(
    tables.dag,
    (
        "dag_id",
        "version",
        "bundle",
        "fileloc",
        "spec_digest",
        "source_digest",
        "paused",
        "active",
        "display_name",
        "summary",
    ),
    "ON CONFLICT (dag_id) DO UPDATE SET version = excluded.version, bundle = excluded.bundle,"
    " fileloc = excluded.fileloc, spec_digest = excluded.spec_digest,"
    " source_digest = excluded.source_digest, active = 1,"
    " display_name = excluded.display_name, summary = excluded.summary",
)
_insert_tags = BulkInsert(tables.dag_tag, ("dag_id", "tag"), "ON CONFLICT DO NOTHING")
_insert_owners = BulkInsert(tables.dag_owner, ("dag_id", "owner"), "ON CONFLICT DO NOTHING")
_upsert_files = BulkInsert(
    tables.parsed_file,
    ("bundle", "fileloc", "source_digest", "has_error", "body"),
    "ON CONFLICT (bundle, fileloc) DO UPDATE SET source_digest = excluded.source_digest,"
    " has_error = excluded.has_error, body = excluded.body",
)


def summarise(spec: DagSpec) -> dag_pb2.Dag:
    """Return what lists show of a spec."""
    return dag_pb2.Dag(
        dag_id=spec.dag_id,
        display_name=spec.display_name or spec.dag_id,
        description=spec.description,
        schedule=spec.timetable.summary,
        schedule_description=spec.timetable.description,
        timezone=spec.timezone,
        tags=spec.tags,
        owners=sorted({t.owner for t in spec.tasks}),
        task_count=len(spec.tasks),
        params_json=json.dumps(spec.params) if spec.params else "",
        doc_md=spec.doc_md or "",
        max_active_runs=spec.max_active_runs,
        catchup=spec.catchup,
        links=[
            dag_pb2.DagLink(task_id=t.task_id, kind=link["kind"], dag_id=link["dag_id"])
            for t in spec.tasks
            for link in t.dag_links
        ],
        asset_condition_json=json.dumps(spec.asset_condition) if spec.asset_condition else "",
    )


def publish_parse(
    transaction: Transaction, request: pb.PublishParseRequest, paused_at_creation: bool
) -> pb.PublishParseResponse:
    """Store what the parser found; return the DAGs that are new, changed or back, and those that are gone."""
    check_epoch(transaction, request.epoch)
    bundle = request.bundle or "dags"
    changed = _publish_dags(transaction, request, bundle, paused_at_creation)
    removed = _publish_files(transaction, request, bundle)
    if request.manifest_digest:
        transaction.execute(
            "INSERT INTO bundle (name, manifest, changed_us) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET manifest = excluded.manifest,"
            " changed_us = excluded.changed_us WHERE bundle.manifest <> excluded.manifest",
            (bundle, request.manifest_digest, transaction.now),
        )
    response = pb.PublishParseResponse(removed_dag_ids=removed)
    found = transaction.where_in(f"{rows.DAG_SELECT} WHERE d.dag_id IN :values", changed)
    response.dags.extend(rows.dag_row(r) for r in found)
    transaction.changes += [("dag", dag_id, "", "") for dag_id in (*changed, *removed)]
    return response


def _publish_dags(
    transaction: Transaction, request: pb.PublishParseRequest, bundle: str, paused_at_creation: bool
) -> list[str]:
    stored = {
        r[0]: r
        for r in transaction.where_in(
            "SELECT dag_id, version, spec_digest, source_digest, active, fileloc, bundle"
            " FROM dag WHERE dag_id IN :values",
            [m.dag_id for m in request.dags],
        )
    }
    # A deleted DAG's versions are gone with it, an inactive one's go on.
    versions, dags, tags, owners, changed = [], [], [], [], []
    specs: list[DagSpec] = []
    for m in request.dags:
        row = stored.get(m.dag_id)
        new_version = row is None or (row[2], row[3]) != (m.spec_digest, m.source_digest)
        if (
            not new_version
            and row is not None
            and row[4]
            and (row[5], row[6]) == (m.fileloc, bundle)
        ):
            continue
        try:
            spec = dag_from_json(m.spec_json)
        except (ValueError, TypeError, KeyError) as error:
            raise invalid("SPEC_INVALID", f"DAG {m.dag_id!r}: {error}", dag_id=m.dag_id) from error
        version = (row[1] if row else 0) + (1 if new_version else 0)
        paused = spec.is_paused_upon_creation
        if paused is None:
            paused = paused_at_creation
        changed.append(m.dag_id)
        specs.append(spec)
        dags.append(
            (
                m.dag_id,
                version,
                bundle,
                m.fileloc,
                m.spec_digest,
                m.source_digest,
                1 if paused else 0,
                1,
                (spec.display_name or spec.dag_id),
                summarise(spec).SerializeToString(),
            )
        )
        tags += [(m.dag_id, tag) for tag in spec.tags]
        owners += [(m.dag_id, owner) for owner in {t.owner for t in spec.tasks}]
        if new_version:
            versions.append(
                (
                    m.dag_id,
                    version,
                    m.spec_json,
                    m.spec_digest,
                    m.source_digest,
                    request.manifest_digest,
                    m.fileloc,
                    transaction.now,
                )
            )
    _insert_versions.run(transaction, versions)
    _upsert_dags.run(transaction, dags)
    transaction.write_in("DELETE FROM dag_tag WHERE dag_id IN :values", changed)
    _insert_tags.run(transaction, tags)
    transaction.write_in("DELETE FROM dag_owner WHERE dag_id IN :values", changed)
    _insert_owners.run(transaction, owners)
    assets.publish(transaction, specs)
    return changed


def _publish_files(
    transaction: Transaction, request: pb.PublishParseRequest, bundle: str
) -> list[str]:
    """Store files and their errors; return DAGs that no file defines any more."""
    names = [*(f.fileloc for f in request.files), *request.removed_files]
    before = {
        r[0]: pb.ParsedFile.FromString(bytes(r[1]))
        for r in transaction.where_in(
            "SELECT fileloc, body FROM parsed_file WHERE bundle = ? AND fileloc IN :values",
            names,
            before=(bundle,),
        )
    }
    values = []
    gone: list[tuple[str, str]] = []
    errors_changed = False
    for f in request.files:
        old = before.get(f.fileloc)
        has_error = f.HasField("import_error")
        keep = pb.ParsedFile()
        keep.CopyFrom(f)
        keep.bundle = bundle
        if has_error:
            if old is not None and not keep.dag_ids:
                # Its last good version goes on.
                keep.dag_ids.extend(old.dag_ids)
            same = (
                old is not None
                and old.HasField("import_error")
                and old.source_digest == f.source_digest
            )
            since = (
                old.import_error.create_time
                if same and old is not None
                else timestamp(transaction.now)
            )
            keep.import_error.fileloc = keep.import_error.fileloc or f.fileloc
            if since is not None:
                keep.import_error.create_time.CopyFrom(since)
        if old is not None:
            gone += [(d, f.fileloc) for d in set(old.dag_ids) - set(keep.dag_ids)]
        errors_changed |= has_error or (old is not None and old.HasField("import_error"))
        values.append(
            (bundle, f.fileloc, f.source_digest, 1 if has_error else 0, keep.SerializeToString())
        )
    _upsert_files.run(transaction, values)
    for name in request.removed_files:
        old = before.get(name)
        if old is not None:
            gone += [(d, name) for d in old.dag_ids]
            errors_changed |= old.HasField("import_error")
    transaction.write_in(
        "DELETE FROM parsed_file WHERE bundle = ? AND fileloc IN :values",
        list(request.removed_files),
        before=(bundle,),
    )
    removed = [
        dag_id
        for dag_id, fileloc in gone
        # One that moved to another file names that file by now.
        if transaction.execute(
            "UPDATE dag SET active = 0 WHERE dag_id = ? AND bundle = ? AND fileloc = ? AND active = 1",
            (dag_id, bundle, fileloc),
        ).rowcount
    ]
    assets.forget_uses(transaction, removed)
    if errors_changed:
        transaction.changes.append(("import_error", "", "", ""))
    return removed
