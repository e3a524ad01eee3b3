"""The script that Streamlit runs for every page: set-up and navigation only."""

import streamlit as st

from boraflow_ui import dialogs, frame

# The icon comes with the first page (see server.index), the logo with the style: as arguments here both would load
# numpy and PIL.
st.set_page_config(page_title="Boraflow", layout="wide")

page = st.navigation(
    [
        st.Page("views/home.py", title="Home", default=True),
        st.Page("views/dags.py", title="DAGs", url_path="dags"),
        st.Page("views/dag.py", title="DAG", url_path="dag", visibility="hidden"),
        st.Page("views/run.py", title="Run", url_path="run", visibility="hidden"),
        st.Page("views/task.py", title="Task", url_path="task", visibility="hidden"),
    ],
    position="top",
)
dialogs.register()
frame.style()
frame.live(frame.param("dag_id"), frame.param("run_id"))
frame.dialogs()
page.run()
