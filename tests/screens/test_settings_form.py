"""The settings as a form: headings, words for values, choices, and what is seen of it on a small terminal."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from textual.widgets import Input, Static

from llmops_tui.field_words import Word
from llmops_tui.settings import GROUPS, Settings, load_settings
from screens.widgets.field_text import from_text, shown_text
from screens.widgets.fields import Choice
from screens.widgets.form import FormRow, ModelForm
from tests.screens.conftest import OpenApp, settle


def test_each_setting_stands_below_one_heading_in_its_order() -> None:
    assert [name for names in GROUPS.values() for name in names] == list(Settings.model_fields)


@pytest.mark.parametrize("name", [name for name, info in Settings.model_fields.items() if any(isinstance(m, Word) for m in info.metadata)])  # fmt: skip
def test_a_word_is_said_and_understood_for_its_value(name: str) -> None:
    info = Settings.model_fields[name]
    for word in (found for found in info.metadata if isinstance(found, Word)):
        for typed in (word.word, word.word.upper(), f" {word.word} ", str(word.value)):
            kept = Settings.model_validate({name: from_text(info, typed)})
            assert getattr(kept, name) == word.value
        # A text that is empty is an empty field, with the word in it as a hint.
        assert shown_text(info, word.value) == ("" if word.value == "" else word.word)


def test_numbers_that_have_no_word_stay_numbers() -> None:
    fields = Settings.model_fields
    assert (shown_text(fields["context"], 2048), from_text(fields["context"], "2048")) == ("2048", "2048")
    assert (shown_text(fields["idle_minutes"], 15.0), shown_text(fields["idle_minutes"], 0.5)) == ("15", "0.5")


@pytest.mark.parametrize(
    ("typed", "bytes_", "shown"),
    [
        ("2 GiB", 2 << 30, "2 GiB"), ("1.5gib", 3 << 29, "1,536 MiB"), ("500 MB", 500_000_000, "500000000"),
        ("64k", 64_000, "64000"), ("1,536 MiB", 3 << 29, "1,536 MiB"), ("1073741824", 1 << 30, "1 GiB"), ("0", 0, "none"),
    ],
)  # fmt: skip
def test_bytes_are_said_with_a_unit_where_that_is_exact_and_understood_with_any(
    typed: str, bytes_: int, shown: str
) -> None:
    info = Settings.model_fields["cache_bytes"]
    kept = Settings.model_validate({"cache_bytes": from_text(info, typed)}).cache_bytes
    assert (kept, shown_text(info, kept)) == (bytes_, shown)
    assert Settings.model_validate({"cache_bytes": from_text(info, shown)}).cache_bytes == bytes_


@pytest.mark.parametrize("typed", ["1,5 GiB", "0,5 GB", "1,000,5 k", "1,00 MB", ",5 GB"])
def test_a_comma_that_parts_no_thousands_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError, match="cache_bytes"):
        Settings.model_validate({"cache_bytes": from_text(Settings.model_fields["cache_bytes"], typed)})


async def test_words_to_choose_from_are_not_repeated_beside_them(open_app: OpenApp) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await pilot.press("f9", "9")
        await settle(pilot)
        form = pilot.app.screen.query_one(ModelForm)
        rows = [row.render().plain for row in form.query(FormRow)]
        assert any("Smooth scrolling" in row for row in rows)
        assert not any("One of:" in row for row in rows)
        # The row under the cursor is marked as a whole.
        await pilot.press("j")
        assert [row.field.name for row in form.query(FormRow) if row.has_class("-current")] == ["animations"]


async def test_a_choice_is_gone_through_and_words_are_kept_as_their_values(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("f9", "9")
        await settle(pilot)
        form = pilot.app.screen.query_one(ModelForm)
        shown = [str(heading.content) for heading in form.query(".form-heading").results(Static)]
        assert shown == list(GROUPS)
        # What is stored where stands at the end, and takes no room of the settings.
        assert form.children[-1].id == "places"
        assert form.size.height >= 18
        await pilot.press("j")
        animations = next(choice for choice in form.query(Choice) if choice.name == "animations")
        for word in ("on", "off", "auto", "on"):
            await pilot.press("enter")
            assert (animations.value, form.value.animations) == (word, word)
        assert pilot.app.focused is form
        fields = {field.name: field for field in form.query(Input)}
        assert (fields["threads"].value, fields["trace_days"].value, fields["draft"].placeholder) == (
            "auto",
            "never",
            "none",
        )
        fields["threads"].value, fields["trace_days"].value = "3", "Never"
        await settle(pilot)
        assert (form.problems, form.value.threads, form.value.trace_days) == ({}, 3, 0)
        fields["threads"].value = "many"
        await settle(pilot)
        assert list(form.problems) == ["threads"]
        fields["threads"].value = "auto"
        await settle(pilot)
        await pilot.press("G")
        await settle(pilot)
        assert form.scroll_offset.y == form.max_scroll_y
        await pilot.press("ctrl+s")
        await settle(pilot)
    assert load_settings()[0] == Settings(animations="on")


async def test_what_is_not_the_default_says_so_and_what_the_default_is(open_app: OpenApp) -> None:
    async with open_app(settings=Settings(animations="on", threads=3, confirm_quit=False)) as pilot:
        await pilot.app.switch_mode("settings")
        await settle(pilot)
        notes = {name: note for name, note in pilot.app.screen.query_one(ModelForm)._notes.items() if "Changed" in note}
        assert {name: note.rpartition(" Changed; ")[2] for name, note in notes.items()} == {
            "animations": "the default is auto.", "threads": "the default is auto.", "confirm_quit": "the default is yes.",
        }  # fmt: skip
