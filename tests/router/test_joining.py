"""A model that is loaded already answers for the one address only where it keeps and reads requests as asked for there."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.options import LoadOptions, RouterOptions
from llmops_tui.inference.server_conflict import check_joinable
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.jobs.process import ProcessIdentity

ASKED = LoadOptions(host="127.0.0.1", port=8402, record="own")


def handle(options: LoadOptions) -> ServerHandle:
    return ServerHandle(
        "clerk", "0" * 64, "/s", "k", ProcessIdentity(1, 1.0), asked=json.loads(json.dumps(asdict(options)))
    )


def test_where_it_listens_and_what_it_records_is_its_own_affair() -> None:
    check_joinable(handle(ASKED), RouterOptions(port=8403, record="all1", max_loaded=2))


@pytest.mark.parametrize("other", [{"trace_content": "off"}, {"special_in_content": True}, {"spm_infill": True}])
def test_what_becomes_of_a_request_is_refused_by_name(other: dict[str, object]) -> None:
    (name,) = other
    for served, wanted in ((replace(ASKED, **other), RouterOptions()), (ASKED, RouterOptions(**other))):  # type: ignore[arg-type]
        with pytest.raises(InputRefusedError, match=name) as refused:
            check_joinable(handle(served), wanted)
        assert refused.value.code == "served_otherwise"
