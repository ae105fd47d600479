// The ai SDK through @ai-sdk/openai, by chat completions.
import { createOpenAI } from "@ai-sdk/openai";
import { serveSdk } from "./sdk.mjs";

const model = ({ url, key, model }) => createOpenAI({ baseURL: url, apiKey: key }).chat(model);
await serveSdk(model, "@ai-sdk/openai", { single: { openai: { parallelToolCalls: false } } });
