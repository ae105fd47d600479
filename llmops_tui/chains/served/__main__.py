"""The process of all models and chains at one address: ``python -m llmops_tui.chains.served STATE``."""

from __future__ import annotations

from llmops_tui.chains.served.answers import ServedChains
from llmops_tui.inference.router.process import main
from llmops_tui.retrieval.served_prompts import retrieving_prompts

if __name__ == "__main__":
    main(ServedChains, retrieving_prompts)
