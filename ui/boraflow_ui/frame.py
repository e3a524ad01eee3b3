"""What every page has: the part that refreshes by itself, the banner about services, errors in words, dialogs.

A page gives :func:`panel` a function that draws from data. The function is run again when what the page shows
has changed; a failing call becomes a notice, and the next change, or the service's return, draws it anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import grpc
import streamlit as st

from boraflow.rpc.errors import ApiError
from boraflow_ui import data, messages, session
from boraflow_ui.components import mount
from boraflow_ui.messages import _
from boraflow_ui.sentences import said

PANEL = "panel"
DIALOG = "dialog"
_DRAWN = "drawn"


def milliseconds(message: Any, field: str) -> int | None:
    """Return a time of a message as milliseconds since the epoch; ``None`` when it is not set."""
    if not message.HasField(field):
        return None
    value = getattr(message, field)
    return value.seconds * 1000 + value.nanos // 1_000_000


def micro_milliseconds(message: Any, field: str) -> float | None:
    """Return a time in milliseconds with its microseconds: phases are short."""
    if not message.HasField(field):
        return None
    value = getattr(message, field)
    return value.seconds * 1000 + value.nanos // 1000 / 1000


def param(name: str, default: str = "") -> str:
    """Return a parameter of the page's address."""
    return st.query_params.get(name, default)


def whole(name: str, default: int) -> int:
    """Return a whole number of the page's address; what is none counts as the default."""
    try:
        return int(st.query_params.get(name, default))
    except ValueError:
        return default


def notice(
    key: str,
    title: str,
    text: str = "",
    *,
    tone: str = "info",
    code: str = "",
    actions: list[dict[str, str]] | None = None,
) -> None:
    """Say something: ``info``, ``warning``, ``error`` or ``empty`` (there is nothing to show yet)."""
    mount(
        "notice",
        key,
        {"title": title, "text": text, "tone": tone, "code": code, "actions": actions or []},
    )


def problem(error: ApiError, key: str = "problem") -> None:
    """Say what went wrong and what helps."""
    if error.code is grpc.StatusCode.NOT_FOUND:
        notice(
            key,
            _("There is no such thing here"),
            said(error.message),
            tone="empty",
            actions=[{"label": _("All DAGs"), "href": "dags"}],
        )
    elif error.code is grpc.StatusCode.UNAVAILABLE and not data.source().health.up:
        notice(
            key,
            _("Nothing is known yet"),
            _("This page fills itself as soon as the metastore answers."),
            tone="empty",
        )
    elif error.code is grpc.StatusCode.PERMISSION_DENIED:
        notice(key, _("This is not allowed"), said(error.message), tone="error")
    else:
        notice(
            key,
            _("This could not be shown"),
            f"{said(error.message)} ({error.reason})",
            tone="error",
        )


def signed_out() -> None:
    """Say that the reader's token is refused, and lead to the form and back."""
    notice(
        "signed_out",
        _("You are signed out"),
        _("Your token was revoked, or has expired. After signing in you come back to this page."),
        tone="warning",
        actions=[{"label": _("Sign in"), "href": "login", "back": "next"}],
    )


def banner() -> None:
    """Say which service is down, what that means and what helps; say nothing while all is well."""
    source = data.source()
    health = source.health
    since = int(health.since * 1000)
    items: list[dict[str, Any]] = []
    if not health.up and health.reason in ("UNAUTHENTICATED", "TOKEN_INVALID", "TOKEN_MISSING"):
        items.append(
            {
                "tone": "error",
                "title": _("The metastore refuses the dashboard's token"),
                "text": _(
                    "Start the dashboard with BORAFLOW_TOKEN, or with the BORAFLOW_HOME that has"
                    " tokens/ui.token of this metastore."
                ),
                "code": health.error,
            }
        )
    elif not health.up:
        items.append(
            {
                "tone": "error",
                "title": _(
                    "The metastore at {metastore_address} does not answer",
                    metastore_address=source.settings.metastore_address,
                ),
                "since": since,
                "text": _(
                    "What you see is what was known before. Running tasks go on. The page recovers by itself."
                ),
                "code": health.error,
            }
        )
    elif not health.has_leader:
        items.append(
            {
                "tone": "error",
                "title": _("No scheduler is leading"),
                "text": _(
                    "Nothing new is started, and trigger, pause, clear and mark are refused until one leads."
                    " Running tasks go on and their results are kept."
                ),
                "code": "bora scheduler",
            }
        )
    elif not health.has_executor:
        items.append(
            {
                "tone": "warning",
                "title": _("No executor is attached"),
                "text": _("Tasks wait until one is."),
                "code": "bora executor",
            }
        )
    mount("banner", "banner", {"items": items})


