"""Words of any script: where a language puts no blanks between words, each of its characters counts as one."""

from __future__ import annotations

import re

# Thai, Lao, Burmese, Khmer, Japanese and Chinese, for a class of characters in a regular expression.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# One word; what stands between words matches nothing.
WORD = rf"[^\W{UNSPACED}]+|[{UNSPACED}]"
WORDS = re.compile(WORD)
