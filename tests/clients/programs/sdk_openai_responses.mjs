// The ai SDK through @ai-sdk/openai, by responses, which is what it does unless told otherwise.
import { createOpenAI } from "@ai-sdk/openai";
import { serveSdk } from "./sdk.mjs";

const model = ({ url, key, model }) => createOpenAI({ baseURL: url, apiKey: key })(model);
await serveSdk(model, "@ai-sdk/openai", { single: { openai: { parallelToolCalls: false } } });
