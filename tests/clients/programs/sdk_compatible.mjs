// The ai SDK through @ai-sdk/openai-compatible.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { serveSdk } from "./sdk.mjs";

const model = ({ url, key, model }) =>
  createOpenAICompatible({ name: "local", baseURL: url, apiKey: key, includeUsage: true, supportsStructuredOutputs: true })(model);
await serveSdk(model, "@ai-sdk/openai-compatible", { single: { local: { parallel_tool_calls: false } } });
