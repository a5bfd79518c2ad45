// SPDX-License-Identifier: Apache-2.0
// Owns which hosts the actions of policies may reach from this node. The node says it, by its own command line: a policy
// comes from elsewhere, and the agent has the rights and the place in the network that nobody lends to a stranger.
import { BlockList, isIP } from 'node:net';
import {
  type AgentAction,
  agentActionTargets,
  type Policy,
  type PolicyIssue,
  policyIssue,
} from '@weir/policy';

/** `example.org`, `*.example.org` (what is below it), an address, `[address]`; a port where it is not the scheme's. */
export interface HostRule {
  readonly name: string;
  readonly below: boolean;
  /** Empty: the scheme's own. */
  readonly port: string;
}

/** Reads a rule; undefined where it is none. */
export function readHostRule(text: string): HostRule | undefined {
  const match = /^(\*\.)?(\[[0-9a-fA-F:.]+\]|[-A-Za-z0-9_.]+)(?::(\d{1,5}))?$/.exec(text);
  const [, star, host = '', port = ''] = match ?? [];
  if (match === null || !URL.canParse(`http://${host}:${port === '' ? 1 : port}/`)) return undefined;
  const { hostname } = new URL(`http://${host}/`);
  return { name: hostname.replace(/\.$/, ''), below: star !== undefined, port };
}

function isMeant(rule: HostRule, host: string, port: string, isUrl: boolean): boolean {
  if (isUrl && rule.port !== port) return false;
  return rule.below ? host.endsWith(`.${rule.name}`) : host === rule.name;
}

/** Why an action may not be done here; undefined where it may. */
export function refusalOf(
  { kind, target }: Omit<AgentAction, 'selectorIndex'>,
  rules: readonly HostRule[],
): string | undefined {
  const isUrl = kind === 'GetUrl';
  const url = new URL(isUrl ? target : `http://${target}/`);
  const host = url.hostname.replace(/\.$/, '');
  if (rules.some((rule) => isMeant(rule, host, url.port, isUrl))) return undefined;
  const shown = `${host}${isUrl && url.port !== '' ? `:${url.port}` : ''}`;
  return `${shown} is no host that this agent lets policies reach: start it with --action-host ${shown}`;
}

/** What of a policy's actions this node does not let it do. */
export function refusedActions(policy: Policy, rules: readonly HostRule[]): PolicyIssue[] {
  return agentActionTargets(policy).flatMap(({ item, path }) => {
    const refusal = refusalOf(item, rules);
    return refusal === undefined ? [] : [policyIssue(policy, 'not-supported', path, refusal)];
  });
}

/** Where no name leads an action to: this host, its link (with what clouds tell their machines about themselves), everybody. */
function makeBlocked(): BlockList {
  const blocked = new BlockList();
  for (const [network, bits] of [
    ['0.0.0.0', 8],
    ['127.0.0.0', 8],
    ['169.254.0.0', 16],
    ['224.0.0.0', 3],
  ] as const)
    blocked.addSubnet(network, bits, 'ipv4');
  for (const [network, bits] of [
    ['::', 127],
    ['fe80::', 10],
    ['ff00::', 8],
    ['fd00:ec2::254', 128],
    ['64:ff9b::a9fe:0', 112],
  ] as const)
    blocked.addSubnet(network, bits, 'ipv6');
  return blocked;
}
const blocked = makeBlocked();

/** Whether a name may lead to an address; one that is written as itself was allowed as itself. */
export function mayLeadTo(name: string, address: string): boolean {
  if (isIP(name.replace(/^\[|\]$/g, '')) !== 0) return true;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  if (name === 'localhost' && /^(127\.|::1$)/.test(mapped)) return true;
  return !blocked.check(mapped, isIP(mapped) === 6 ? 'ipv6' : 'ipv4');
}
