"""The dashboard's messages: each is in each catalogue, translated, and fills in the same values."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import boraflow_ui
from boraflow_ui import messages

PLACES = re.compile(r"\{(\w+)\}")
CATALOGUES = sorted(messages.LOCALE.glob("*.po"))


def _extracted() -> dict[str, str]:
    found: dict[str, str] = {}
    for file, line, message, _comments, _context in extract_from_dir(
        str(Path(boraflow_ui.__file__).parent),
        method_map=[("**.py", "python"), ("assets/*.js", "javascript")],
        # Messages within the scripts' template strings as well.
        options_map={"assets/*.js": {"parse_template_string": True}},
        keywords={"_": None, "N_": None, "ngettext": (1, 2)},
    ):
        found[message[0] if isinstance(message, tuple) else message] = f"{file}:{line}"
    return found


def test_every_message_of_the_scripts_is_found() -> None:
    # A message deep within a template string is passed over by the extraction, and would never be translated.
    found = _extracted()
    said = re.compile(r'\b(?:_|ngettext)\(\s*"((?:[^"\\]|\\.)+)"')
    for path in sorted((Path(boraflow_ui.__file__).parent / "assets").glob("*.js")):
        for text in said.findall(re.sub("(?m)^ *//.*$", "", path.read_text("utf-8"))):
            assert json.loads(f'"{text}"') in found, (
                f"{path.name}: take {text!r} out of its template string"
            )


def test_there_is_a_catalogue_for_each_language() -> None:
    assert {p.stem for p in CATALOGUES} == set(messages.LANGUAGES) - {"en"}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda p: p.stem)
def test_no_message_is_missing_and_none_is_left_over(path: Path) -> None:
    found = _extracted()
    known = dict(messages.read(path.read_text("utf-8")))
    missing = [f"{where}: {text!r}" for text, where in found.items() if not known.get(text)]
    assert not missing, "run `make messages` and translate:\n" + "\n".join(missing)
    assert not [text for text in known if text not in found], "run `make messages`"


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda p: p.stem)
def test_a_translation_names_only_values_that_there_are(path: Path) -> None:
    for text, said in messages.read(path.read_text("utf-8")):
        # A name that is not given would fail the page, one that is left out would hide what was to be told.
        assert set(PLACES.findall(said)) == set(PLACES.findall(text)), text


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda p: p.stem)
def test_our_reader_reads_what_gettext_tools_read(path: Path) -> None:
    with path.open("rb") as file:
        theirs = {
            m.id[0] if isinstance(m.id, tuple) else m.id: m.string[0]
            if isinstance(m.string, tuple)
            else m.string
            for m in read_po(file, locale=path.stem, abort_invalid=True)
            if m.id
        }
    assert dict(messages.read(path.read_text("utf-8"))) == theirs


def test_what_a_catalogue_may_hold() -> None:
    text = (
        'msgid ""\nmsgstr "head\\n"\n\nmsgid "a \\"b\\""\nmsgstr ""\n"one "\n"two"\n\n'
        '#, fuzzy\nmsgid "guess"\nmsgstr "wrong"\n\nmsgid "{n} day"\nmsgid_plural "{n} days"\nmsgstr[0] "{n}일"\n'
    )
    assert dict(messages.read(text)) == {'a "b"': "one two", "{n} day": "{n}일"}


@pytest.mark.parametrize(
    ("cookie", "locale", "language"),
    [
        (None, None, "en"),
        (None, "ko-KR", "ko"),
        (None, "fr-FR", "en"),
        ("en", "ko-KR", "en"),
        ("ko", "en-GB", "ko"),
        ("../etc", "en", "en"),
    ],
)
def test_the_readers_language(cookie: str | None, locale: str | None, language: str) -> None:
    assert messages.language_of(cookie, locale) == language


def test_outside_a_page_it_is_english() -> None:
    assert messages._("Home") == "Home"
    assert messages.ngettext("{n} task", "{n} tasks", 1234) == "1,234 tasks"
