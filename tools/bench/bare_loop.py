"""The yardstick of streaming: the leanest loop over llama.cpp that yields text. One JSON line in, one out."""

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

    path, threads, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_threads, params.n_threads_batch = context, 512, threads, threads
    params.no_perf = True
    ctx = llama_cpp.llama_init_from_model(model, params)
    vocab = llama_cpp.llama_model_get_vocab(model)
    memory = llama_cpp.llama_get_memory(ctx)
    sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(sampler, llama_cpp.llama_sampler_init_greedy())
    buffer = ctypes.create_string_buffer(256)
    one = (llama_cpp.llama_token * 1)()
    os.write(out, b'{"ready": true}\n')
    for line in sys.stdin:
        request = json.loads(line)
        llama_cpp.llama_memory_clear(memory, True)
        prompt = (llama_cpp.llama_token * len(request["prompt"]))(*request["prompt"])
        llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(prompt, len(prompt)))
        text = []
        token = llama_cpp.llama_sampler_sample(sampler, ctx, -1)
        started = time.perf_counter()
        for _ in range(request["tokens"] - 1):
            length = llama_cpp.llama_token_to_piece(vocab, token, buffer, 256, 0, False)
            text.append(buffer.raw[:length])
            one[0] = token
            llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(one, 1))
            token = llama_cpp.llama_sampler_sample(sampler, ctx, -1)
        seconds = time.perf_counter() - started
        os.write(out, json.dumps({"seconds": seconds, "tokens": request["tokens"] - 1}).encode() + b"\n")


if __name__ == "__main__":
    main()