def panel(draw: Callable[[], None]) -> None:
    """Draw the part of a page that refreshes by itself."""

    @st.fragment(key=PANEL)
    def fragment() -> None:
        if said := st.session_state.pop("said", None):
            text, failed = said
            st.toast(text, icon=":material/error:" if failed else ":material/check:")
        # Read before anything is: what changes from here on may be missing below.
        version = data.source().hub.version
        banner()
        try:
            if session.ended():
                signed_out()
            else:
                draw()
        except ApiError as error:
            problem(error)
        mount("drawn", "drawn", {"version": version})

    fragment()


# --- dialogs -----------------------------------------------------------------------------------------

Dialog = Callable[[dict[str, Any]], None]
_dialogs: dict[str, Dialog] = {}


def dialog(name: str) -> Callable[[Dialog], Dialog]:
    """Register a dialog: a function of the values it was opened with."""

    def register(function: Dialog) -> Dialog:
        _dialogs[name] = function
        return function

    return register


def open_dialog(name: str, **values: Any) -> None:
    """Open a dialog; for callbacks of components."""
    st.session_state[DIALOG] = {"name": name, "drawn": st.session_state[_DRAWN], **values}
    st.rerun(DIALOG)


def close_dialog() -> None:
    """Forget the open dialog."""
    st.session_state.pop(DIALOG, None)


@st.fragment(key=DIALOG)
def dialogs(page: str) -> None:
    """Draw the open dialog; in a fragment of its own, so that a refresh of the page leaves it alone.

    It belongs to what ``page``, the last part of the address, shows: who goes back or on leaves it behind.
    """
    drawn = (page, *(param(name) for name in ("dag_id", "run_id", "task_id", "map_index", "asset")))
    st.session_state[_DRAWN] = drawn
    values = st.session_state.get(DIALOG)
    if values is not None and values["drawn"] != drawn:
        close_dialog()
    elif values is not None and "done" in values:
        # A second press broke in while the first one was being finished.
        finish(values)
    elif values is not None:
        _dialogs[values["name"]](values)


def once(action: Callable[[], Any], done: str, href: str = "") -> None:
    """Do what the open dialog is for, once however often its button is pressed; then close it and say so.

    Raises:
        ApiError: it was not done; the dialog stays, and may be tried again.
    """
    values = st.session_state[DIALOG]
    if "done" not in values:
        action()
        # At once, in a dictionary of ours: a second press ends this run of the script at any touch of Streamlit.
        values["done"] = (done, href)
    finish(values)


def finish(values: dict[str, Any]) -> None:
    """Close the dialog that did its work, say what was done, go where its result is."""
    text, href = values["done"]
    close_dialog()
    say(text)
    if href:
        go(href)
    st.rerun()


def go(href: str) -> None:
    """Go to a link after this run, as a click on it would."""
    turn = st.session_state.get("go", {"turn": 0})["turn"] + 1
    st.session_state["go"] = {"turn": turn, "href": href}


def act(action: Callable[[], Any], done: str) -> None:
    """Do what a press of a button asks for, and have it said how it went; for callbacks."""
    try:
        action()
    except ApiError as error:
        say(_("**Not done:** {message}", message=said(error.message)), failed=True)
    else:
        say(done)


def say(text: str, *, failed: bool = False) -> None:
    """Have something said in passing when the page is drawn next."""
    st.session_state["said"] = (text, failed)


def menu() -> None:
    """Draw what holds for every page, at its top right: the zone of times, the language, who is signed in."""
    signed_in = session.token() is not None
    person = session.person()
    mount(
        "menu",
        "menu",
        {
            "language": messages.language(),
            "languages": messages.LANGUAGES,
            "user": {"name": person.name, "role": person.role} if signed_in else None,
        },
    )


# --- the watch ---------------------------------------------------------------------------------------


@st.fragment(key="live")
def live(page: str, dag_id: str, run_id: str) -> None:
    """Keep a socket to the server and draw the panel again when it says that something changed.

    ``page`` is the last part of the page's address.
    """
    mount(
        "live",
        "live",
        {
            "dag_id": dag_id,
            "run_id": run_id,
            "page": page,
            # Tells the browser that this is an answer, not what it had.
            "run": uuid.uuid4().hex,
            # What changes after this, also while the page is being drawn, draws the panel again.
            "version": data.source().hub.version,
            "go": st.session_state.get("go"),
        },
        {"changed": lambda _: st.rerun(PANEL)},
    )
