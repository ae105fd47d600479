"""A person in texts: every spelling of an identifier is found, at every depth of JSON, and nobody else's."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import quote

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.privacy.person import PerhapsPerson, Person, read_identifier

PERSON = Person.read(
    [
        "Zoë Křížová-Ärger",
        "zoe.k@exämple.org",
        "+49 30 1234567",
        "u-4711",
        "[NAME-k3v9x2ab1c]",
        "田中太郎",
        "id:900100200",
    ]
)
SPELLINGS = [
    "Zoë Křížová-Ärger", "ZOË  KŘÍŽOVÁ-ÄRGER", "křížová-ärger, zoë", "Zoë M. Křížová-Ärger's", "zoë.křížová-ärger",
    unicodedata.normalize("NFD", "Zoë Křížová-Ärger"), "zoe.k@exämple.org.", "ZOE.K@EXÄMPLE.ORG", "030 1234567", "030/123 45 67",
    "+4930-123-4567", "0049 (0)30 1234567", "tel:+49(0)30.1234567", "u-4711", "田中太郎さん", "a [NAME-k3v9x2ab1c].",
    "[EMAIL-k3v9x2ab1c]", "900100200",
]  # fmt: skip
OTHERS = [
    "u-47112", "xu-4711", "1030 12345678", "Zoë Kříž", "azoe.k@exämple.org", "zoe.k@exämple.org.uk", "1900100200",
    "[NAME-k3v9x2ab1d]", "Zoë", "12345678",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_found_at_every_depth_of_json(spelling: str) -> None:
    nested = json.dumps({"a": json.dumps({"b": f"\n{spelling}\t"})})
    for text in (
        spelling,
        json.dumps(spelling),
        nested,
        json.dumps([nested]),
        json.dumps(spelling, ensure_ascii=False),
    ):
        fresh, counts = PERSON.redact(text)
        assert sum(counts.values()) == 1, text
        if text != spelling:
            json.loads(fresh)
        assert not PERSON.named_in(fresh)
        assert PERSON.may_be_in(text.encode())


@pytest.mark.parametrize("other", OTHERS)
def test_somebody_else_is_not_found(other: str) -> None:
    assert not PERSON.named_in(f"so {other} said")


def test_addresses_of_the_web_have_them_too() -> None:
    assert PERSON.named_in(quote("zoe.k@exämple.org", safe=""))
    assert PERSON.named_in(quote("Zoë Křížová-Ärger"))


@given(
    st.sampled_from(SPELLINGS),
    st.text(alphabet='abc 0123\n"\\é', max_size=700),
    st.text(alphabet="abc 0123\n", max_size=700),
)
def test_long_texts_are_searched_as_short_ones_are(spelling: str, before: str, after: str) -> None:
    text = f"{before} · {spelling} · {after}"
    inner = [m for m in PERSON.find(text) if m.start >= len(before) and m.end <= len(before) + len(spelling) + 6]
    assert len(inner) == 1
    fresh, _ = PERSON.redact(text)
    assert not PERSON.named_in(fresh)
    assert fresh.count("\n") == text.count("\n")


@given(st.text(alphabet="abc 0123456789-@.uzoe", max_size=900))
def test_the_filter_for_sql_and_bytes_leaves_nothing_out(text: str) -> None:
    if PERSON.named_in(text):
        assert PERSON.may_be_in(text.encode())


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("+49 30 1234567", json.dumps("030 123\u00a0456\u00a07")),
        ("+49 30 1234567", "tel=%2B49%2030%201234%20567"),
        ("AL\u0130 K\u0130RAZ", "Say\u0131n AL\u0130 K\u0130RAZ"),
    ],
)
def test_quick_filters_know_blanks_with_digits_and_letters_with_two_small_forms(given: str, text: str) -> None:
    person = Person.read([given])
    assert person.named_in(text)
    assert person.may_be_in(text.encode())
    found = duckdb.execute(f"SELECT {person.sql_filter(['t'])} FROM (SELECT ? AS t)", [text]).fetchall()
    assert found == [(True,)]


def test_marks_say_what_was_there() -> None:
    fresh, counts = PERSON.redact("Zoë Křížová-Ärger (u-4711) wrote from zoe.k@exämple.org")
    assert fresh == "[NAME] ([ID]) wrote from [EMAIL]"
    assert counts == {"name": 1, "id": 1, "email": 1}


@pytest.mark.parametrize(
    ("given", "why"),
    [("ab", "fewer than 3"), ("x" * 300, "more than 200"), ("phone:123", "fewer than 6 digits"), ("email:none", "is no e-mail"),
     ("pseudonym:xyz", "is no pseudonym"), ("!!!!", "neither letters nor digits")],
)  # fmt: skip
def test_what_would_be_found_everywhere_or_nowhere_is_refused(given: str, why: str) -> None:
    with pytest.raises(InputRefusedError, match=why):
        read_identifier(given)


def test_nobody_is_refused() -> None:
    with pytest.raises(InputRefusedError, match="nobody is named"):
        Person.read(["", " "])


@pytest.mark.parametrize(
    ("given", "kind"),
    [("Anna Novak", "name"), ("a@b.org", "email"), ("030 123456", "phone"), ("+4930123456", "phone"), ("4711", "id"),
     ("u-1", "id"), ("[PHONE-k3v9x2ab1c]", "pseudonym"), ("name:R2D2 Unit", "name"), ("李雷", "name")],
)  # fmt: skip
def test_the_kind_is_told_by_the_form(given: str, kind: str) -> None:
    assert read_identifier(given).kind == kind


def test_what_may_mean_the_person_is_told_apart() -> None:
    person = Person.read(["Jörg Müller", "j@x.org"])
    perhaps = PerhapsPerson(person)
    text = "Jörg Müller, Joerg Mueller, Jorg Muller, Herr Müller, Frau Mueller and Müllerin"
    assert [text[m.start : m.end] for m in perhaps.find(text)] == [
        "Joerg Mueller", "Jorg Muller", "Müller", "Mueller",
    ]  # fmt: skip
    assert perhaps.redact("Jörg Müller")[0] == "Jörg Müller"
    with pytest.raises(InputRefusedError):
        PerhapsPerson(Person.read(["j@x.org"]))
