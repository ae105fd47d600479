"""What attention costs beside all else, since it grows with the square of a row's length: masks and scores, and time.

Which of it there is goes by the kind of attention. FlashAttention, flex and sdpa without a mask hold nothing of that size.
sdpa has a mask where a row is not simply all that was before: several examples in a sequence, rows of unequal lengths in a
batch, or layers with a window; then it holds the mask as a matrix, and computes all of it. eager also holds each head's scores.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.training.recipe import Recipe
from llmops_tui.training.shape import Shape

# Families that transformers has no sdpa of, which are trained with eager where the recipe leaves it to the family.
WITHOUT_SDPA = frozenset({"gemma2", "gpt_oss"})
# A mask of truth values is held by the model; sdpa makes one of numbers of it in each layer.
_MASK = 1
# Of eager: the softmax of the scores in 32 bits, and in the backward pass its gradient.
_WIDE = 4
# With a mask all of a row is computed, and without one half of it: each token with those before it.
_DENSE = 2
# A step in passes through the model: back through an adapter's frozen base, whose own gradients nobody needs, through weights
# that have some, and through attention.
BACK, BACK_OF_ALL, _BACK_OF_ATTENTION = 1, 2, 2.5


@dataclass(frozen=True)
class AttentionBytes:
    """Bytes that grow with the square of a row's length.

    Attributes:
        once: held for all layers.
        kept: held of each layer for the backward pass.
        working: beside that while a layer is computed.
    """

    once: int = 0
    kept: int = 0
    working: int = 0


def kind_of(recipe: Recipe, family: str) -> str:
    """How attention is computed: ``sdpa``, ``eager``, ``flex`` or ``flash_attention_2``."""
    if recipe.attention != "auto":
        return recipe.attention
    return "eager" if family in WITHOUT_SDPA else "sdpa"


def rows_at_once(recipe: Recipe) -> int:
    """Sequences of a batch: of a pair both answers are one each."""
    return recipe.batch.size * (2 if recipe.facts.examples == "pairs" else 1)


def attention_bytes(shape: Shape, recipe: Recipe, width: int, wide: int, *, gpu: bool) -> AttentionBytes:
    """What a batch of rows of ``width`` tokens needs, the longest as long as that; ``wide`` are bytes of a number computed."""
    kind = kind_of(recipe, shape.family)
    rows = rows_at_once(recipe)
    square = rows * width * width
    # With a mask keys and values are there once for each head of the queries.
    repeated = rows * width * (2 * (shape.queries or shape.hidden) - shape.key_value) * wide
    if kind == "eager":
        scores = shape.heads * square
        # The softmax and, where that is another number, what is multiplied; back from it its gradient and that of the scores.
        kept = scores * (_WIDE + (wide if wide < _WIDE else 0))
        back = scores * (2 * _WIDE + (wide if gpu else _WIDE))
        return AttentionBytes(once=wide * square, kept=kept + repeated, working=max(0, back - kept))
    if kind == "sdpa" and masked(shape, recipe, width):
        return AttentionBytes(once=_MASK * square, kept=wide * square + repeated)
    return AttentionBytes()


def masked(shape: Shape, recipe: Recipe, width: int) -> bool:
    """Whether batches whose longest row has ``width`` tokens have a mask, as nearly all of several rows have."""
    return recipe.batch.packing or rows_at_once(recipe) > 1 or 0 < shape.window <= width


def token_cost(shape: Shape, recipe: Recipe, width: int, *, mask: bool) -> float:
    """What a token of a row of ``width`` tokens costs in training, in products of a token with all weights.

    Attention multiplies a token's queries with the keys of those before it, on average half of the row, and its weights with
    as many values: ``width × queries`` a layer. FlashAttention computes the scores anew in the backward pass, so that five
    products are there for two (Dao, "FlashAttention-2", 2023, section 3.1).
    """
    if not shape.multiplied:
        return 1.0
    kind = kind_of(recipe, shape.family)
    whole = kind in {"sdpa", "eager"}
    dense = kind == "eager" or (whole and mask)
    # A window is a mask, too, which flex and FlashAttention leave out and the others compute.
    windowed = shape.windowed if width > shape.window else 0
    reached = (shape.attention_layers - windowed) * width * (_DENSE if dense else 1)
    reached += windowed * (width * _DENSE if whole else min(width, 2 * shape.window))
    again = 1 if recipe.gradient_checkpointing else 0
    back = BACK_OF_ALL if recipe.tuning == "full" else BACK
    passes = (1 + again + _BACK_OF_ATTENTION) / (1 + again + back)
    return 1 + reached * (shape.queries or shape.hidden) / shape.multiplied * passes
