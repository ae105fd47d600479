"""How byte-level tokenizers split text before they join pairs, by llama.cpp's names for it.

A GGUF file names the way (``tokenizer.ggml.pre``); a ``tokenizer.json`` has the patterns themselves. One table serves both
directions: from the name to patterns, and from what a tokenizer does with a probe text to the name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject


@dataclass(frozen=True)
class PreTokenizer:
    """A way to split text.

    Attributes:
        names: llama.cpp's names for it; the first is written.
        patterns: applied one after another, each to the pieces that the ones before left; what no pattern matches is a piece.
        whole_words: whether a piece that is a token is not put together from pairs.
        begins: whether llama.cpp begins texts with the first token where the file does not say.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False


# Endings of English words, in both cases.
_ENDINGS = "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
# Of GPT-2; what is left of blanks is a piece of its own.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_UPPER, _LOWER = r"(?:(?=\p{L})[^a-z])", r"(?:(?=\p{L})[^A-Z])"
_CASED_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_ASCII_SIGNS = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
_CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"


def _modern(digits: str, word: str = _WORD, signs: str = _SIGNS) -> str:
    return f"{_ENDINGS}|{word}|{digits}|{signs}|{_BLANKS}"


def _cased(end: str = "") -> str:
    """Words in which a large letter behind a small one begins a new word."""
    start = r"[^\r\n\p{L}\p{N}]?"
    return f"{start}{_UPPER}*{_LOWER}+{end}|{start}{_UPPER}+{_LOWER}*{end}"


_LLAMA3 = _modern(r"\p{N}{1,3}")
# The first with a probe's splits is the name that is written: of ways that are alike the most usual one comes first.
PRE_TOKENIZERS: tuple[PreTokenizer, ...] = (
    PreTokenizer(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
        (_LLAMA3,),
        whole_words=True,
        begins=True,
    ),
    PreTokenizer(("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), (_LLAMA3,)),
    PreTokenizer(
        (
            "qwen2",
            "deepseek-r1-qwen",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
            "bailingmoe",
            "bailingmoe2",
            "llada-moe",
        ),
        (_modern(r"\p{N}"),),
    ),
    PreTokenizer(
        ("qwen35",), (_modern(r"\p{N}", r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"),)
    ),
    PreTokenizer(
        (
            "gpt-2",
            "phi-2",
            "olmo",
            "mpt",
            "jais",
            "gigachat",
            "exaone4",
            "trillion",
            "granite-docling",
            "a.x-4.0",
            "mellum",
        ),
        (_GPT2,),
    ),
    PreTokenizer(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), (r"\p{N}", _GPT2)
    ),
    PreTokenizer(
        ("tekken",),
        (rf"{_cased()}|\p{{N}}|{_CASED_SIGNS}|{_BLANKS}",),
        whole_words=True,
        begins=True,
    ),
    PreTokenizer(
        ("gpt-4o", "llama4", "kanana2"),
        (rf"{_cased(f'(?:{_ENDINGS})?')}|\p{{N}}{{1,3}}|{_CASED_SIGNS}|{_BLANKS}",),
    ),
    PreTokenizer(
        ("deepseek-v3", "hunyuan-dense", "joyai-llm"),
        (
            r"\p{N}{1,3}",
            _CJK,
            rf"{_ASCII_SIGNS}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}",
        ),
    ),
    PreTokenizer(("seed-coder",), (_modern(r"\p{N}", signs=r" ?[^\s\p{L}\p{N}\r\n]+"),)),
    PreTokenizer(("minicpm5",), (r"\p{N}{1,3}", _modern(r"\p{N}+")), whole_words=True),
    PreTokenizer(
        ("falcon",),
        (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]"),
    ),
    PreTokenizer(("default",), (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
)
# What ways differ in: cases, digits, signs, endings, blanks, marks, scripts.
PROBE = (
    "Hello World's END'S 'tis It'll they'VE don't\n\n \n  a  b\t\tc \r\n x\n3 33 333 3333 33333  4   55 1,234.50€ 12ab34 ½²\n"
    "path/to//file.py\n/ == != <br/> $5+3=8 `q` ~^| (a)[b]{c} #tag @you...!!\n  ?\n\n\ncamelCaseWORDsHTTPServer ABCdef "
    "Über STRASSE ÄÖü café cafe\u0301 नमस्ते สวัสดี 日本語です。カタカナ 漢字 한국어 🚀🇩🇪 \u200d ٣٤٥ Ⅷ "
    "_under_score __init__  \u00a0x\u3000y trailing   "
)


def named(name: str) -> PreTokenizer:
    """A way by llama.cpp's name; a file without one is split in its default way.

    Raises:
        InputRefusedError: ``unknown_pre_tokenizer``.
    """
    for found in PRE_TOKENIZERS:
        if (name or "default") in found.names:
            return found
    raise InputRefusedError(
        "unknown_pre_tokenizer",
        f"the tokenizer splits text in the way that llama.cpp calls {name!r}, which cannot be read here",
        f"Known: {', '.join(sorted(n for p in PRE_TOKENIZERS for n in p.names))}.",
    )


def as_json(way: PreTokenizer) -> JsonObject:
    """The way as ``tokenizer.json`` has it, for tokens whose bytes are written as letters."""
    splits = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in way.patterns
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*splits, byte_level]}


def find(tokenizer: JsonObject, splits: Callable[[JsonObject | None, str], list[tuple[int, int]]]) -> PreTokenizer:
    """The way of a ``tokenizer.json``, found by what it does with a probe text.

    ``splits`` gives the pieces of a text, as begin and end, that a pre-tokenizer makes.

    Raises:
        InputRefusedError: ``unknown_tokenizer``: it splits in none of the known ways.
    """
    pieces = splits(tokenizer.get("pre_tokenizer"), PROBE)
    whole = bool(tokenizer["model"].get("ignore_merges"))
    alike = [way for way in PRE_TOKENIZERS if splits(as_json(way), PROBE) == pieces]
    found = next((way for way in alike if way.whole_words == whole), None)
    if found is None:
        more = ", but for whether whole words are looked up first" if alike else ""
        near = f" ({alike[0].names[0]} is alike{more})" if alike else ""
        raise InputRefusedError(
            "unknown_tokenizer",
            f"the tokenizer splits text in a way that llama.cpp has no name for{near}",
            f"Known ways: {', '.join(way.names[0] for way in PRE_TOKENIZERS)}.",
        )
    return found
