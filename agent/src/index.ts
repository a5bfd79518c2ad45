// SPDX-License-Identifier: Apache-2.0
// The public names of the agent, for tests and benchmarks that run it in their own process.

export { AgentActions } from './actions/actions.js';
export { getUrl, lookUpName } from './actions/do.js';
export { readHostRule, refusedActions } from './actions/hosts.js';
export { Agent, type AgentIdentity, agentVersion } from './agent.js';
export { applyFiles } from './apply-files.js';
export { type AgentConfig, ConfigError, readConfig } from './config.js';
export { compactEvent } from './export/compact.js';
export { JsonEncoder } from './export/json.js';
export type { AgentStatus } from './socket/types.js';
export { TamperWatch } from './tamper/watch.js';
