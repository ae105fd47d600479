"""Record what llama.cpp's own tools make of SmolLM2, for the tests to hold the engine against.

``record_smollm2.py TOOLS MODEL``: the folder of llama-perplexity, llama-tokenize and llama-server, and the GGUF file. Written is
tests/data/smollm2_reference.json; the texts of the perplexity lie beside it. Run it again only where the tools are to be newer.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from llmops_tui.workspace.files import sha256_file

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
TEXTS = ("prose", "code", "facts")
CHUNK = 256
ANSWER_TOKENS = 48
THREADS = 1
_COMMON = (
    "--threads",
    str(THREADS),
    "--flash-attn",
    "auto",
    "--cache-type-k",
    "f16",
    "--cache-type-v",
    "f16",
    "--fit",
    "off",
)

# Texts as tokenizers stumble over them; each is recorded as plain text, those with marks of their own once more as such.
PLAIN = (
    "Hello", "Hello, world!", " leading blank", "trailing blank ", "  two  blanks  inside  ", "\n", "\n\n\n", "\t\ttabs\tinside",
    " ", "       ", "a\r\nb\r\n", "no-break\u00a0space", "zero\u200bwidth", "0", "1234567890", "3.14159", "1,000,000.00",
    "2026-11-25T22:45:33Z", "0xDEADBEEF", "don't can't it's we'll I'd they've", "DON'T IT'S", "snake_case camelCase kebab-case",
    "https://example.org/a/b?c=d&e=f#g", "user@example.org", "C:\\Users\\name\\file.txt", "'single' \"double\" `back`",
    "!!!???...---***", "(((nested [brackets] {and} <more>)))", "e = m * c ** 2", "if (x != y && !z) { return a[i] << 2; }",
    "def f(a: int = 0, *b: str, **c: Any) -> None:\n    return None\n", "SELECT * FROM t WHERE a = 'b''c';",
    '<html><body class="x">&amp;</body></html>', "\U0001f600", "word" * 30,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family", "flags \U0001f1ee\U0001f1f8\U0001f1eb\U0001f1ee",
    "thumbs \U0001f44d\U0001f3fd up", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c",
    "\uc548\ub155\ud558\uc138\uc694", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "na\u00efve caf\u00e9 \u00fcber stra\u00dfe", "e\u0301 combined, \u00e9 whole", "\u2211\u222b\u221a\u2264\u2265\u2260\u221e",
)  # fmt: skip
MARKED = (
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>",
    "a<|im_end|>b <|im_start|> c",
    "<|im_start|not a mark|> <| im_end |>",
)
PROMPTS = (
    "What is the capital of France?", "Write one sentence about the sea.", "Name three colours.", "What is 7 times 8?",
    "Explain in two sentences why leaves are green.", "Give me a recipe for pancakes.", "Translate to French: good morning",
    "Write a Python function that adds two numbers.", "Who wrote Romeo and Juliet?", "List the days of the week.",
    "What should I pack for a hike in the rain?", "Write a short poem about a cat.", "How many legs does a spider have?",
    "Summarise: The train was late, so we missed the start of the concert.", "What does HTTP stand for?",
    "Tell me a fact about the Moon.", "Is a tomato a fruit or a vegetable?", "How do I boil an egg?",
    "Write a polite email that asks for a day off.", "What comes next: 2, 4, 8, 16?",
)  # fmt: skip


def run(*command: str) -> str:
    """What a tool prints; both of its streams, since llama.cpp's tools speak on either."""
    got = subprocess.run(command, capture_output=True, text=True, check=True)
    return got.stdout + got.stderr


def perplexities(tools: Path, model: Path) -> dict[str, Any]:
    """Of each text: after its first chunk and after all of them, as llama-perplexity tells them."""
    found = {}
    for name in TEXTS:
        size = ("--ctx-size", str(CHUNK), "--batch-size", str(CHUNK), "--ubatch-size", str(CHUNK))
        path = DATA / "texts" / f"{name}.txt"
        told = run(str(tools / "llama-perplexity"), "--model", str(model), "--file", str(path), *size, *_COMMON)
        chunks = [float(value) for value in re.findall(r"\[\d+\]([0-9.]+),", told)]
        (whole,) = re.findall(r"Final estimate: PPL = ([0-9.]+)", told)
        found[name] = {"first_chunk": chunks[0], "all_chunks": float(whole), "chunks": len(chunks)}
    return found


