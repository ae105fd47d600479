"""The yardstick of decoding: the leanest loop over llama.cpp that yields the text of so many streams at once.

One JSON object in a line asks for ``streams`` of ``tokens`` after ``prompt``; one tells the seconds it took.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    import llama_cpp

    path, threads, context, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = int(os.environ.get("BENCH_GPU_LAYERS", "0"))
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max, params.kv_unified = context * most, 512, most, False
    params.n_threads = params.n_threads_batch = threads
    params.no_perf = True
    ctx = llama_cpp.llama_init_from_model(model, params)
    vocab = llama_cpp.llama_model_get_vocab(model)
    memory = llama_cpp.llama_get_memory(ctx)
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
    buffer = ctypes.create_string_buffer(256)
    batch = llama_cpp.llama_batch_init(512, 0, 1)

    def put(at: int, token: int, position: int, sequence: int, wanted: int) -> None:
        batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, position, 1
        batch.seq_id[at][0], batch.logits[at] = sequence, wanted

    os.write(out, b'{"ready": true}\n')
    for line in sys.stdin:
        request = json.loads(line)
        streams, prompts = request["streams"], request["prompts"]
        llama_cpp.llama_memory_clear(memory, True)
        tokens = []
        begun = time.perf_counter()
        for sequence in range(streams):
            prompt = prompts[sequence % len(prompts)]
            for start in range(0, len(prompt), 512):
                part = prompt[start : start + 512]
                batch.n_tokens = len(part)
                for at, token in enumerate(part):
                    put(at, token, start + at, sequence, int(start + at == len(prompt) - 1))
                llama_cpp.llama_decode(ctx, batch)
            tokens.append(llama_cpp.llama_sampler_sample(chain, ctx, -1))
        started = time.perf_counter()
        text: list[list[bytes]] = [[] for _ in range(streams)]
        length = [len(prompts[s % len(prompts)]) for s in range(streams)]
        batch.n_tokens = streams
        for _ in range(request["tokens"] - 1):
            for sequence in range(streams):
                size = llama_cpp.llama_token_to_piece(vocab, tokens[sequence], buffer, 256, 0, False)
                text[sequence].append(buffer.raw[:size])
                put(sequence, tokens[sequence], length[sequence], sequence, 1)
                length[sequence] += 1
            llama_cpp.llama_decode(ctx, batch)
            for sequence in range(streams):
                tokens[sequence] = llama_cpp.llama_sampler_sample(chain, ctx, sequence)
        seconds = time.perf_counter() - started
        made = (request["tokens"] - 1) * streams
        os.write(out, json.dumps({"seconds": seconds, "tokens": made, "prefill": started - begun}).encode() + b"\n")


if __name__ == "__main__":
    main()
