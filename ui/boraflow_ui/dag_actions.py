"""What a press on a DAG does at once, wherever the DAG stands: favorite and pause, on and off."""

from boraflow_ui import dag_data, data
from boraflow_ui.frame import act
from boraflow_ui.messages import _


def switch(dag_id: str, action: str) -> None:
    """Carry out ``favorite``, ``no_favorite``, ``pause`` or ``unpause``, and say so."""
    if action in ("favorite", "no_favorite"):
        on = action == "favorite"
        act(
            lambda: dag_data.set_favorite(dag_id, on),
            _("{dag_id} is a favorite", dag_id=dag_id)
            if on
            else _("{dag_id} is no favorite any more", dag_id=dag_id),
        )
    else:
        pause = action == "pause"
        act(
            lambda: data.source().set_paused(dag_id, pause),
            _("{dag_id} is paused", dag_id=dag_id)
            if pause
            else _("{dag_id} is active", dag_id=dag_id),
        )
