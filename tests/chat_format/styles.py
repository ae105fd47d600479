"""Small templates of our own, one for each style in which families of models write."""

from __future__ import annotations

_OPEN = "{% for m in messages %}"
_PLAIN = "{% if m.role in ['system', 'user'] %}<|begin|>{{ m.role }}\n{{ m.content }}<|finish|>\n"
_RESULT = "{% elif m.role == 'tool' %}<|begin|>tool\n{{ m.content }}<|finish|>\n"
_CLOSE = "{% endif %}{% endfor %}{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"


def _chat(answer: str, close: str = _CLOSE) -> str:
    return f"{_OPEN}{_PLAIN}{_RESULT}{{% elif m.role == 'assistant' %}}<|begin|>assistant\n{answer}<|finish|>\n{close}"


_CONTENT = "{{ m.content or '' }}"
# Calls as objects with a name and arguments, in marks of their own; thinking before the last question is dropped.
OBJECTS = _chat(
    "{% set ns = namespace(last=0) %}{% for o in messages %}{% if o.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% if loop.index0 > ns.last and m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n"
    "</think>\n\n{% endif %}" + _CONTENT + "{% for c in m.tool_calls or [] %}{{ '\n' }}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}',
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|begin|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
# A list of objects whose one key is the name.
KEYED = _chat(
    _CONTENT + "{% if m.tool_calls %}<|calls|>[{% for c in m.tool_calls %}"
    '{"{{ c.function.name }}": {{ c.function.arguments | tojson }}}{{ "" if loop.last else ", " }}{% endfor %}]<|/calls|>'
    "{% endif %}"
)
# Parameters in marks of their own, each value as Python prints it.
PARAMETERS = _chat(
    _CONTENT + "{% for c in m.tool_calls or [] %}\n<tool_call>\n<function={{ c.function.name }}>\n"
    "{% for k, v in c.function.arguments | items %}<parameter={{ k }}>\n"
    "{{ v | tojson if v is mapping or (v is iterable and v is not string) else v }}\n</parameter>\n{% endfor %}"
    "</function>\n</tool_call>{% endfor %}"
)
# Keys and values in marks beside each other; the next turn alone ends one, and thinking is opened by the prompt.
PAIRS = (
    "{% for m in messages %}{% if m.role in ['system', 'user'] %}<|{{ m.role }}|>{{ m.content }}"
    "{% elif m.role == 'tool' %}<|observed|>{{ m.content }}{% else %}<|assistant|>"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% else %}</think>{% endif %}"
    "{{ m.content or '' }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}"
    "{% for k, v in c.function.arguments | items %}<key>{{ k }}</key><value>"
    "{{ v if v is string else v | tojson }}</value>{% endfor %}</call>{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{{ '</think>' if enable_thinking is false else '<think>' }}{% endif %}"
)
# The name, an id, and a JSON object, each behind a mark; no text begins an assistant's turn.
BEHIND_MARKS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]"
    "{% elif m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}[RESULT]{{ m.content }}[/RESULT]{% else %}{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]"
    "{{ c.function.arguments | tojson }}{% endfor %}{{ eos_token }}{% endif %}{% endfor %}"
)
# As Python writes calls.
PYTHON = _chat(
    _CONTENT + "{% if m.tool_calls %}<|call_start|>[{% for c in m.tool_calls %}{{ c.function.name }}("
    "{% for k, v in c.function.arguments | items %}{{ k }}={{ v | tojson }}{{ '' if loop.last else ', ' }}{% endfor %})"
    "{{ '' if loop.last else ', ' }}{% endfor %}]<|call_end|>{% endif %}"
)
# Objects without quotes around keys, with a mark for quotes.
BARE = (
    "{% macro put(v) %}{% if v is string %}<|q|>{{ v }}<|q|>{% elif v is boolean %}{{ 'true' if v else 'false' }}"
    "{% elif v is mapping %}{{ '{' }}{% for k, w in v | items %}{{ k }}:{{ put(w) }}{{ '' if loop.last else ',' }}"
    "{% endfor %}{{ '}' }}{% elif v is iterable %}[{% for w in v %}{{ put(w) }}{{ '' if loop.last else ',' }}{% endfor %}]"
    "{% else %}{{ v }}{% endif %}{% endmacro %}"
    + _chat(
        _CONTENT
        + "{% for c in m.tool_calls or [] %}<|tool_call>call:{{ c.function.name }}{{ put(c.function.arguments) }}"
        "<tool_call|>{% endfor %}"
    )
)
# Messages on channels.
CHANNELS = (
    "{% for m in messages %}{% if m.role in ['system', 'user'] %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>"
    "{% elif m.role == 'tool' %}<|start|>functions.f to=assistant<|channel|>commentary<|message|>{{ m.content }}<|end|>"
    "{% else %}{% if m.thinking and loop.last %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>"
    "{% endif %}{% if m.tool_calls %}{% set c = m.tool_calls[0] %}<|start|>assistant to=functions.{{ c.function.name }}"
    "<|channel|>commentary json<|message|>{{ c.function.arguments | tojson }}<|call|>{% else %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}{{ '<|return|>' if loop.last else '<|end|>' }}{% endif %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# The recipient in the first line, and arguments wanted as a text.
RECIPIENTS = _chat(
    "{% if m.content %}>>>all\n{{ m.content }}{% endif %}{% for c in m.tool_calls or [] %}"
    ">>>{{ c.function.name + '\n' + c.function.arguments }}{% endfor %}",
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|begin|>assistant\n>>>{% endif %}",
)
# An object and nothing around it; one call at a time.
UNMARKED = _chat(
    "{% if m.tool_calls %}{% if m.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    '{"name": "{{ m.tool_calls[0].function.name }}", "parameters": {{ m.tool_calls[0].function.arguments | tojson }}}'
    "{% else %}{{ m.content }}{% endif %}"
)

STYLES = {
    "objects": OBJECTS,
    "keyed": KEYED,
    "parameters": PARAMETERS,
    "pairs": PAIRS,
    "behind-marks": BEHIND_MARKS,
    "python": PYTHON,
    "bare": BARE,
    "channels": CHANNELS,
    "recipients": RECIPIENTS,
    "unmarked": UNMARKED,
}
