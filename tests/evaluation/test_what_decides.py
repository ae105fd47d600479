"""What decides a verdict: the versions that were asked, how much of a suite, the metrics of each case, and old answers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.comparison import Pair, compare
from llmops_tui.evaluation.measures import sources
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.metrics.model_graded import Judge
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.pairwise import decide
from llmops_tui.evaluation.promotion import promotion, suites_for
from llmops_tui.evaluation.run_comparison import gate
from llmops_tui.evaluation.run_search import NotEvaluatedError
from llmops_tui.evaluation.runner.results import Result, ResultLog, read_line
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.inference.asking.asker import Asker, Request
from llmops_tui.inference.asking.cache import FILE, AnswerCache, whole_reply
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.layout import Workspace
from tests.evaluation.conftest import EXACT, made_run, results
from tests.fakes import end_processes, start_no_processes

BODY: dict[str, Any] = {
    "cases": [{"message": f"question {i}", "expected": "yes"} for i in range(6)],
    "prompt": "triage", "models": ["support-base"], "metrics": ["exact"], "rules": ["exact >= 0.5"],
}  # fmt: skip


# ── a quick try ──


def test_a_quick_try_asks_a_sample_and_leaves_the_suite_as_it_is() -> None:
    suite = check_suite(BODY, "s")
    whole, few = (build_cases(suite, None, limit) for limit in (None, 2))  # type: ignore[arg-type]
    assert (len(whole.cases), whole.of) == (6, 6)
    assert (len(few.cases), few.of) == (2, 6)
    assert {c.key for c in few.cases} < {c.key for c in whole.cases}
    # The limit of the suite itself is what the suite has.
    own = build_cases(suite.model_copy(update={"limit": 3}), None, 5)  # type: ignore[arg-type]
    assert (len(own.cases), own.of) == (3, 3)


def test_a_sample_that_may_stop_early_comes_in_no_order() -> None:
    body = BODY | {"cases": [{"n": i} for i in range(50)], "until": {"metric": "exact", "half_width": 0.1}}
    cases = build_cases(check_suite(body, "s"), None, 40).cases  # type: ignore[arg-type]
    order = [c.variables["n"] for c in cases]
    assert order != sorted(order)


# ── promotions ──


@pytest.fixture
def store(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> EvaluationStore:
    start_no_processes(monkeypatch)
    return EvaluationStore(sample)


def finished(
    store: EvaluationStore,
    suite: Suite,
    prompt: str,
    *,
    right: int = 6,
    limit: int | None = None,
    failed: int | None = None,
    **manifest: Any,
) -> str:
    """A run as the job leaves it, without any model."""
    version = store.save_suite(suite)
    (entry,) = store.start(version, store.columns(suite, prompts=[prompt], limit=limit))
    cases = build_cases(suite, store.datasets, limit)
    log = ResultLog(entry.results)
    for one in cases.cases:
        answer = Answer(error="template_failed: division by zero") if one.index == failed else Answer(text="yes")
        log.add(Result(one, 0, answer, {} if answer.error else {"exact": Score(float(one.index < right))}))
    log.close()
    metrics = suite.made_metrics()
    summary = summarise(list(log.done.values()), metrics, 1.0)
    model = store.registry.get("support-base")
    made = made_run().manifest | {
        "prompt_sha256": [store.prompts.get(prompt).sha256], "model_sha256": model.sha256, "cases_of": cases.of,
        "cases_sha256": cases.sha256, "metrics": {m.called: fingerprint(m) for m in metrics},
        "metric_sources": sources(metrics, store.registry),
    } | manifest  # fmt: skip
    store.finish(entry.name, made, summary, sha256_file(entry.results))  # type: ignore[arg-type]
    end_processes()
    return entry.name


def test_a_promotion_takes_a_whole_run_of_the_versions_of_now(store: EvaluationStore) -> None:
    suite = check_suite(BODY, "s")
    store.save_suite(suite)

    def refused() -> InputRefusedError:
        with pytest.raises(InputRefusedError) as found:
            promotion(store, "triage@1", "live", "s")
        assert found.value.code == "not_evaluated"
        assert found.value.hint == "llmops eval run s@1 --prompt triage@1 --model support-base makes one."
        assert isinstance(found.value, NotEvaluatedError)
        assert (found.value.prompt, found.value.model) == ("triage@1", "support-base")
        return found.value

    assert "triage@1 has no run of suite s@1 on support-base" in refused().message
    finished(store, suite, "triage@1", limit=2)
    assert "s-1 asked 2 of 6 cases" in refused().message
    finished(store, suite, "triage@1", prompt_sha256=["another"])
    assert "s-2 was asked with another text of triage@1" in refused().message
    finished(store, suite, "triage@1", model_sha256="older")
    assert "s-3 was asked of support-base before its file changed" in refused().message
    finished(store, suite, "triage@1", adapter_sha256="older")
    assert "before its adapter changed" in refused().message
    finished(store, suite, "triage@1", metrics={"exact": "older"})
    assert "s-5 measured exact in another way" in refused().message
    finished(store, suite, "triage@1", metric_sources={"metric exact": "revision 1"})
    assert "s-6 was measured with another metric exact" in refused().message
    finished(store, suite, "triage@1")
    (ruling,) = promotion(store, "triage@1", "live", "s")
    assert ruling.outcome == "pass"


def test_a_promotion_goes_by_the_rules_of_now_and_never_by_another_suite(store: EvaluationStore) -> None:
    finished(store, check_suite(BODY, "s"), "triage@1", right=4)
    assert [r.outcome for r in promotion(store, "triage@1", "live", "s")] == ["pass"]
    # The same questions with a harder rule: the run counts, the old rule does not.
    store.save_suite(check_suite(BODY | {"rules": ["exact >= 0.9"]}, "s"))
    assert [(r.rule, r.outcome) for r in promotion(store, "triage@1", "live", "s")] == [("exact >= 0.9", "fail")]
    assert [r.rule for r in gate(store, "s-1", None, [])] == ["exact >= 0.9"]
    # Other questions: the run does not count.
    store.save_suite(check_suite(BODY | {"cases": [*BODY["cases"], {"message": "more", "expected": "no"}]}, "s"))
    with pytest.raises(InputRefusedError, match=r"s-1 was asked of s@1, which asks or measures otherwise"):
        promotion(store, "triage@1", "live", "s")
    with pytest.raises(InputRefusedError) as outdated:
        gate(store, "s-1", None, [])
    assert outdated.value.code == "run_outdated"
    assert [r.outcome for r in gate(store, "s-1", None, ["exact >= 0.5"])] == ["pass"]


def test_every_column_of_a_suite_has_to_pass_and_the_baseline_is_whole(store: EvaluationStore) -> None:
    suite = check_suite(BODY | {"rules": ["exact not worse than baseline"]}, "s")
    store.prompts.move_label("triage@1", "live")
    finished(store, suite, "triage@2")
    finished(store, suite, "triage@1", limit=3)
    with pytest.raises(InputRefusedError, match=r"triage@1 has no run .* s-2 asked 3 of 6 cases"):
        promotion(store, "triage@2", "live", "s")
    with pytest.raises(InputRefusedError) as partial:
        gate(store, "s-1", "s-2", [])
    assert partial.value.code == "run_partial"
    finished(store, suite, "triage@1")
    (ruling,) = promotion(store, "triage@2", "live", "s")
    assert ruling.rule == "exact not worse than baseline"
    with pytest.raises(InputRefusedError, match="support-base-q4"):
        promotion(store, "triage@2", "live", "s", ["support-base", "support-base-q4"])


def test_suites_with_rules_for_a_prompt_may_decide_about_its_labels(store: EvaluationStore) -> None:
    # The sample has one of its own.
    before = {kept.ref for kept in suites_for(store, "triage")}
    store.save_suite(check_suite(BODY | {"rules": []}, "bare"))
    store.save_suite(check_suite(BODY | {"prompt": "other"}, "other"))
    store.save_suite(check_suite(BODY, "s"))
    both = store.save_suite(check_suite(BODY | {"prompt": ["triage@1", "other"]}, "s"))
    assert {kept.ref for kept in suites_for(store, "triage")} == before | {both.ref}
    assert suites_for(store, "nothing") == []


def test_a_promotion_without_rules_or_by_a_chain_is_refused(store: EvaluationStore) -> None:
    store.save_suite(check_suite(BODY | {"rules": []}, "bare"))
    with pytest.raises(InputRefusedError, match="bare@1 has no rules"):
        promotion(store, "triage@1", "live", "bare")
    chain = check_suite({**BODY, "prompt": "", "chain": [{"prompt": "triage@1"}]}, "chained")
    store.save_suite(chain)
    with pytest.raises(InputRefusedError, match="says nothing of triage@1 alone"):
        promotion(store, "triage@1", "live", "chained")
    with pytest.raises(InputRefusedError, match="would not be used"):
        store.columns(chain, prompts=["triage@2"])


def test_a_run_with_refused_requests_is_not_whole() -> None:
    run = replace(made_run(), summary={"metrics": {}, "errors": 2, "answers": 6})
    assert run.not_whole == "has no answer to 2 of 6 requests"


# ── identity ──


def with_metrics(entries: list[Any]) -> list[Result]:
    return [replace(r, case=replace(r.case, metrics=tuple(entries))) for r in results([1.0] * 4)]


def test_cases_measured_otherwise_are_no_second_try_of_the_same() -> None:
    yes, no = ({"type": "contains", "value": text} for text in ("yes", "no"))
    same = compare((made_run("a"), with_metrics([yes])), (made_run("b"), with_metrics([yes])), [EXACT])
    assert "the same experiment" in same.comparable.notes[0]
    other = compare((made_run("a"), with_metrics([yes])), (made_run("b"), with_metrics([no])), [EXACT])
    assert other.comparable.refused == ("contains is measured in different ways",)
    more = compare((made_run("a"), with_metrics([])), (made_run("b"), with_metrics([yes])), [EXACT])
    assert more.comparable.notes == ("contains is measured in one of them only",)
    suite = compare(
        (made_run("a"), results([1.0] * 4)), (made_run("b", metrics={"exact": "x"}), results([1.0] * 4)), [EXACT]
    )
    assert suite.comparable.notes == ("f1 is measured in one of them only",)


def test_what_metrics_measure_with_belongs_to_the_identity() -> None:
    found = compare(
        (made_run("a", metric_sources={"model grader": "1"}), results([1.0] * 4)),
        (made_run("b", metric_sources={"model grader": "2"}), results([1.0] * 4)),
        [EXACT],
    )
    assert found.comparable.refused == ("model grader, by which answers are measured, differs: 1 and 2",)


def test_metrics_of_single_cases_are_checked_when_a_suite_is_saved(store: EvaluationStore) -> None:
    suite = check_suite(BODY | {"cases": [{"message": "x", "metrics": ["exakt"]}]}, "s")
    with pytest.raises(InputRefusedError, match=r"cases\[0\].metrics: 'exakt' is not a metric"):
        store.save_suite(suite)
    judged = check_suite(
        BODY | {"cases": [{"message": "x", "metrics": [{"type": "judge", "model": "nobody", "rubric": "r"}]}]}, "s"
    )
    with pytest.raises(Exception, match="nobody"):
        store.columns(judged)


def test_an_engine_that_nobody_knows_is_told_and_one_of_ours_must_be_the_same() -> None:
    def found(one: str, two: str) -> Any:
        return compare(
            (made_run("a", engine=one), results([1.0] * 4)), (made_run("b", engine=two), results([0.0] * 4)), [EXACT]
        )

    local, far = "llama-cpp-python 1 avx2", "https://far.example/v1"
    assert found(local, "llama-cpp-python 2 avx2").comparable.refused
    for pair in ((local, far), (far, local), (far, "http://other.example")):
        both = found(*pair)
        assert not both.comparable.refused
        assert "how a server computes is not known" in both.comparable.notes[0]
        assert both.differences[0].n == 4


def test_a_server_that_calls_itself_otherwise_is_told() -> None:
    one, two = (made_run(n, fingerprints={"m": [f"fp_{n}"]}) for n in "ab")
    notes = compare((one, results([1.0] * 4)), (two, results([1.0] * 4)), [EXACT]).comparable.notes
    assert notes == ("the server of m calls itself fp_b, and fp_a before: what answers behind it has changed",)


# ── kept answers ──


class Far(Asker):
    """Asks a remote model whose server says what it is told to say."""

    def __init__(self, workspace: Workspace, within: str, cache: AnswerCache | None = None) -> None:
        store = EvaluationStore(workspace)
        super().__init__(
            store.registry, cache or AnswerCache(workspace), cast("Any", None), options=LoadOptions(),
            renderer=cast("Any", None), within=within,
        )  # fmt: skip
        self.says: dict[str, Any] = {}
        self.asked = 0

    async def _with_tries(self, name: str, work: Any) -> Any:
        self.asked += 1
        return {"choices": [{"message": {"content": f"answer {self.asked}"}}], **self.says}


@pytest.fixture
def far(sample: Workspace) -> Workspace:
    EvaluationStore(sample).registry.add_remote("http://far.example", "far", {"remote_model": "m", "lacks": {}})
    return sample


def graded(asker: Asker, question: str = "q") -> str:
    reply = asyncio.run(asker.reply("far", "/v1/chat/completions", {"messages": question}))
    asker.cache.flush()
    return str(reply["choices"][0]["message"]["content"])


def test_answers_of_a_server_without_a_name_of_its_own_are_kept_within_a_run(far: Workspace) -> None:
    first = Far(far, "s-1")
    assert [graded(first), graded(first)] == ["answer 1", "answer 1"]
    # Gone on with: the same run.
    again = Far(far, "s-1")
    assert graded(again) == "answer 1"
    assert again.asked == 0
    other = Far(far, "s-2")
    graded(other)
    assert other.asked == 1
    assert other.fingerprints == {"far": []}


def test_answers_of_a_server_that_names_a_fingerprint_are_kept_by_it(far: Workspace) -> None:
    first = Far(far, "s-1")
    first.says = {"system_fingerprint": "fp_1"}
    graded(first, "one")
    graded(first, "two")
    other = Far(far, "s-2")
    other.says = {"system_fingerprint": "fp_1"}
    assert other.unknown("far")
    # Its first answer tells what it is; what the same server said before is then known.
    graded(other, "another")
    assert not other.unknown("far")
    assert graded(other, "two") == "answer 2"
    assert other.asked == 1
    changed = Far(far, "s-3")
    changed.says = {"system_fingerprint": "fp_2"}
    graded(changed, "another")
    graded(changed, "two")
    assert changed.asked == 2
    assert changed.fingerprints == {"far": ["fp_2"]}


def test_requests_of_a_run_are_kept_by_what_the_model_turned_out_to_be(far: Workspace) -> None:
    asker = Far(far, "s-1")
    asker.says = {"system_fingerprint": "fp_1"}
    request = Request("/v1/chat/completions", {"messages": []}, SamplingParameters())
    asyncio.run(asker.answer("far", request, {"messages": []}))
    key = asker.key(asker.identity("far"), request.path, {"messages": []})
    assert asker.identity("far") == {"url": "http://far.example", "model": "m", "fingerprint": "fp_1"}
    assert key in asker.cache.find([key])


def test_a_fresh_run_takes_no_answer_from_before_it_and_ages_are_known(sample: Workspace) -> None:
    cache = AnswerCache(sample)
    cache.keep("old", {"choices": []})
    cache.flush()
    (found,) = cache.find(["old"]).values()
    assert found.at is not None
    fresh = AnswerCache(sample, since=found.at + 1)
    assert fresh.find(["old"]) == {}
    assert AnswerCache(sample, since=found.at).find(["old"])


def test_answers_that_an_earlier_version_kept_are_found_without_an_age(workspace: Workspace) -> None:
    file = sqlite3.connect(workspace.root / FILE)
    file.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, reply BLOB) WITHOUT ROWID")
    file.execute("INSERT INTO answers VALUES ('k', '{\"choices\": []}')")
    file.commit()
    file.close()
    assert AnswerCache(workspace).find(["k"])["k"].at is None
    assert AnswerCache(workspace, since=1.0).find(["k"]) == {}


# ── judges ──


class Listening:
    """Answers 4 to everything, and remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def reply(self, model: str, path: str, body: Mapping[str, object], prompt: str = "") -> Any:
        del model, path, prompt
        self.sent.append(body["messages"])
        return {"choices": [{"message": {"content": "4"}}]}

    async def render(self, template: str, variables: Mapping[str, object]) -> str:
        from llmops_tui.inference.template_worker import prompt_environment

        return prompt_environment().from_string(template).render(**variables)

    def supports_grammar(self, model: str) -> bool:
        del model
        return True


