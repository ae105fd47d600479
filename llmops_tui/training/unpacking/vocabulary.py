"""The tokenizer of a GGUF file as ``tokenizer.json``, and its special tokens and template as Hugging Face keeps them."""

from __future__ import annotations

import re
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training import pre_tokenizers

_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
# Where a file does not name them, llama.cpp's SentencePiece models have these.
_SPM_SPECIAL = {"bos": 1, "eos": 2, "unknown": 0}
_NAMED = "tokenizer.chat_template."
# Names that can be those of files.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


class Vocabulary:
    """The vocabulary that a GGUF file's metadata have.

    Raises:
        InputRefusedError: ``unknown_tokenizer`` or ``unknown_pre_tokenizer``: it is of a kind that is not known here;
            ``gguf_damaged``: its parts do not belong together.
    """

    def __init__(self, metadata: JsonObject) -> None:
        self._meta = {
            k.removeprefix("tokenizer.ggml."): v for k, v in metadata.items() if k.startswith("tokenizer.ggml.")
        }
        self._template = metadata.get("tokenizer.chat_template")
        self._named = {
            k.removeprefix(_NAMED): v
            for k, v in metadata.items()
            if k.startswith(_NAMED) and _SAFE.fullmatch(k.removeprefix(_NAMED)) and isinstance(v, str)
        }
        self._name = str(metadata.get("general.name") or "").lower()
        self.kind = str(self._meta.get("model"))
        if self.kind not in {"gpt2", "llama"} or not self._meta.get("tokens"):
            raise InputRefusedError(
                "unknown_tokenizer",
                f"tokenizers of the kind {self.kind!r} cannot be read from a GGUF file",
                "Those of the kinds gpt2 (byte-level BPE) and llama (SentencePiece) can.",
            )
        self.tokens: list[str] = list(self._meta["tokens"])
        self._types: list[int] = list(self._meta.get("token_type") or [1] * len(self.tokens))
        for name in ("token_type", "scores"):
            if (count := len(self._meta.get(name) or self.tokens)) != len(self.tokens):
                raise InputRefusedError(
                    "gguf_damaged",
                    f"the file has {len(self.tokens):,} tokens, and a {name} of {count:,}",
                    "Download or create the file again and compare its SHA-256.",
                )

    def special(self, role: str) -> int | None:
        """The id of a token by its role, such as ``eos``; none where there is none."""
        default = _SPM_SPECIAL.get(role) if self.kind == "llama" else None
        found = self._meta.get(f"{role}_token_id", default)
        return int(found) if found is not None and 0 <= int(found) < len(self.tokens) else None

    @property
    def ends(self) -> list[int]:
        """The tokens that end an answer."""
        found = (self.special(role) for role in ("eos", "eot", "eom"))
        return sorted({token for token in found if token is not None})

    @property
    def chat_template(self) -> str | None:
        """The Jinja template of conversations, where the file has one."""
        return None if self._template is None else str(self._template)

    @property
    def named_templates(self) -> dict[str, str]:
        """Further templates by their names, such as ``tool_use``."""
        return dict(self._named)

    def tokenizer(self) -> JsonObject:
        """``tokenizer.json``: the same tokens of any text as llama.cpp makes of it."""
        spaced = self.kind == "llama"
        parts = self._sentencepiece() if spaced else self._byte_level()
        # Phi-3's marks take the blanks behind them; the file does not say it, llama.cpp knows it by the model's name.
        greedy = any(name in self._name for name in ("phi-3", "phi3"))
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": index,
                    "content": token,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": greedy and token not in {"<unk>", "<s>", "<|endoftext|>"},
                    "normalized": False,
                    "special": kind != _USER_DEFINED,
                }
                for index, (token, kind) in enumerate(zip(self.tokens, self._types, strict=True))
                if kind in {_CONTROL, _UNKNOWN, _USER_DEFINED}
            ],
            **parts,
            "post_processor": self._begun(),
        }

    def settings(self) -> JsonObject:
        """``tokenizer_config.json``, without the template."""
        named = {role: self.special(key) for role, key in _ROLES.items()}
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": self._adds_bos(),
            "add_eos_token": self._adds_eos(),
            "clean_up_tokenization_spaces": False,
            **{role: self.tokens[index] for role, index in named.items() if index is not None},
        }

    def _adds_bos(self) -> bool:
        default = pre_tokenizers.named(str(self._meta.get("pre") or "")).begins if self.kind == "gpt2" else True
        return bool(self._meta.get("add_bos_token", default)) and self.special("bos") is not None

    def _adds_eos(self) -> bool:
        return bool(self._meta.get("add_eos_token", False)) and self.special("eos") is not None

    def _begun(self) -> JsonObject | None:
        """What puts the first token before a text, and the last behind it, where the file says so."""
        first = [self.special("bos")] if self._adds_bos() else []
        last = [self.special("eos")] if self._adds_eos() else []
        if not (first or last):
            return None
        named = {index: self.tokens[index] for index in (*first, *last) if index is not None}

        def around(sequence: str, kind: int) -> list[JsonObject]:
            text: JsonObject = {"Sequence": {"id": sequence, "type_id": kind}}
            before, behind = (
                [{"SpecialToken": {"id": named[index], "type_id": kind}} for index in side if index is not None]
                for side in (first, last)
            )
            return [*(before if sequence == "A" else []), text, *behind]

        return {
            "type": "TemplateProcessing",
            "single": around("A", 0),
            "pair": [*around("A", 0), *around("B", 1)],
            "special_tokens": {
                token: {"id": token, "ids": [index], "tokens": [token]} for index, token in named.items()
            },
        }

    def _byte_level(self) -> JsonObject:
        way = pre_tokenizers.named(str(self._meta.get("pre") or ""))
        merges = [_pair(str(merge)) for merge in self._meta.get("merges") or []]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        return {
            "normalizer": None,
            "pre_tokenizer": pre_tokenizers.as_json(way),
            "decoder": byte_level,
            "model": self._model(merges, ignore_merges=way.whole_words),
        }

    def _sentencepiece(self) -> JsonObject:
        prefix = bool(self._meta.get("add_space_prefix", True))
        begin = [{"type": "Prepend", "prepend": "▁"}] if prefix else []
        strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
        spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        unspaced = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
        unknown = self.special("unknown")
        model = self._model(self._pairs(), byte_fallback=any(kind == _BYTE for kind in self._types), fuse_unk=True)
        return {
            "normalizer": {"type": "Sequence", "normalizers": [*begin, spaces]},
            "pre_tokenizer": None,
            "decoder": {
                "type": "Sequence",
                "decoders": [unspaced, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
            },
            "model": model | {"unk_token": None if unknown is None else self.tokens[unknown]},
        }

    def _pairs(self) -> list[list[str]]:
        """The pairs that SentencePiece joins, best first: each token's ways to be cut in two, by the token's score.

        Of pairs that make tokens of one score the one with the shorter left side comes first, as from left to right.
        """
        scores = list(self._meta.get("scores") or [0.0] * len(self.tokens))
        known = set(self.tokens)
        found = [
            (-scores[index], cut, token)
            for index, token in enumerate(self.tokens)
            if self._types[index] not in {_CONTROL, _BYTE, _UNKNOWN}
            for cut in range(1, len(token))
            if token[:cut] in known and token[cut:] in known
        ]
        found.sort(key=lambda each: each[0])
        return [[token[:cut], token[cut:]] for _, cut, token in found]

    def _model(self, merges: list[list[str]], **options: Any) -> JsonObject:
        return {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(self.tokens)},
            "merges": merges,
            **options,
        }


def _pair(merge: str) -> list[str]:
    """A pair as GGUF has it: two tokens with a blank between them; the first may begin with one."""
    left, _, right = merge[1:].partition(" ")
    if not right:
        raise InputRefusedError("gguf_damaged", f"the file joins {merge[:80]!r}, which are not two tokens")
    return [merge[0] + left, right]
