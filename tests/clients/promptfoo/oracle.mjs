// Reads a folder's configuration for each line, has promptfoo evaluate it, and writes what it says as a line of JSON.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import $RefParser from "@apidevtools/json-schema-ref-parser";
import * as yaml from "js-yaml";
import promptfoo from "promptfoo";

for await (const folder of createInterface({ input: process.stdin })) {
  let answer;
  try {
    process.chdir(folder);
    const text = readFileSync("promptfooconfig.yaml", "utf8");
    const config = await $RefParser.dereference(yaml.load(text, { schema: yaml.CORE_SCHEMA }));
    const { evaluateOptions = {}, ...suite } = config;
    const done = await promptfoo.evaluate(suite, { ...evaluateOptions, cache: false, showProgressBar: false });
    const { results } = await done.toEvaluateSummary();
    answer = {
      told: results.map((r) => ({
        test: r.testIdx, prompt: r.promptIdx, asked: r.prompt.raw, failed: r.failureReason === 2, error: r.error ?? null,
        passes: r.success, score: r.score, named: r.namedScores,
      })),
    };
  } catch (error) {
    answer = { failed: error.stack };
  }
  process.stdout.write(`\n${JSON.stringify(answer)}\n`);
}
process.exit(0);