ASKED = (
    {"role": "system", "content": "You are the shop's clerk."},
    {"role": "user", "content": "Customer writes: where is my kettle?"},
)
GRADED = Case(
    0, "k", variables={"message": "where is my kettle?", "grade": "GRADED-5", "note": "NOTE"}, expected="REFERENCE",
    context="CONTEXT", slices={"people": "SLICE-5"},
)  # fmt: skip


def sent_for(**settings: Any) -> tuple[str, Score]:
    metric = make_metric({"type": "judge", "model": "m", "rubric": "Is it polite?", **settings})
    assert isinstance(metric, Judge)
    asking = Listening()
    score = asyncio.run(metric.score_by_asking(GRADED, Answer(text="On its way.", asked=ASKED), asking))  # type: ignore[arg-type]
    return "\n".join(m["content"] for m in asking.sent[0]), score


def test_a_judge_sees_the_conversation_as_the_model_got_it_and_nothing_else() -> None:
    text, score = sent_for(human="grade")
    for part in ("You are the shop's clerk.", "Customer writes: where is my kettle?", "On its way.", "Is it polite?"):
        assert part in text
    for part in ("GRADED-5", "SLICE-5", "NOTE", "REFERENCE", "CONTEXT"):
        assert part not in text
    assert score.detail["human"] == "GRADED-5"
    # What was sent is kept, and comes back from the file of the run.
    kept = read_line(Result(GRADED, 0, Answer(text="a", asked=ASKED), {"judge": score}).to_line())
    assert "\n".join(m["content"] for m in kept.scores["judge"].detail["sent"]) == text
    assert kept.answer.asked == ASKED


