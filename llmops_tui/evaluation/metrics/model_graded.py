"""Model-graded metrics: a judge with a rubric, and embedding similarity."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmops_tui.datasets.agreement import cohen_kappa, quadratic_kappa
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.records import Facts
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import ChatMessage, Reply


class Asking(Protocol):
    """What such a metric is given to ask with; everything asked is cached like answers are."""

    async def reply(self, model: str, path: str, body: Mapping[str, object], prompt: str = "") -> Reply:
        """What the endpoint of a model answers; ``prompt`` is the version that it is asked with, if any."""

    async def render(self, template: str, variables: Mapping[str, object]) -> str:
        """A prompt template with its values."""

    def supports_grammar(self, model: str) -> bool:
        """Whether the model's endpoint holds answers to a grammar; one of somebody else's may not."""


_LEAST_MASS = 0.05
# The points of a scale that are tokens of their own in any vocabulary.
ALTERNATIVES = 20

JUDGE_SYSTEM = "You grade answers. You reply with one number and nothing else."
JUDGE_TEMPLATE = """Grade the answer below by this rubric:
{{ rubric }}

The grade is a whole number from {{ low }} (worst) to {{ high }} (best).

Conversation:
{{ conversation }}

Answer to grade:
{{ answer }}

Grade ({{ low }} to {{ high }}):"""


def grade_masses(reply: Reply, points: Sequence[str]) -> dict[str, float] | None:
    """The probability of each point at a reply's first token; none where it tells no probabilities.

    Raises:
        LlmopsError: ``unusable``: the points have less than a twentieth of the probability.
    """
    tokens = (reply["choices"][0].get("logprobs") or {}).get("content") or []
    first = next((t for t in tokens if t["token"].strip()), None)
    if first is None:
        return None
    masses = dict.fromkeys(points, 0.0)
    for other in first.get("top_logprobs") or []:
        if other["token"].strip() in masses:
            masses[other["token"].strip()] += math.exp(other["logprob"])
    mass = sum(masses.values())
    if mass < _LEAST_MASS:
        raise LlmopsError("unusable", f"the judge assigns only {mass:.1%} of its probability to the scale")
    return masses


def names_something(rubric: str) -> bool:
    """Whether a rubric is a template: only then it names what of a case a judge is to see."""
    return "{{" in rubric or "{%" in rubric


def conversation_of(case: Case, answer: Answer) -> Sequence[ChatMessage]:
    """What an answer answers: the conversation as the model got it."""
    return answer.asked or case.messages


def conversation_text(messages: Sequence[ChatMessage]) -> str:
    """A conversation for a judge to read: a single question as it is, else each turn behind its role."""
    told = [(str(m.get("role") or ""), message_text(m)) for m in messages]
    if [role for role, _ in told] == ["user"]:
        return told[0][1]
    return "\n\n".join(f"{role.capitalize()}: {text}" for role, text in told)


def message_text(message: ChatMessage) -> str:
    """What a turn says, with the calls of tools that it makes."""
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) if content else ""
    # Messages of a dataset are whatever a file had.
    made = [call.get("function") or {} for call in cast("list[JsonObject]", message.get("tool_calls") or [])]
    calls = [f"{call.get('name', '')}({call.get('arguments', '')})" for call in made]
    return "\n".join(part for part in (text, *calls) if part)


def _weighted(grades: Sequence[float], people: Sequence[str]) -> float | None:
    try:
        return quadratic_kappa(grades, [float(grade) for grade in people])
    except ValueError:
        # People's grades are words.
        return None


class AskingMetric(Metric):
    """A metric whose score comes from a model."""

    model: str

    async def score_by_asking(self, case: Case, answer: Answer, asking: Asking) -> Score:
        """The score of one answer."""
        raise NotImplementedError


class Example(BaseModel):
    """An answer that people graded, which a judge is shown. What beside the rubric may name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversation: str
    answer: str
    grade: int
    context: str = ""
    expected: str = ""
    variables: Variables = {}