def token_lists(tools: Path, model: Path) -> list[dict[str, Any]]:
    """The token ids of each text; ``special`` says whether marks are read as such."""
    asked = [(text, False) for text in (*PLAIN, *MARKED)] + [(text, True) for text in MARKED]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        for text, special in asked:
            path.write_bytes(text.encode())
            how = [] if special else ["--no-parse-special"]
            command = [
                str(tools / "llama-tokenize"),
                "--model",
                str(model),
                "--file",
                str(path),
                "--ids",
                "--no-escape",
                *how,
            ]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found.append({"text": text, "special": special, "ids": json.loads(printed.strip().splitlines()[-1])})
    return found


@contextlib.contextmanager
def server(tools: Path, model: Path) -> Iterator[httpx.Client]:
    """A llama-server that is ready, as a client."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/server.sock"
        command = [
            str(tools / "llama-server"),
            "--model",
            str(model),
            "--host",
            socket,
            "--ctx-size",
            "2048",
            "--parallel",
            "1",
            "--batch-size",
            "512",
            "--ubatch-size",
            "512",
            "--no-webui",
            "--offline",
            *_COMMON,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        transport = httpx.HTTPTransport(uds=socket)
        try:
            with httpx.Client(transport=transport, base_url="http://localhost", timeout=600) as client:
                while process.poll() is None:
                    with contextlib.suppress(httpx.TransportError):
                        if client.get("/health").status_code == httpx.codes.OK:
                            break
                    time.sleep(0.1)
                yield client
        finally:
            process.kill()
            process.wait()


def answers(tools: Path, model: Path) -> list[dict[str, Any]]:
    """Greedy answers: the rendered prompt, the tokens, and at each how far the second likeliest was behind, in nats."""
    found = []
    with server(tools, model) as client:
        for prompt in PROMPTS:
            messages = [{"role": "user", "content": prompt}]
            rendered = client.post("/apply-template", json={"messages": messages}).raise_for_status().json()["prompt"]
            body = {
                "prompt": rendered,
                "n_predict": ANSWER_TOKENS,
                "temperature": 0,
                "top_k": 0,
                "top_p": 1,
                "min_p": 0,
                "n_probs": 2,
                "cache_prompt": False,
            }
            told = client.post("/completion", json=body).raise_for_status().json()
            steps = told["completion_probabilities"]
            margins = [s["top_logprobs"][0]["logprob"] - s["top_logprobs"][1]["logprob"] for s in steps]
            found.append(
                {
                    "prompt": prompt,
                    "rendered": rendered,
                    "ids": [s["id"] for s in steps],
                    "margins": [round(m, 4) for m in margins],
                    "text": told["content"],
                    "finish": "stop" if told["stop_type"] == "eos" else "length",
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", type=Path, help="the folder of llama.cpp's tools")
    parser.add_argument("model", type=Path, help="SmolLM2-135M-Instruct as GGUF")
    parser.add_argument("--to", type=Path, default=DATA / "smollm2_reference.json")
    given = parser.parse_args()
    version = run(str(given.tools / "llama-server"), "--version").strip().splitlines()
    names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    recorded = {
        "recorded": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "tools": {
            "version": version,
            "settings": " ".join(_COMMON),
            "processor": names[0].partition(": ")[2] if names else "",
        },
        "model_sha256": sha256_file(given.model),
        "chunk": CHUNK,
        "perplexity": perplexities(given.tools, given.model),
        "tokens": token_lists(given.tools, given.model),
        "answer_tokens": ANSWER_TOKENS,
        "answers": answers(given.tools, given.model),
    }
    given.to.write_text(json.dumps(recorded, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
