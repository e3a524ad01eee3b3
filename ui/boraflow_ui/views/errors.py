"""Import errors: DAG files that cannot be used now, and why."""

from boraflow_ui import data
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, notice, panel
from boraflow_ui.messages import _, ngettext


def draw() -> None:
    errors = data.source().import_errors()
    mount(
        "header",
        "head",
        {
            "title": _("Import errors"),
            "badges": [
                {
                    "label": ngettext("{n} file", "{n} files", len(errors)),
                    "tone": "error",
                }
            ]
            if errors
            else [],
            "text": _(
                "A file that cannot be imported keeps its last good version: its DAGs go on. It is read again when it changes."
            ),
        },
    )
    if not errors:
        notice(
            "none",
            _("Every DAG file can be imported"),
            _("An error appears here within seconds after its file is saved."),
            tone="empty",
            actions=[{"label": _("All DAGs"), "href": link("dags")}],
        )
    mount(
        "problems",
        "problems",
        {
            "items": [
                {
                    "key": e.fileloc,
                    "title": f"{e.fileloc}:{e.line}" if e.line else e.fileloc,
                    "text": e.message.partition("\n")[0],
                    "code": e.traceback.strip(),
                    "at": milliseconds(e, "create_time"),
                }
                for e in errors
            ]
        },
    )


panel(draw)
