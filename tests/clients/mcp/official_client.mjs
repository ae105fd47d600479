// The protocol's official client in TypeScript: connects to the command that is given, lists tools and resources, and makes
// the calls of each line of standard input; what came of each is a line of JSON.
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [command, ...args] = process.argv.slice(2);
const client = new Client({ name: "official", version: "1" });
await client.connect(new StdioClientTransport({ command, args, env: process.env }));
const tell = (found) => process.stdout.write(`${JSON.stringify(found)}\n`);
const { tools } = await client.listTools();
const { resources } = await client.listResources();
tell({ server: client.getServerVersion(), tools: tools.map((tool) => tool.name), resources: resources.map((one) => one.uri) });
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  try {
    tell(asked.uri ? await client.readResource(asked) : await client.callTool(asked));
  } catch (error) {
    tell({ failed: error.message });
  }
}
await client.close();
