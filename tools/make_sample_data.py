"""Write the sample datasets, seeded: the triage task with some of the flaws real data has."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from sample_world import SYSTEM_TRIAGE, Ticket, draw_ticket

TRAIN_ROWS = 2000
TEST_ROWS = 300
DUPLICATES = 40
SEED = 20260101


def row(ticket: Ticket, number: int, split: str) -> str:
    """One dataset line in the ``messages`` form."""
    messages = [
        {"role": "system", "content": SYSTEM_TRIAGE},
        {"role": "user", "content": ticket.message},
        {"role": "assistant", "content": ticket.triage_json()},
    ]
    return json.dumps({"id": f"{split}-{number:04d}", "messages": messages}, ensure_ascii=False)


def write_triage(folder: Path) -> None:
    """Write ``triage-train.jsonl`` (with duplicates, contact data and broken lines) and ``triage-test.jsonl``."""
    rng = random.Random(SEED)
    seen: set[str] = set()
    tickets: list[Ticket] = []
    while len(tickets) < TRAIN_ROWS - DUPLICATES + TEST_ROWS:
        ticket = draw_ticket(rng, contact_share=0.08)
        if ticket.message not in seen:
            seen.add(ticket.message)
            tickets.append(ticket)
    test, train = tickets[:TEST_ROWS], tickets[TEST_ROWS:]
    train += rng.sample(train, DUPLICATES)
    rng.shuffle(train)
    lines = [row(ticket, number, "train") for number, ticket in enumerate(train)]
    # Broken on purpose: an importer must set these aside with a reason and lose no other line.
    lines.insert(311, lines[311][: len(lines[311]) // 2])
    lines.insert(902, '{"id": "train-x1", "messages": [{"role": "user", "content": "unterminated}]}')
    lines.insert(1404, "not json at all")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "triage-train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    test_lines = [row(ticket, number, "test") for number, ticket in enumerate(test)]
    (folder / "triage-test.jsonl").write_text("\n".join(test_lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the datasets into ``sample_data/datasets`` or the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).resolve().parent.parent / "sample_data" / "datasets"
    parser.add_argument("--out", type=Path, default=default)
    write_triage(parser.parse_args().out)


if __name__ == "__main__":
    main()
