"""The script that Streamlit runs for every page: set-up and navigation only."""

import streamlit as st

from boraflow_ui import (
    asset_dialogs,
    dag_dialogs,
    dialogs,
    frame,
    messages,
    record_dialogs,
    state_stores,
    trigger_dialog,
)
from boraflow_ui.messages import _

# The icon comes with the first page (see server.index), the logo with assets/page.css: as arguments here both would load
# numpy and PIL.
st.set_page_config(page_title="Boraflow", layout="wide")
messages.choose_language()

page = st.navigation(
    {
        "": [
            st.Page("views/home.py", title=_("Home"), default=True),
            st.Page("views/dags.py", title=_("DAGs"), url_path="dags"),
            st.Page("views/assets.py", title=_("Assets"), url_path="assets"),
            st.Page("views/dag.py", title=_("DAG"), url_path="dag", visibility="hidden"),
            st.Page("views/run.py", title=_("Run"), url_path="run", visibility="hidden"),
            st.Page("views/task.py", title=_("Task"), url_path="task", visibility="hidden"),
        ],
        _("Browse"): [
            st.Page("views/questions.py", title=_("Required actions"), url_path="questions"),
            st.Page("views/dependencies.py", title=_("Dependencies"), url_path="dependencies"),
            st.Page("views/executors.py", title=_("Executors"), url_path="executors"),
            st.Page("views/errors.py", title=_("Import errors"), url_path="errors"),
            st.Page("views/metrics.py", title=_("Metrics"), url_path="metrics"),
            st.Page("views/audit.py", title=_("Audit log"), url_path="audit"),
        ],
        _("Admin"): [
            st.Page("views/variables.py", title=_("Variables"), url_path="variables"),
            st.Page("views/connections.py", title=_("Connections"), url_path="connections"),
            st.Page("views/pools.py", title=_("Pools"), url_path="pools"),
            st.Page("views/tokens.py", title=_("Tokens and roles"), url_path="tokens"),
        ],
    },
    position="top",
)
for module in (asset_dialogs, dag_dialogs, dialogs, record_dialogs, state_stores, trigger_dialog):
    module.register()
frame.menu()
frame.live(page.url_path, frame.param("dag_id"), frame.param("run_id"))
frame.dialogs(page.url_path)
page.run()
