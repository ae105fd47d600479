from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.models import download
from llmops_tui.models.remote_file import RemoteFile, inspect
from tests.hub import FakeHub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    made = FakeHub()
    made.files["/m.gguf"] = DATA
    yield made
    made.close()


DATA = b"GGUF" + bytes(range(256)) * 4000
DIGEST = hashlib.sha256(DATA).hexdigest()


def test_a_file_comes_whole_and_is_hashed(hub: FakeHub, tmp_path: Path) -> None:
    file = inspect(f"{hub.url}/m.gguf?download=true")
    assert (file.name, file.size, file.sha256) == ("m.gguf", len(DATA), "")
    assert hub.bytes_sent() == 4  # looking costs as good as nothing
    seen: list[int] = []
    part = tmp_path / "m.part"
    assert download.fetch(file, part, seen.append) == DIGEST
    assert part.read_bytes() == DATA
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA)
    assert [p.name for p in tmp_path.glob("m.part*")] == ["m.part"]
    assert part.stat().st_mode & 0o777 == 0o600


def test_cut_connections_go_on_where_they_were(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = [200_000, 300_000, 16_384]
    file = inspect(f"{hub.url}/m.gguf")
    assert download.fetch(file, tmp_path / "p") == DIGEST
    assert hub.bytes_sent(1) < len(DATA) + 4 * 200_000
    starts = [start for _, start, _ in hub.sent[1:]]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert len(set(starts)) == 4


@pytest.mark.parametrize("known_hash", [True, False])
def test_what_was_left_is_gone_on_with_only_where_it_is_surely_the_same_file(
    hub: FakeHub, tmp_path: Path, known_hash: bool
) -> None:
    hub.cut_after = [400_000, 0, 0, 0]
    file = inspect(f"{hub.url}/m.gguf")
    file = RemoteFile(file.url, file.name, file.size, DIGEST) if known_hash else file
    part = tmp_path / "p"
    with pytest.raises(LlmopsError) as caught:
        download.fetch(file, part)
    assert caught.value.code == "not_fetched"
    assert "same command resumes it" in caught.value.hint
    kept = part.stat().st_size
    assert 0 < kept < len(DATA)
    before = len(hub.sent)
    assert download.fetch(file, part) == DIGEST
    assert hub.sent[before:] == [("/m.gguf", kept, len(DATA) - kept)]
    # Another file at the same address, or one that nobody can tell from another, begins anew.
    part.write_bytes(DATA[:kept])
    other = RemoteFile(file.url, file.name, file.size, "", "")
    assert download.fetch(other, part) == DIGEST
    assert hub.sent[-1] == ("/m.gguf", 0, len(DATA))


def test_a_file_that_changed_meanwhile_begins_anew(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = [400_000, 0, 0, 0]
    file = inspect(f"{hub.url}/m.gguf")
    with pytest.raises(LlmopsError):
        download.fetch(file, tmp_path / "p")
    changed = DATA[:4] + DATA[4:][::-1]
    hub.files["/m.gguf"], hub.etag = changed, '"two"'
    assert download.fetch(file, tmp_path / "p") == hashlib.sha256(changed).hexdigest()


def test_a_damaged_part_is_noticed_and_fetched_anew_once(hub: FakeHub, tmp_path: Path) -> None:
    file = RemoteFile(f"{hub.url}/m.gguf", "m.gguf", len(DATA), DIGEST)
    part = tmp_path / "p"
    part.write_bytes(bytes(500_000))
    (tmp_path / "p.json").write_text(json.dumps({"sha256": DIGEST, "validator": "", "size": len(DATA)}))
    assert download.fetch(file, part) == DIGEST
    assert [start for _, start, _ in hub.sent] == [500_000, 0]


def test_a_server_without_ranges_is_fetched_from_whole(hub: FakeHub, tmp_path: Path) -> None:
    hub.ranges = False
    file = inspect(f"{hub.url}/m.gguf")
    hub.cut_after = [400_000]
    assert download.fetch(file, tmp_path / "p") == DIGEST
    assert [start for _, start, _ in hub.sent[1:]] == [0, 0]


def test_a_server_that_always_begins_anew_is_given_up(hub: FakeHub, tmp_path: Path) -> None:
    hub.ranges = False
    file = inspect(f"{hub.url}/m.gguf")
    hub.cut_after = [400_000] * 50
    with pytest.raises(LlmopsError):
        download.fetch(file, tmp_path / "p")
    assert len(hub.sent) < 10


def test_a_wrong_hash_is_told_and_nothing_kept(hub: FakeHub, tmp_path: Path) -> None:
    file = RemoteFile(f"{hub.url}/m.gguf", "m.gguf", len(DATA), "0" * 64)
    with pytest.raises(LlmopsError) as caught:
        download.fetch(file, tmp_path / "p")
    assert caught.value.code == "hash_differs"
    assert not (tmp_path / "p").exists()


def test_more_than_was_announced_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    file = inspect(f"{hub.url}/m.gguf")
    hub.more, hub.ranges = b"more" * 100_000, False
    with pytest.raises(LlmopsError) as caught:
        download.fetch(file, tmp_path / "p")
    assert caught.value.code == "size_differs"
    assert not (tmp_path / "p").exists()
    hub.more, hub.ranges, hub.announce_more = b"", True, 10
    part = tmp_path / "q"
    part.write_bytes(DATA[:1000])
    (tmp_path / "q.json").write_text(json.dumps({"sha256": "", "validator": '"one"', "size": len(DATA)}))
    with pytest.raises(LlmopsError) as caught:
        download.fetch(file, part)
    assert caught.value.code == "size_differs"


def test_what_is_no_gguf_is_refused_at_its_first_bytes(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["/page.gguf"] = b"<!DOCTYPE html>" + b"x" * 1_000_000
    with pytest.raises(InputRefusedError) as caught:
        inspect(f"{hub.url}/page.gguf")
    assert caught.value.code == "not_gguf"
    assert "web page" in caught.value.message
    with pytest.raises(InputRefusedError):
        download.fetch(RemoteFile(f"{hub.url}/page.gguf", "page.gguf", 1_000_015), tmp_path / "p")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("code", "expected"),
    [(401, "not_allowed"), (403, "not_allowed"), (404, "not_there"), (500, "not_fetched"), (418, "not_fetched")],
)
def test_refusals_have_names(hub: FakeHub, code: int, expected: str) -> None:
    hub.failures = [code]
    with pytest.raises(LlmopsError) as caught:
        inspect(f"{hub.url}/m.gguf?secret=1")
    assert caught.value.code == expected
    assert "secret" not in caught.value.message


def test_a_busy_server_is_asked_again(hub: FakeHub, tmp_path: Path) -> None:
    file = inspect(f"{hub.url}/m.gguf")
    hub.failures = [503, 429]
    assert download.fetch(file, tmp_path / "p") == DIGEST


def test_redirects_are_few_and_the_token_stays_at_its_host(hub: FakeHub) -> None:
    hub.redirects["/r.gguf"] = f"http://localhost:{hub.port}/m.gguf"
    hub.linked_etag = DIGEST
    assert inspect(f"{hub.url}/r.gguf", "hf_secret").sha256 == DIGEST
    assert [(path, token) for path, _, token in hub.asked] == [("/r.gguf", "Bearer hf_secret"), ("/m.gguf", "")]
    hub.redirects["/loop.gguf"] = "/loop.gguf"
    with pytest.raises(InputRefusedError) as caught:
        inspect(f"{hub.url}/loop.gguf")
    assert caught.value.code == "redirect_refused"
    assert len(hub.asked) < 12
    hub.redirects["/away.gguf"] = "file:///etc/passwd"
    with pytest.raises(InputRefusedError):
        inspect(f"{hub.url}/away.gguf")


@pytest.mark.parametrize("url", ["ftp://x/m.gguf", "file:///m.gguf", "http:///m.gguf", "https://me:secret@x/m.gguf"])
def test_only_plain_web_addresses_are_asked(url: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        inspect(url)
    assert "secret" not in caught.value.message


def test_a_cancel_keeps_what_came(hub: FakeHub, tmp_path: Path) -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def stop(done: int) -> None:
        if done > 300_000:
            raise Enough

    file = inspect(f"{hub.url}/m.gguf")
    with pytest.raises(Enough):
        download.fetch(file, tmp_path / "p", stop)
    kept = (tmp_path / "p").stat().st_size
    assert 300_000 < kept < len(DATA)
    assert download.fetch(file, tmp_path / "p") == DIGEST
    assert hub.sent[-1][1] == kept


def begun(part: Path, size: int) -> None:
    """What a killed download of the file with the known hash left."""
    part.write_bytes(DATA[:size])
    (part.parent / f"{part.name}.json").write_text(
        json.dumps({"sha256": DIGEST, "validator": "", "size": len(DATA)}), encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("page", "code"),
    [(b"<html>we are being maintained</html>", "size_differs"), (b"<" * len(DATA), "not_gguf"), (b"G", "size_differs")],
)
def test_another_answer_takes_nothing_of_what_came(hub: FakeHub, tmp_path: Path, page: bytes, code: str) -> None:
    file = RemoteFile(f"{hub.url}/m.gguf", "m.gguf", len(DATA), DIGEST)
    part = tmp_path / "p"
    begun(part, 900_000)
    hub.page = page
    with pytest.raises(LlmopsError) as caught:
        download.fetch(file, part)
    assert caught.value.code == code
    assert "kept" in caught.value.hint
    assert part.read_bytes() == DATA[:900_000]
    hub.page = None
    assert download.fetch(file, part) == DIGEST
    assert hub.sent == [("/m.gguf", 900_000, len(DATA) - 900_000)]


def test_more_than_was_announced_takes_nothing_of_what_came(hub: FakeHub, tmp_path: Path) -> None:
    file = RemoteFile(f"{hub.url}/m.gguf", "m.gguf", len(DATA), DIGEST)
    hub.more = b"more" * 100_000
    begun(tmp_path / "p", 900_000)
    with pytest.raises(LlmopsError) as caught:
        download.fetch(file, tmp_path / "p")
    assert caught.value.code == "size_differs"
    assert (tmp_path / "p").read_bytes() == DATA[:900_000]


def test_an_answer_from_the_beginning_that_is_cut_takes_nothing_of_what_came(hub: FakeHub, tmp_path: Path) -> None:
    file = RemoteFile(f"{hub.url}/m.gguf", "m.gguf", len(DATA), DIGEST)
    part = tmp_path / "p"
    begun(part, 900_000)
    hub.ranges, hub.cut_after = False, [100_000] * 20
    with pytest.raises(LlmopsError) as caught:
        download.fetch(file, part)
    assert caught.value.code == "not_fetched"
    assert part.read_bytes() == DATA[:900_000]
    # Another file in its place is taken from where it differs.
    hub.cut_after = []
    changed = DATA[:500_000] + bytes(len(DATA) - 500_000)
    hub.files["/m.gguf"] = changed
    other = RemoteFile(file.url, file.name, file.size, "", '"one"')
    (tmp_path / "p.json").write_text(json.dumps({"sha256": "", "validator": '"one"', "size": len(DATA)}))
    assert download.fetch(other, part) == hashlib.sha256(changed).hexdigest()
    assert part.read_bytes() == changed
