"""The process of one rank beside the first: ``FOLDER RANK PARENT``; trains its share of each batch, and keeps nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from llmops_tui.jobs.process import die_with_parent


def main() -> int:
    """Train with the others until rank 0 ends; returns the exit code."""
    folder, rank, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    die_with_parent(parent)
    import torch
    from transformers import set_seed

    from llmops_tui.models.safetensors import read_folder
    from llmops_tui.training.examples import Examples, Report
    from llmops_tui.training.recipe import check
    from llmops_tui.training.worker import ranks, trainers
    from llmops_tui.training.worker.base_model import load_tokenizer
    from llmops_tui.training.worker.beginning import TAKEN, Beginning
    from llmops_tui.training.worker.callbacks import memory_bytes

    spec = ranks.read_spec(folder)
    recipe, base = check(spec["recipe"]), Path(spec["base"])
    ranks.meet(folder, rank, recipe.ranks)
    train, held_out = ranks.read_examples(folder)
    in_step = ranks.InStep(memory_bytes)
    try:
        set_seed(recipe.seed)
        tokenizer = load_tokenizer(base, recipe.template(read_folder(base).chat_template))
        examples = Examples(train, held_out, [], Report())
        begin = Beginning(recipe, base, None, folder / TAKEN)
        trainer = trainers.make(recipe, begin.model(), tokenizer, examples, folder.parent, [], begin, in_step)
        trainer.train(resume_from_checkpoint=spec["checkpoint"])
    except torch.cuda.OutOfMemoryError as error:
        sys.stderr.write(f"{error}\n")
        return ranks.OUT_OF_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