class Judge(AskingMetric):
    """A model grades the answer by a rubric, on a scale whose points it is held to.

    The score is the expectation over the scale's probabilities at the grade's first token, so that it can lie between two
    points (Liu et al., "G-Eval", 2023, section 2). Where the model tells no probabilities its grade is taken as it is. A
    grade is unusable where the model gives the scale less than a twentieth of its probability, or says something else; how
    many are is shown. A judge is as good as its agreement with people: labels beside the score are compared with it by
    Cohen's kappa over rounded grades, and by kappa with quadratic weights over the scores as they are.

    The judge is sent the conversation as the model got it, the answer and the rubric; the rubric may name variables of the
    case, ``{{ expected }}`` and ``{{ context }}``, which are then sent as well. Nothing else is, and never people's grades of
    the case. What was sent is kept with the score.

    ``examples`` are answers that people graded, sent as turns before the question; one to the conversation at hand is left
    out, so that agreement with people is not agreement with what it was told.
    """

    type: Literal["judge"] = "judge"
    revision: ClassVar[int] = 2
    rubric: Annotated[str, Field(min_length=1, max_length=20_000)]
    low: Annotated[int, Field(ge=0, le=9)] = 1
    high: Annotated[int, Field(ge=1, le=9)] = 5
    prompt: Annotated[str, Field(description="A kept prompt that asks for the grade; none takes the built-in one.")] = (
        ""
    )
    system: str = JUDGE_SYSTEM
    template: str = JUDGE_TEMPLATE
    human: Annotated[str, Field(description="The slice or variable in which people's grades are.")] = ""
    examples: Annotated[
        tuple[Example, ...], Field(max_length=50, description="Graded answers that the judge sees.")
    ] = ()

    @model_validator(mode="after")
    def _scale(self) -> Judge:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        for example in self.examples:
            if not self.low <= example.grade <= self.high:
                raise ValueError(f"an example has the grade {example.grade}, which is not on the scale")
        return self

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The ends of its scale."""
        return float(self.low), float(self.high)

    @property
    def points(self) -> list[str]:
        """The points of the scale."""
        return [str(n) for n in range(self.low, self.high + 1)]

    async def messages(self, case: Case, answer: Answer, asking: Asking) -> list[dict[str, str]]:
        """What the judge is sent: of all that a case has only what rubric and prompt name, and never people's grades.

        Raises:
            LlmopsError: ``variable_missing``: they name something that the case does not have.
        """
        talk = conversation_text(conversation_of(case, answer))
        named = {
            **{name: value for name, value in case.variables.items() if name != self.human},
            "context": case.context,
            "expected": case.expected_text if case.expected is not None else "",
        }
        system, question = await self._asked(talk, answer.text, named, asking)
        found = [{"role": "system", "content": system}]
        for example in self.examples:
            if example.conversation != talk:
                beside = {**example.variables, "context": example.context, "expected": example.expected}
                _, shown = await self._asked(example.conversation, example.answer, beside, asking)
                found += [{"role": "user", "content": shown}, {"role": "assistant", "content": str(example.grade)}]
        return [*found, {"role": "user", "content": question}]

    async def _asked(self, talk: str, answer: str, named: Mapping[str, object], asking: Asking) -> tuple[str, str]:
        """The system text and the question about one answer."""
        # Prompts that were kept before name the conversation so.
        said = {"conversation": talk, "question": talk, "answer": answer, "low": self.low, "high": self.high}
        rubric = self.rubric
        if names_something(rubric):
            rubric = await asking.render(rubric, {**named, **said})
        given = {**named, **said, "rubric": rubric}
        return await asking.render(self.system, given), await asking.render(self.template, given)

    def body(self, messages: list[dict[str, str]], *, ours: bool) -> Mapping[str, object]:
        """The request for a grade. An endpoint of ours is constrained by the scale; any other is only asked."""
        body: dict[str, Any] = {
            "messages": messages,
            "temperature": 0.0,
            "max_tokens": 4,
            "seed": 1,
            "logprobs": True,
            "top_logprobs": ALTERNATIVES,
        }
        if ours:
            points = " | ".join(f'"{p}"' for p in self.points)
            body |= {"grammar": f"root ::= {points}", "max_tokens": 2}
        return body

    def read(self, reply: Reply) -> Score:
        """The grade in a reply."""
        choice = reply["choices"][0]
        said = str((choice.get("message") or {}).get("content") or "").strip()
        try:
            masses = grade_masses(reply, self.points)
        except LlmopsError as error:
            return Score(None, error.message)
        if masses is not None:
            mass = sum(masses.values())
            value = sum(int(p) * m for p, m in masses.items()) / mass
            return Score(value, f"graded {said}", {"mass": mass, "grade": said})
        match = re.match(r"\d+", said)
        if match is None or match.group() not in self.points:
            return Score(None, f"the judge answered {said[:60]!r}")
        return Score(float(match.group()), f"graded {said}", {"grade": said})

    async def score_by_asking(self, case: Case, answer: Answer, asking: Asking) -> Score:
        """The grade of one answer, with people's beside it where there are any."""
        messages = await self.messages(case, answer, asking)
        body = self.body(messages, ours=asking.supports_grammar(self.model))
        score = self.read(await asking.reply(self.model, "/v1/chat/completions", body, self.prompt))
        person = case.slices.get(self.human) or case.variables.get(self.human) if self.human else None
        known = {} if person in (None, "") else {"human": str(person)}
        return Score(score.value, score.reason, {**score.detail, **known, "sent": messages})

    def facts(self, scores: Sequence[Score]) -> Facts:
        """How far the judge agrees with people, by Cohen's kappa, and on how many answers."""
        both = [(s.value, s.detail["human"]) for s in scores if s.value is not None and "human" in s.detail]
        kappa = cohen_kappa([str(round(a)) for a, _ in both], [b for _, b in both]) if both else None
        mass = [s.detail["mass"] for s in scores if "mass" in s.detail]
        return {
            "kappa": kappa,
            "kappa_quadratic": _weighted([a for a, _ in both], [b for _, b in both]),
            "human_labels": len(both),
            "judge": self.model,
            "mass_on_scale": sum(mass) / len(mass) if mass else None,
        }


class EmbeddingSimilarity(AskingMetric):
    """The cosine of the embeddings of answer and expectation, from a model that embeds.

    Reimers and Gurevych, "Sentence-BERT", 2019.
    """

    type: Literal["embedding"] = "embedding"
    needs_expected: ClassVar[bool] = True

    async def score_by_asking(self, case: Case, answer: Answer, asking: Asking) -> Score:
        """From -1 to 1."""
        import numpy as np

        body = {"input": [answer.text or " ", case.expected_text or " "], "encoding_format": "float"}
        reply = await asking.reply(self.model, "/v1/embeddings", body)
        ordered = sorted(reply["data"], key=lambda item: item["index"])
        a, b = (np.array(item["embedding"], np.float64) for item in ordered)
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        return Score(float(a @ b) / norm if norm else 0.0)