def test_a_judge_is_sent_what_the_rubric_names_but_never_peoples_grades() -> None:
    text, _ = sent_for(rubric="As polite as {{ expected }}, given {{ note }}?")
    assert "As polite as REFERENCE, given NOTE?" in text
    assert "CONTEXT" not in text
    with pytest.raises(Exception, match="grade"):
        sent_for(rubric="People said {{ grade }}.", human="grade")


def test_two_answers_are_judged_with_the_conversations_they_answer() -> None:
    other = ({"role": "user", "content": "ANOTHER QUESTION"},)
    first, second = (Result(GRADED, 0, Answer(text=t, asked=a), {}) for t, a in (("same", ASKED), ("same", other)))
    asking = Listening()
    asyncio.run(decide(Pair(first, second, None), "Which is better?", "m", asking))  # type: ignore[arg-type]
    new_first, old_first = (messages[1]["content"] for messages in asking.sent)
    assert new_first.index("ANOTHER QUESTION") < new_first.index("shop's clerk")
    assert old_first.index("shop's clerk") < old_first.index("ANOTHER QUESTION")
    for text in (new_first, old_first):
        assert not any(part in text for part in ("GRADED-5", "NOTE", "REFERENCE", "CONTEXT"))


def test_a_reply_with_half_of_a_character_or_a_huge_number_can_be_kept(workspace: Workspace) -> None:
    given: Any = {"choices": [{"message": {"content": "so \ud83d"}}], "usage": {"prompt_tokens": 10**30, "n": 3}}
    found: Any = whole_reply(given)
    assert found == {"choices": [{"message": {"content": "so \ufffd"}}], "usage": {"prompt_tokens": 1e30, "n": 3}}
    cache = AnswerCache(workspace)
    cache.keep("k", found)
    cache.flush()
    assert cache.find(["k"])["k"].reply == found
    cache.close()
    plain: Any = {"choices": []}
    assert whole_reply(plain) is plain


def test_an_answer_that_the_context_cut_is_not_kept_for_a_longer_one(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = Far(sample, "s-1")
    monkeypatch.setattr(asker, "identity", lambda name: {"model": name})
    request = Request("/v1/chat/completions", {"messages": []}, SamplingParameters(max_tokens=256))
    key = asker.key({"model": "support-base"}, request.path, {"messages": []})
    for made, reason, known in ((40, "length", False), (40, "stop", True), (256, "length", True)):
        answered = {"message": {"content": "x"}, "finish_reason": reason}
        asker.says = {"choices": [answered], "usage": {"completion_tokens": made}}
        asyncio.run(asker.answer("support-base", request, {"messages": []}))
        assert (key in asker.cache.find([key])) is known, (made, reason)
        asker.cache._waiting.clear()
