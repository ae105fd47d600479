"""A BERT-like model as GGUF, for the tests and benchmarks of embeddings: ``SOURCE TARGET``.

SOURCE is a folder with config.json, model.safetensors and tokenizer.json, as sentence-transformers keeps it. Matrices are
written in 16 bits, all else in 32; with ``--exact`` everything is in 32.
"""

from __future__ import annotations

import sys
from pathlib import Path

from llmops_tui.models.bert_gguf import convert_bert

if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if a != "--exact"]
    print(convert_bert(Path(given[0]), Path(given[1]), exact="--exact" in sys.argv))
