// SPDX-License-Identifier: Apache-2.0
// Owns the actions that the agent does where the kernel cannot: GetUrl calls a URL, DnsLookup looks a name up. What they
// may be like is judged here; whether a node does them at all, the node decides.

import { hooksOf } from './hooks.js';
import type { AgentAction } from './plan-types.js';
import type { Located, Policy } from './policy.js';
import { type ExpandedSelector, expandSelectors } from './selectors.js';
import type { Action } from './shape.js';

const urlCharactersMax = 2048;

/** Reads the URL of GetUrl; a text is what is wrong with it. */
export function readActionUrl(text: string): URL | string {
  if (text.length > urlCharactersMax)
    return `has ${text.length} characters: ${urlCharactersMax} are the most`;
  if (!URL.canParse(text)) return 'is no URL: write one such as https://example.org/seen';
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    return `has the scheme ${url.protocol.slice(0, -1)}: http and https can be called`;
  if (url.username !== '' || url.password !== '')
    return 'holds a user or password, which policies do not keep: everybody who sees the policy would have it';
  return url;
}

/** Reads the name of DnsLookup; undefined where it is none. */
export function readActionName(text: string): string | undefined {
  const name = text.replace(/\.$/, '').toLowerCase();
  const isName =
    name.length <= 253 &&
    /^([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*$/.test(name);
  // Of digits alone at its end it is an address.
  return isName && !/(^|\.)\d+$/.test(name) ? name : undefined;
}

/** What is wrong with an action of the agent's, by its field. */
export function agentActionIssue(
  action: Action,
): { readonly field: 'argUrl' | 'argFqdn'; readonly message: string } | undefined {
  if (action.action === 'GetUrl') {
    if (action.argUrl === undefined) return { field: 'argUrl', message: 'is missing: write the URL to call' };
    const url = readActionUrl(action.argUrl);
    return typeof url === 'string' ? { field: 'argUrl', message: url } : undefined;
  }
  if (action.action !== 'DnsLookup') return undefined;
  if (action.argFqdn === undefined)
    return { field: 'argFqdn', message: 'is missing: write the name to look up' };
  return readActionName(action.argFqdn) === undefined
    ? { field: 'argFqdn', message: 'is no name of a host, such as seen.example.org' }
    : undefined;
}

function actionOf({
  action,
  argUrl = '',
  argFqdn = '',
}: Action): Omit<AgentAction, 'selectorIndex'> | undefined {
  if (action === 'GetUrl') {
    const url = readActionUrl(argUrl);
    return typeof url === 'string' ? undefined : { kind: action, target: url.href };
  }
  const name = action === 'DnsLookup' ? readActionName(argFqdn) : undefined;
  return name === undefined ? undefined : { kind: 'DnsLookup', target: name };
}

function ofSelector(selector: ExpandedSelector): Located<Omit<AgentAction, 'selectorIndex'>>[] {
  return selector.matchActions.flatMap(({ item, path }) => {
    const action = actionOf(item);
    return action === undefined ? [] : [{ item: action, path }];
  });
}

/** The agent's actions of a hook's selectors. */
export function agentActionsOf(selectors: readonly ExpandedSelector[]): {
  agentActions?: readonly AgentAction[];
} {
  const agentActions = selectors.flatMap((selector, selectorIndex) =>
    ofSelector(selector).map(({ item }) => ({ ...item, selectorIndex })),
  );
  return agentActions.length === 0 ? {} : { agentActions };
}

/** All of a policy's actions that the agent would do, and the fields that say what to. */
export function agentActionTargets(policy: Policy): Located<Omit<AgentAction, 'selectorIndex'>>[] {
  const found = hooksOf(policy).flatMap(({ fields, path }) =>
    expandSelectors(policy, fields, path).flatMap(ofSelector),
  );
  return found.map(({ item, path }) => ({
    item,
    path: `${path}.${item.kind === 'GetUrl' ? 'argUrl' : 'argFqdn'}`,
  }));
}
