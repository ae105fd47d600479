"""What is said of indexes, of what is found in them, and of why: the same on the command line and on the screen."""

from __future__ import annotations

from llmops_tui.counts import counted
from llmops_tui.retrieval.records import FusionRecord, HitRecord, IndexRecord, WhyRecord
from llmops_tui.retrieval.sources import told_source
from llmops_tui.safe_text import safe_line

_SHOWN = 160


def index_text(record: IndexRecord, stale: list[str]) -> str:
    """What is said of a version."""
    count = f"{counted(record['documents'], 'document')}, {counted(record['chunks'], 'chunk')}"
    lines = [
        f"{record['name']}@{record['number']}: {count}, about {record['tokens']:,} tokens, {_size(record['bytes'])}",
        f"from: {told_source(record['source'])}" + (f", {record['source']['of']}" if record["source"]["of"] else ""),
    ]
    embedder = record["embedder"]
    if embedder is None:
        lines.append("searched by words alone")
    else:
        made = f"{record['computed']:,} computed, {record['reused']:,} reused"
        pooled = f", pooling {record['pooling']}" if record["pooling"] else ""
        lines.append(f"embedded by {embedder['model']} in {record['dimensions']} dimensions{pooled}: {made}")
        if embedder["row_prefix"] or embedder["query_prefix"]:
            lines.append(f"before chunks: {embedder['row_prefix']!r}, before queries: {embedder['query_prefix']!r}")
    if (reranker := record.get("reranker")) is not None:
        lines.append(f"reranked by {reranker['model']}")
    if (context := record.get("context")) is not None:
        lines.append(f"each chunk is searched with a context that {context['model']} wrote")
    if (fusion := record.get("fusion")) is not None:
        lines += fusion_text(fusion).split("\n")
    if record["cut"]:
        lines.append(f"{counted(record['cut'], 'chunk')} were cut: too long for the model; --tokens makes them shorter")
    lines += not_taken(record)
    others = ", ".join(f"{number:,} {ending}" for ending, number in sorted(record["other_files"].items()))
    lines += [f"other files in the folder, which are not read: {others}"] if others else []
    lines += [f"taken out: {name}" for name in record["excluded"]]
    lines += [f"stale: {why}" for why in stale]
    return "\n".join(lines)


def not_taken(record: IndexRecord) -> list[str]:
    """What of the source could not be taken, and why, a line each; a name of a file may have any character."""
    return [f"not taken: {safe_line(one['document'])}: {one['why']}" for one in record["refused"]]


def fusion_text(fusion: FusionRecord) -> str:
    """What labelled queries said of hybrid search."""
    by = "ranks" if fusion["method"] == "ranks" else "scores"
    metric, baseline = fusion["metric"], fusion["baseline"]
    low, high = fusion["low"], fusion["high"]
    interval = "too few to say" if low is None or high is None else f"95 %: {low:+.3f} … {high:+.3f}"
    seen = "" if fusion["smallest"] is None else f"; a gain of {fusion['smallest']:.3f} could have been seen"
    needed = "" if fusion["needed"] is None else f", {fusion['needed']:,} queries would show this one"
    learnt = f"{counted(fusion['queries'], 'query', 'queries')} for {fusion['of']}"
    if left := fusion.get("left_out"):
        learnt += f" ({counted(left, 'query', 'queries')} for which nothing should come left out)"
    alone = f"{fusion['alone']:.3f} by {baseline} alone: {fusion['gain']:+.3f} ({interval})"
    lines = [
        f"hybrid weighs meaning {fusion['weight']:.2f} and words {1 - fusion['weight']:.2f}, by {by}: learnt on {learnt}",
        f"{metric} {fusion['mean']:.3f} on queries that it was not learnt on, {alone}{seen}{needed}",
    ]
    if fusion["recommended"] == "hybrid":
        lines.append("so hybrid is recommended, and is how it is searched unless you say otherwise")
    else:
        lines.append(
            f"so {baseline} alone is recommended, being no worse as far as can be seen, and is how it is searched unless you "
            "say otherwise"
        )
    return "\n".join(lines)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def hit_text(hit: HitRecord) -> str:
    """What is printed of a chunk that was found."""
    passage = hit["passage"]
    page = f" p. {passage['page']}" if passage["page"] is not None else ""
    place = f"{passage['document']}{page} [{passage['start']}:{passage['end']}] chunk {passage['chunk']}"
    ranks = [f"bm25 {hit['bm25_rank']}"] if hit["bm25_rank"] is not None else []
    ranks += [f"vectors {hit['vectors_rank']}"] if hit["vectors_rank"] is not None else []
    ranks += [f"cosine {hit['cosine']:.3f}"] if hit["cosine"] is not None else []
    ranks += [f"has: {', '.join(hit['terms'])}"] if hit["terms"] else []
    text = " ".join(passage["text"].split())
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    context = f"\n     context: {passage['context']}" if passage.get("context") else ""
    return f"{hit['rank']:>3}  {place}  {'  '.join(ranks)}\n     {shown}{context}"


def why_text(found: WhyRecord) -> str:
    """What is printed of an explanation."""
    head = f"{found['document']} [{found['start']}:{found['end']}] by {found['by']}, k {found['k']}: "
    lines = [head + ("found" if found["found"] else "not found"), *(f"- {reason}" for reason in found["reasons"])]
    terms = [f"{t['term']} {'✓' if t['matched'] else '✗'} in {t['chunks']:,}" for t in found["terms"]]
    lines += [f"words of the query, and the chunks that have them: {', '.join(terms)}"] if terms else []
    if found["beaten_by"]:
        lines += [
            "",
            "beside it came:" if found["found"] else "instead came:",
            *(hit_text(hit) for hit in found["beaten_by"]),
        ]
    return "\n".join(lines)
