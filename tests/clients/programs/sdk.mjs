// The ai SDK, the same for each of its providers: `model` makes a model of a place.
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { city, QUESTION, refusal, serve, Weather } from "./harness.mjs";

const weather = tool({ description: "The weather of a city", inputSchema: city, execute: async ({ city }) => `It rains in ${city}.` });
const time = tool({ description: "The time in a city", inputSchema: city, execute: async ({ city }) => `It is noon in ${city}.` });
const tools = { weather, time };

export function serveSdk(model, name, { single }) {
  const base = (place) => ({ model: model(place), prompt: QUESTION, maxRetries: 0 });

  const told = (result) => ({
    text: result.text,
    reasoning: result.reasoningText ?? "",
    calls: result.toolCalls.map((call) => [call.toolName, call.input]),
    finish: result.finishReason.replace("-", "_"),
  });

  const ask = async (place, more = {}) => told(await generateText({ ...base(place), ...more }));

  const streamed = async (place, more = {}) => {
    let failed;
    const result = streamText({ ...base(place), ...more, onError: ({ error }) => (failed = error) });
    let pieces = 0;
    for await (const piece of result.textStream) pieces += piece.length > 0;
    if (failed) throw failed;
    const found = { text: await result.text, reasoningText: await result.reasoningText, toolCalls: await result.toolCalls, finishReason: await result.finishReason };
    const usage = (await result.usage).outputTokens > 0;
    return { ...told(found), pieces, usage };
  };

  const structured = async (place) => {
    const whole = await generateText({ ...base(place), output: Output.object({ schema: Weather }) });
    const result = streamText({ ...base(place), output: Output.object({ schema: Weather }) });
    let last;
    for await (const part of result.partialOutputStream) last = part;
    return [whole.output, last];
  };

  const cancel = async (place) => {
    const stop = new AbortController();
    const result = streamText({ ...base(place), abortSignal: stop.signal });
    for await (const piece of result.textStream) {
      stop.abort();
      return piece;
    }
  };

  const secondTurn = async (place) => {
    const loop = { tools, stopWhen: stepCountIs(3) };
    const whole = await generateText({ ...base(place), ...loop });
    const result = streamText({ ...base(place), ...loop });
    await result.consumeStream();
    const steps = await result.steps;
    return [{ text: whole.text }, { text: steps.at(-1).text }];
  };

  const error = async (place) => {
    try {
      await ask(place, { topP: 3 });
    } catch (error) {
      return refusal(error);
    }
    throw new Error("it was not refused");
  };

  return serve(
    {
      plain: ask,
      stream: streamed,
      thinking: async (place) => [await ask(place), await streamed(place)],
      auto: async (place) => [await ask(place, { tools }), await streamed(place, { tools })],
      required: (place) => ask(place, { tools, toolChoice: "required" }),
      named: (place) => ask(place, { tools, toolChoice: { type: "tool", toolName: "time" } }),
      single: (place) => ask(place, { tools, providerOptions: single }),
      structured,
      structured_after_tools: async (place) =>
        (await generateText({ ...base(place), tools, stopWhen: stepCountIs(3), output: Output.object({ schema: Weather }) })).output,
      cancel,
      second_turn: secondTurn,
      error,
    },
    "ai",
    name,
  );
}
