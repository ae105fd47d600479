"""The commands of the campaign: every one that reads a workspace, first those that look, then those that change."""

from __future__ import annotations

from tests.maintenance.full_workspace import CRITERION, PERSON, Whole

Command = tuple[str, ...]
# Stand for paths of the place where a workspace is spoilt.
OUT, MORE = "{out}", "{more}"


def looks(whole: Whole) -> tuple[Command, ...]:
    """Commands that change nothing, cheap ones."""
    job = whole.job
    return (
        ("data", "list"),
        ("data", "show", "small"),
        ("data", "log", "small"),
        ("data", "head", "small"),
        ("data", "rejects", "small@1"),
        ("data", "overlap", "small", "more"),
        ("data", "diff", "small@1", "small@2"),
        ("data", "query", "SELECT count(*) FROM small"),
        ("data", "export", "small", "--to", f"{OUT}.jsonl"),
        ("data", "remove", "small"),
        ("data", "origins", "made"),
        ("data", "head", "people"),
        ("prompt", "list"),
        ("prompt", "show", "p"),
        ("prompt", "log", "p"),
        ("prompt", "search", "say"),
        ("prompt", "diff", "p@1", "p@2"),
        ("prompt", "export", "p"),
        ("prompt", "runs", "p@1"),
        ("prompt", "remove", "p"),
        ("prompt", "board", "tastes"),
        ("model", "list"),
        ("model", "show", "base"),
        ("model", "show", "base-hf"),
        ("model", "estimate", "base"),
        ("model", "discover"),
        ("model", "verify", "base-hf"),
        ("model", "remove", "base"),
        ("train", "list"),
        ("train", "recipes"),
        ("train", "recipe", "mine"),
        ("train", "show", "mine-1"),
        ("train", "watch", "mine-1"),
        ("train", "compare", "mine-1", "mine-1"),
        ("train", "remove", "mine-1"),
        ("eval", "list"),
        ("eval", "show", "tiny-1", "--failures"),
        ("eval", "suites"),
        ("eval", "suite", "tiny"),
        ("eval", "compare", "tiny-1", "tiny-2"),
        ("eval", "gate", "tiny-1", "--rule", "exact >= 0"),
        ("eval", "export", "tiny-1", "--to", f"{OUT}.csv"),
        ("eval", "remove", "tiny-1"),
        ("eval", "grade", "tiny-1", *CRITERION, "--grader", "bob", "--list"),
        ("privacy", "receipts"),
        ("privacy", "find", PERSON),
        ("retention", "show"),
        ("monitor", "alerts"),
        ("monitor", "alerts", "--rules"),
        ("monitor", "incident", "1"),
        ("monitor", "energy", job),
        ("traces", "list"),
        ("traces", "show", "run_000003"),
        ("traces", "remove", "run_000003"),
        ("job", "list"),
        ("job", "show", job),
        ("job", "logs", job),
        ("job", "remove", job),
        ("lineage", "dataset:small"),
        ("lineage", whole.dataset_sha256[:12]),
        ("sql", "SELECT count(*) FROM requests"),
        ("trust",),
        ("gc",),
        ("backup", f"{OUT}.tar"),
    )


# Looks that start processes or read everything: for the workspace's own files, datasets and models.
DEAR_LOOKS: tuple[Command, ...] = (
    ("doctor",), ("data", "profile", "small"), ("data", "privacy", "small"),
)  # fmt: skip
# Commands that write, if only that they looked.
CHANGES: tuple[Command, ...] = (
    ("monitor", "--once"), ("train", "plan", "mine", "--no-dry-run"), ("data", "check", "small"),
    ("data", "search", "small", "order"), ("data", "filter", "small", "--where", "_row < 10"), ("data", "sample", "small", "-n", "5"),
    ("data", "dedup", "small"), ("data", "label", "small", "--labels", "a,b", "--row", "1", "--value", "a"),
    ("data", "tag", "small@1", "gold"), ("data", "remake", "small@2"), ("data", "import", MORE, "--name", "third", "--yes"),
    ("prompt", "save", "p", "--text", "again {{ what }}"), ("prompt", "tag", "p@2", "production"),
    ("traces", "feedback", "run_000004", "--score", "down"), ("traces", "to-dataset", "praised"),
    ("train", "new", "mine", "--base", "base-hf", "--data", "more", "--preset", "tiny"), ("model", "stop", "base"),
    ("train", "stop", "mine-1"), ("job", "cancel", "{job}"), ("eval", "grade", "tiny-1", *CRITERION, "--grader", "bob"),
    ("data", "mix", "small=2", "more=1", "--name", "mixed"), ("privacy", "forget", "nobody@example.org", "--yes"), ("privacy", "resume"), ("privacy", "report"),
    ("gc", "--yes"), ("init",),
)  # fmt: skip
# With what loads the model: of files that a model is made of, and of the workspace's own.
LOADS: tuple[Command, ...] = (
    ("generate", "--model", "base", "--prompt", "hello", "--max-tokens", "1"), ("prompt", "run", "p", "--model", "base", "--var", "what=hi"),
    ("embed", "--model", "base", "--text", "hello"), ("eval", "run", "tiny", "--model", "base"), ("model", "stop", "base"),
)  # fmt: skip
