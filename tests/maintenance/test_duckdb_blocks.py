"""The catalog is hashed anew only where DuckDB wrote, and what others change is found however much was written since."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.maintenance.check import check
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace import checksums
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import FileChecksum, checksum_of_file, load, record_checksums
from llmops_tui.workspace.duckdb_blocks import BLOCK, HEADERS, UNSOUND, block_checksum, marks_of, same_parts
from llmops_tui.workspace.kept_engines import close_kept
from llmops_tui.workspace.layout import Workspace

CATALOG = "workspace.duckdb"


def write(workspace: Workspace, text: str) -> None:
    """A short write of the catalog, with all of it in its file at the end."""
    PromptStore(Catalog(workspace)).save("triage", template=text)
    Catalog(workspace).write(lambda connection: connection.execute("CHECKPOINT"))
    close_kept()


@pytest.fixture
def written(lived: Workspace) -> Workspace:
    write(lived, "First. {{ question }}")
    record_checksums(lived)
    return lived


def sealed(workspace: Workspace) -> FileChecksum:
    return load(workspace).files[CATALOG]


def spoil(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def test_the_blocks_of_a_catalog_are_as_their_own_checksums_say(written: Workspace) -> None:
    raw = written.catalog.read_bytes()
    marks = sealed(written).marks
    assert len(marks) == (len(raw) - HEADERS) // BLOCK > 3
    for number, mark in enumerate(marks):
        block = raw[HEADERS + number * BLOCK : HEADERS + (number + 1) * BLOCK]
        right = block_checksum(block) == int.from_bytes(block[:8], "little")
        assert mark == (block[:8].hex() if right else UNSOUND)
    assert any(mark != UNSOUND for mark in marks)


def test_a_checksum_that_goes_by_the_one_before_is_that_of_the_whole_file(written: Workspace) -> None:
    before = sealed(written)
    write(written, "Second. {{ question }}")
    fresh = checksum_of_file(written, CATALOG, before)
    assert fresh == checksum_of_file(written, CATALOG)
    assert fresh is not None
    assert fresh.chunks != before.chunks
    assert fresh.writes != before.writes


def test_only_what_was_written_is_read(written: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sealed(written)
    write(written, "Second. {{ question }}")
    kept: list[int] = []
    whole = checksums.chunks_of
    monkeypatch.setattr(
        checksums, "chunks_of", lambda path, size, known: kept.extend(known) or whole(path, size, known)
    )
    assert checksum_of_file(written, CATALOG, before) is not None
    assert 0 < len(kept) < len(before.chunks)
    assert 0 not in kept


def test_what_others_changed_is_found_though_llmops_wrote_elsewhere_since(written: Workspace) -> None:
    before = sealed(written).marks
    write(written, "Second. {{ question }}")
    now = marks_of(written.catalog, written.catalog.stat().st_size)
    number = next(n for n, (a, b) in enumerate(zip(before, now, strict=False)) if a == b != UNSOUND)
    place = HEADERS + number * BLOCK + 100_000
    spoil(written.catalog, place)
    record_checksums(written)
    part = place // 65_536 * 65_536
    told = [f for f in check(written).errors if f.place == CATALOG]
    assert any(f"bytes {part:,} to" in f.text for f in told)


def test_a_block_that_is_half_written_has_no_mark_and_is_hashed_again(written: Workspace) -> None:
    before = sealed(written)
    number = next(n for n, mark in enumerate(before.marks) if mark != UNSOUND)
    whole = written.catalog.read_bytes()
    place = HEADERS + number * BLOCK
    with written.catalog.open("r+b") as file:
        file.seek(place)
        file.write(bytes(100) + whole[place + 100 : place + BLOCK])
    torn = checksum_of_file(written, CATALOG, before)
    assert torn is not None
    assert torn.marks[number] == UNSOUND
    written.catalog.write_bytes(whole)
    assert checksum_of_file(written, CATALOG, torn) == checksum_of_file(written, CATALOG)


def test_parts_over_a_border_go_with_both_blocks_and_the_headers_are_always_read() -> None:
    size = HEADERS + 3 * BLOCK
    marks = ("a" * 16, "b" * 16, "c" * 16)
    assert same_parts(marks, marks, 65_536, size) == set(range(1, 12))
    # Block 1 lies from 274,432 to 536,576: in the parts 4 to 8.
    assert same_parts(marks, (marks[0], "x" * 16, marks[2]), 65_536, size) == {1, 2, 3, 9, 10, 11}
    assert same_parts((UNSOUND,) * 3, (UNSOUND,) * 3, 65_536, size) == set()
    assert same_parts(marks[:1], marks, 65_536, size) == {1, 2, 3}


def test_checksums_of_before_there_were_marks_are_read(written: Workspace) -> None:
    old = [1, 2, 3, "ab" * 16, 7]
    assert FileChecksum.from_json(old).as_json() == old
    assert FileChecksum.from_json(sealed(written).as_json()) == sealed(written)
