// SPDX-License-Identifier: Apache-2.0
// Runs the agent in a process that has nothing else in it, so that its memory can be measured, with one filter that drops
// nine in ten. Arguments: the filter's module, then the agent's own. Prints the ids of the maps into which the producer
// writes; then, for each line of its standard input, its books and losses as a line of JSON.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Agent, readConfig } from '@weir/agent';

const [module, ...args] = process.argv.slice(2);
const { config } = readConfig(args);
const agent = await Agent.start(config, { agentId: 'bench', clusterName: 'bench', nodeLabels: {} });
await agent.desired.applyFilters([{ name: 'one-in-ten', bytes: readFileSync(module) }]);
const { events, counters } = agent.sharedMaps;
console.log(JSON.stringify({ events: events.id, counters: counters.id }));
for await (const _ of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify({ books: agent.books(), losses: agent.losses }));
}
await agent.close();
