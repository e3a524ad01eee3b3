"""What the dashboard says, in the reader's language.

``_("Tasks")`` in Python and in the components' scripts names a message by its English text; ``locale/<language>.po``
translates it (a gettext catalogue: any editor for these opens it). Values are filled in by name, so that a
translation may order them as it likes: ``_("{n} of {total}", n=1, total=3)``. A message that a catalogue lacks fails
``tests/unit/ui/test_messages.py``; on screen its English text stands in.

The language is that of the cookie ``bora_language`` (set by the menu at the top right), else the browser's, else English.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

LOCALE = Path(__file__).parent / "locale"
LANGUAGES = {"en": "English", "ko": "한국어"}
COOKIE = "bora_language"
_KEY = "language"


def N_(text: str) -> str:  # noqa: N802  gettext's own name, which extraction tools know
    """Mark a message that is translated where it is used."""
    return text


def _(text: str, **values: object) -> str:
    """Return a message in the reader's language."""
    said = catalogue(language()).get(text, text)
    return said.format(**values) if values else said


def ngettext(one: str, many: str, n: int, **values: object) -> str:
    """Return a message whose words depend on a number, which it may name ``{n}``."""
    text = one if n == 1 else many
    said = catalogue(language()).get(one if language() != "en" else text, text)
    return said.format(n=f"{n:,}", **values)


def language() -> str:
    """Return the language of the page that is being drawn."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"
    return st.session_state.get(_KEY, "en")


def choose_language() -> None:
    """Note the reader's language for this page and its refreshes."""
    st.session_state[_KEY] = language_of(st.context.cookies.get(COOKIE), st.context.locale)


def language_of(cookie: str | None, locale: str | None) -> str:
    """Return the language for a choice and a browser's locale."""
    if cookie in LANGUAGES:
        return cookie
    word = (locale or "").partition("-")[0].lower()
    return word if word in LANGUAGES else "en"


@cache
def catalogue(of: str) -> dict[str, str]:
    """Return a language's messages by their English text (the singular, where there are two)."""
    path = LOCALE / f"{of}.po"
    if of == "en" or not path.is_file():
        return {}
    return {k: v for k, v in read(path.read_text("utf-8")) if v}


def read(text: str) -> Iterator[tuple[str, str]]:
    """Yield the messages of a catalogue: English text, translation (of a plural: its first form)."""
    found: dict[str, str] = {}
    field = ""
    fuzzy = False
    for line in [*text.splitlines(), ""]:
        line = line.strip()
        if line.startswith("#,"):
            fuzzy = "fuzzy" in line
        if line.startswith("#"):
            continue
        if not line:
            if found.get("msgid") and not fuzzy:
                yield found["msgid"], found.get("msgstr", found.get("msgstr[0]", ""))
            found, fuzzy = {}, False
            continue
        if not line.startswith('"'):
            field, _space, line = line.partition(" ")
        # A string of a catalogue is written as in C, whose escapes in use here are JSON's.
        found[field] = found.get(field, "") + json.loads(line)
