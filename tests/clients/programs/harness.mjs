// As harness.py: lines of JSON in, lines of JSON out.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { z } from "zod";

export const QUESTION = "What is the weather in Rome and in Oslo?";
export const city = z.object({ city: z.string().describe("A city") });
export const Weather = z.object({ city: z.string(), degrees: z.number().int(), rain: z.boolean().describe("Whether it rains") });

// What an error of the SDK says.
export function refusal(error) {
  return { error: error.name, status: error.statusCode ?? null, message: `${error.message} ${error.responseBody ?? ""}` };
}

function version(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;
}

export async function serve(cases, ...packages) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { case: name, place } = JSON.parse(line);
    let answer;
    try {
      const told = name === "versions" ? Object.fromEntries(packages.map((p) => [p, version(p)])) : await cases[name](place);
      answer = { told };
    } catch (error) {
      answer = { failed: `${error.stack}\n${error.responseBody ?? ""}` };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
