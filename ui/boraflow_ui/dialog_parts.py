"""What the dialogs share: their buttons, how they end, text that Markdown leaves alone."""

from __future__ import annotations

import streamlit as st

from boraflow_ui.frame import close_dialog, go, say
from boraflow_ui.messages import _


def done(message: str, href: str = "") -> None:
    """Close the dialog, say what was done, go where its result is."""
    close_dialog()
    say(message)
    if href:
        go(href)
    st.rerun()


def buttons(label: str, *, disabled: bool = False, key: str) -> bool:
    """Draw Close and the button that acts; return whether that was pressed."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button(_("Close"), key=f"{key}_close"):
            close_dialog()
            st.rerun()
        return st.button(label, type="primary", disabled=disabled, key=key)


def plain(text: str) -> str:
    """Return text that Markdown leaves as it is."""
    for mark in "\\`*_[]$<>~:#":
        text = text.replace(mark, "\\" + mark)
    return text


def bullets(lines: list[str]) -> str:
    """Return lines as a Markdown list of plain text."""
    return "\n".join(f"- {plain(line)}" for line in lines)
