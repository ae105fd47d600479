"""Instructions as Alpaca has them: a question, what it is about, and the answer."""

from __future__ import annotations

from llmops_tui.datasets.formats.base import Format, RowRefusedError, has, kind_name, structured
from llmops_tui.datasets.records import Message, Row


class Alpaca(Format):
    """``{"instruction": …, "input": …, "output": …}``, with ``system`` and ``history`` where there are any."""

    name = "alpaca"
    kind = "messages"
    columns = frozenset({"instruction", "input", "output", "system", "history"})
    sign = "have 'instruction' and 'output'"

    def recognises(self, row: Row) -> bool:
        """By question and answer."""
        return has(row, "instruction", "output") and not has_two_answers(row)

    def read(self, row: Row) -> Row:
        """Its texts as messages."""
        messages = instruction_messages(row)
        if has_two_answers({"instruction": "", **row}):
            raise RowRefusedError("output holds two answers, of which the first is preferred: the format is preference")
        answer = row.pop("output", None)
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        return {"messages": messages, **row}

    def write(self, row: Row) -> Row:
        """Messages that alternate as question, answer and history."""
        turns = list(row.pop("messages"))
        for name in ("instruction", "input", "output", "system", "history"):
            if name in row:
                raise RowRefusedError(f"the column {name} has a meaning of its own there")
        out: Row = {}
        if turns and turns[0].get("role") == "system":
            out["system"] = turns.pop(0).get("content")
        answer = turns.pop() if turns and turns[-1].get("role") == "assistant" else None
        if not turns or turns[-1].get("role") != "user":
            raise RowRefusedError("no question precedes the answer")
        question = turns.pop()
        content, given = question.get("content"), question.get("input")
        if not isinstance(content, str):
            raise RowRefusedError("the question is not a text")
        if isinstance(given, str) and given and content.endswith("\n\n" + given):
            content = content[: -len(given) - 2]
        else:
            given = ""
        pairs = list(zip(turns[::2], turns[1::2], strict=False))
        if len(turns) % 2 or any((q.get("role"), a.get("role")) != ("user", "assistant") for q, a in pairs):
            raise RowRefusedError("the turns do not alternate")
        out = (
            {"instruction": content, "input": given}
            | ({} if answer is None else {"output": answer.get("content")})
            | out
        )
        if pairs:
            out["history"] = [[q.get("content"), a.get("content")] for q, a in pairs]
        return out | row


def has_two_answers(row: Row) -> bool:
    """Whether an instruction has a better and a worse answer, as LLaMA-Factory writes rows to rank."""
    answers = row.get("output")
    return (
        row.get("instruction") is not None
        and "chosen" not in row
        and isinstance(answers, list)
        and len(answers) == 2
        and all(isinstance(answer, str) for answer in answers)
    )


def instruction_messages(row: Row) -> list[Message]:
    """The messages before the answer, whose columns are taken out of the row."""
    messages: list[Message] = []
    system = row.pop("system", None)
    if isinstance(system, str) and system:
        messages.append({"role": "system", "content": system})
    for pair in structured(row.pop("history", None)) or []:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise RowRefusedError("history is not a list of pairs of question and answer")
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return [*messages, _question(row)]


def _question(row: Row) -> Message:
    instruction = row.pop("instruction", None)
    given = row.pop("input", None)
    if not isinstance(instruction, str):
        raise RowRefusedError(f"instruction is {kind_name(instruction)}")
    if given is None or given == "":
        return {"role": "user", "content": instruction}
    if not isinstance(given, str):
        raise RowRefusedError(f"input is {kind_name(given)}")
    return {"role": "user", "content": f"{instruction}\n\n{given}", "input": given}
