"""What has to be learned of three conversations in the formats of the field, written by hand, family by family.

Each is what the family's models write: the answer in its marks, up to and with what ends it.
"""

from __future__ import annotations

from typing import Any

from tests.chat_format.world import EOS, answered, user

_CALL = {
    "id": "abcdefgh1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}},
}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "turns": [user("Hi"), answered("One."), user("And?"), answered("Two.")],
    "thinking": [user("Hi"), answered("One.", thought="Mm."), user("And?"), answered("Two.", thought="Hm.")],
    "tools": [
        user("W?"),
        answered("") | {"tool_calls": [_CALL]},
        {"role": "tool", "content": "Rain.", "tool_call_id": "abcdefgh1", "name": "get_weather"},
        answered("It rains."),
    ],
}
_OBJECT = '{"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}'
_ARGUMENTS = '{"city": "Oslo", "days": 3}'
_TAGGED = f"<tool_call>\n{_OBJECT}\n</tool_call>"
_XML = "<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>"


def _all(
    end: str, call: str, *, thoughts: tuple[str, str] = ("", ""), begin: str = "", call_end: str = ""
) -> dict[str, list[str]]:
    """Turns that begin and end alike: with what is written of the two thoughts, and a call."""
    first, second = thoughts
    return {
        "turns": [f"{begin}One.{end}", f"{begin}Two.{end}"],
        "thinking": [f"{first or begin}One.{end}", f"{second or begin}Two.{end}"],
        "tools": [f"{call}{call_end or end}", f"{begin}It rains.{end}"],
    }


TRUTH: dict[str, dict[str, list[str]]] = {
    "ByteDance-Seed-OSS": _all(
        "<seed:eos>",
        f"<seed:tool_call>\n{_XML}\n</seed:tool_call>".replace(">\nOslo\n<", ">Oslo<").replace(">\n3\n<", ">3<"),
        thoughts=("<seed:think>Mm.</seed:think>\n", "<seed:think>Hm.</seed:think>\n"),
    ),
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": _all(
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        '<|START_THINKING|><|END_THINKING|><|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "get_weather", '
        f'"parameters": {_ARGUMENTS}}}\n]<|END_ACTION|>',
        begin="<|START_RESPONSE|>",
        call_end="<|END_OF_TURN_TOKEN|>",
    ),
    "GigaChat3.1-10B-A1.8B": _all("<|message_sep|>\n\n", f"<|function_call|>{_OBJECT}"),
    "LFM2.5-8B-A1B": _all(
        "<|im_end|>\n",
        "<|tool_call_start|>[get_weather(city='Oslo', days=3)]<|tool_call_end|>",
        thoughts=("", "<think>Hm.</think>"),
    ),
    "MiniMax-M2": _all(
        "[e~[\n",
        '\n<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Oslo</parameter>\n'
        '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
        thoughts=("", "<think>\nHm.\n</think>\n\n"),
    ),
    "Mistral-Small-3.2-24B-Instruct-2506": _all(EOS, f"[TOOL_CALLS]get_weather[CALL_ID]abcdefgh1[ARGS]{_ARGUMENTS}"),
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": _all("<|im_end|>\n", _TAGGED),
    "Qwen3-Coder": _all("<|im_end|>\n", f"<tool_call>\n{_XML}\n</tool_call>"),
    "StepFun3.5-Flash": {
        "turns": ["One.<|im_end|>\n", "<think>\n\n</think>\nTwo.<|im_end|>\n"],
        "thinking": ["One.<|im_end|>\n", "<think>\nHm.\n</think>\nTwo.<|im_end|>\n"],
        "tools": [
            f"<think>\n\n</think>\n<tool_call>\n{_XML}\n</tool_call><|im_end|>\n",
            "<think>\n\n</think>\nIt rains.<|im_end|>\n",
        ],
    },
    "google-gemma-4-31B-it": _all(
        "<turn|>\n",
        '<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>,days:3}<tool_call|>',
        call_end="<|tool_response>",
    ),
    "ibm-granite-granite-4.0": _all("<|end_of_text|>\n", _TAGGED),
    "meetkai-functionary-medium-v3.1": _all(
        "<|eot_id|>", f"<function=get_weather>{_ARGUMENTS}</function>", call_end="<|eom_id|>"
    ),
    "meetkai-functionary-medium-v3.2": _all("<|eot_id|>", f">>>get_weather\n{_ARGUMENTS}", begin=">>>all\n"),
    "meta-llama-Llama-3.1-8B-Instruct": _all("<|eot_id|>", _OBJECT.replace("arguments", "parameters")),
    "mistralai-Ministral-3-14B-Reasoning-2512": _all(
        EOS, f"[TOOL_CALLS]get_weather[ARGS]{_ARGUMENTS}", thoughts=("[THINK]Mm.[/THINK]", "[THINK]Hm.[/THINK]")
    ),
    "mistralai-Mistral-Nemo-Instruct-2407": _all(EOS, f'[TOOL_CALLS][{_OBJECT[:-1]}, "id": "abcdefgh1"}}]'),
    "moonshotai-Kimi-K2": _all(
        "<|im_end|>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        f"{_ARGUMENTS}<|tool_call_end|><|tool_calls_section_end|>",
    ),
    "openbmb-MiniCPM5-1B": _all(
        "<|im_end|>\n",
        '<function name="get_weather"><param name="city">Oslo</param><param name="days">3</param></function>',
        thoughts=("", "<think>\nHm.\n</think>\n\n"),
    ),
    "upstage-Solar-Open-100B": _all(
        "<|end|>",
        "<|tool_calls|><|tool_call:begin|>abcdefgh1<|tool_call:name|>get_weather<|tool_call:args|>"
        f"{_ARGUMENTS}<|tool_call:end|>",
        thoughts=("", "<|think|>Hm.<|end|><|begin|>assistant<|content|>"),
        begin="<|content|>",
        call_end="<|calls|>",
    ),
    "Bielik-11B-v3.0-Instruct": _all(
        "<|im_end|>\n", f"\n{_TAGGED}", thoughts=("<think>\nMm.\n</think>\n", "<think>\nHm.\n</think>\n")
    ),
    "Reka-Edge": _all("\n\n<sep>", f" {_TAGGED}", begin=" "),
    "poolside-Laguna-XS.2": _all(
        "\n</assistant>\n",
        "</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>3</arg_value>\n</tool_call>",
        thoughts=("<think>\nMm.\n</think>\n", "<think>\nHm.\n</think>\n"),
        begin="</think>\n",
    ),
}
