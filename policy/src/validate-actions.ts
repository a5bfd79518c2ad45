// SPDX-License-Identifier: Apache-2.0
// Owns what a selector may do: fields that its actions have a use for, and hooks that can take them.
import { agentActionIssue } from './agent-actions.js';
import type { Findings, HookKind } from './findings.js';
import { denialPoints, lsmPathOf, whyNotOverridden } from './lsm-paths.js';
import { quote } from './nearest.js';
import type { Located } from './policy.js';
import { rateLimitSeconds, rateLimitSecondsMax } from './rate-limit.js';
import { checkSetting } from './settings.js';
import type { Action } from './shape.js';
import { checkSocketActions } from './sockets.js';

function checkRateLimit(findings: Findings, action: Action, path: string): void {
  if (action.rateLimit !== undefined) {
    const seconds = rateLimitSeconds(action.rateLimit);
    const wrong =
      seconds === undefined
        ? 'is no time: write seconds (5 or 5s), minutes (1m) or hours (1h)'
        : seconds > rateLimitSecondsMax
          ? `is too long: a rate limit goes up to ${rateLimitSecondsMax / 3600}h`
          : undefined;
    if (wrong !== undefined)
      findings.error('wrong-value', `${path}.rateLimit`, `${quote(String(action.rateLimit))} ${wrong}`);
  }
  if (action.rateLimitScope !== undefined && action.rateLimit === undefined) {
    findings.error(
      'missing-field',
      `${path}.rateLimit`,
      'is missing: rateLimitScope says whose events it holds back',
    );
  }
}

/** Fields of an action, and the actions that have a use for them. */
const actionFields: readonly [keyof Action, readonly string[]][] = [
  ['rateLimit', ['Post']],
  ['rateLimitScope', ['Post']],
  ['kernelStackTrace', ['Post']],
  ['userStackTrace', ['Post']],
  ['imaHash', ['Post']],
  ['argSig', ['Signal', 'NotifyEnforcer']],
  ['argRegs', ['Override']],
  ['argNewSymbol', ['Override']],
  ['argNewAddr', ['Override']],
  ['argNewOffset', ['Override']],
  ['argSock', ['TrackSock', 'UntrackSock']],
  ['argUrl', ['GetUrl']],
  ['argFqdn', ['DnsLookup']],
  ['argIndex', ['Set']],
  ['argValue', ['Set']],
];

function checkError(findings: Findings, action: Action, path: string): void {
  const error = action.argError;
  const at = `${path}.argError`;
  if (error === undefined) {
    const setsRegisters = [action.argRegs, action.argNewSymbol, action.argNewAddr, action.argNewOffset].some(
      (field) => field !== undefined,
    );
    if (action.action === 'Override' && !setsRegisters)
      findings.error(
        'missing-field',
        at,
        'is missing: write the errno that the call shall return, such as -1 (EPERM)',
      );
    return;
  }
  if (Math.abs(error) > 4095) {
    findings.error('wrong-value', at, `is ${error}: an errno goes from -1 to -4095`);
  } else if (action.action !== 'Override' && action.action !== 'NotifyEnforcer') {
    findings.warn('ignored-field', at, `${action.action} has no use for it: ignored`);
  } else if (error > 0) {
    findings.warn('tolerated', at, `is positive: taken as ${-error}`);
  } else if (error === 0 && action.action === 'Override') {
    findings.error('wrong-value', at, 'is 0, which denies nothing: write an errno such as -1 (EPERM)');
  }
}

/** Warns of what system calls still do where their caller is killed. */
function warnOfEffects(findings: Findings, syscallNames: readonly string[], path: string): void {
  for (const name of syscallNames) {
    const gap = lsmPathOf(name)?.gap;
    if (gap === undefined) continue;
    findings.warn(
      'takes-effect',
      path,
      `${name} is kept from taking effect, but not ${gap}: there the process is killed when the call is done`,
    );
  }
  const bare = syscallNames.filter((name) => lsmPathOf(name) === undefined);
  const [first] = bare;
  if (first === undefined) return;
  const points = denialPoints(first) ?? [];
  const shown = bare.slice(0, 5).join(', ');
  const which = bare.length > 5 ? `${shown} and ${bare.length - 5} more` : shown;
  const instead =
    bare.length === 1 && points.length > 0
      ? `to prevent it, hook ${points.join(' or ')}`
      : 'no security hook is known to stand on every way through it';
  findings.warn(
    'takes-effect',
    path,
    `the process is killed, but the call itself (${which}) can take effect first: ${instead}`,
  );
}

function checkDenial(findings: Findings, action: Action, path: string, hook: HookKind): void {
  const field = `${path}.action`;
  const kills = action.action === 'Sigkill' || (action.action === 'Signal' && action.argSig === 9);
  if (action.action === 'Override' && action.argRegs === undefined && action.argNewSymbol === undefined) {
    if (hook.deniable === 'returned') {
      findings.error(
        'not-deniable',
        field,
        `Override: ${hook.name} has returned already; write it in matchActions, which act when the call begins`,
      );
    } else if (hook.deniable === 'no') {
      findings.error(
        'not-deniable',
        field,
        `Override: ${hook.name} cannot be made to fail; hook a security_* function that returns a verdict, or a system call that crosses one`,
      );
    } else if (hook.deniable === 'syscall') {
      for (const name of hook.syscallNames) {
        const why = whyNotOverridden(name, -Math.abs(action.argError ?? 0));
        if (why !== undefined) findings.error('not-deniable', field, `Override on ${name}: ${why}`);
        const gap = why === undefined ? lsmPathOf(name)?.gap : undefined;
        if (gap !== undefined)
          findings.warn('takes-effect', field, `Override makes ${name} fail, but not ${gap}`);
      }
    }
  }
  if (kills && hook.deniable === 'syscall') {
    warnOfEffects(findings, hook.syscallNames, field);
  } else if (kills && hook.deniable === 'no') {
    findings.warn(
      'takes-effect',
      field,
      `the process is killed, but ${hook.name} itself runs on: it cannot be made to fail`,
    );
  }
}

export function checkActions(findings: Findings, actions: readonly Located<Action>[], hook: HookKind): void {
  const seen = new Set<string>();
  for (const { item: action, path } of actions) {
    const name = action.action;
    if (seen.has(name))
      findings.error('duplicate-field', `${path}.action`, `${name} is there twice in one selector`);
    seen.add(name);
    for (const [field, users] of actionFields) {
      if (action[field] !== undefined && !users.includes(name)) {
        findings.error(
          'conflict',
          `${path}.${field}`,
          `${name} has no use for it: it belongs to ${users.join(' and ')}`,
        );
      }
    }
    checkRateLimit(findings, action, path);
    checkError(findings, action, path);
    checkDenial(findings, action, path, hook);
    if (action.argSig !== undefined && (action.argSig < 1 || action.argSig > 64)) {
      findings.error('wrong-value', `${path}.argSig`, `is ${action.argSig}: signals go from 1 to 64`);
    } else if (name === 'Signal' && action.argSig === undefined) {
      findings.error('missing-field', `${path}.argSig`, 'is missing: write the number of the signal');
    }
    if (name === 'Set') checkSetting(findings, action, path);
    const issue = agentActionIssue(action);
    if (issue !== undefined) {
      const code = action[issue.field] === undefined ? 'missing-field' : 'wrong-value';
      findings.error(code, `${path}.${issue.field}`, issue.message);
    }
  }
  const ofAgent = actions.find(({ item }) => item.action === 'GetUrl' || item.action === 'DnsLookup');
  if (ofAgent !== undefined && seen.has('NoPost'))
    findings.error(
      'conflict',
      `${ofAgent.path}.action`,
      `${ofAgent.item.action} is done by the agent where it gets the event: leave NoPost out`,
    );
  checkSocketActions(findings, actions, hook.args);
  if (seen.has('Post') && seen.has('NoPost')) {
    const path = actions.find(({ item }) => item.action === 'NoPost')?.path ?? '';
    findings.error('conflict', `${path}.action`, 'Post and NoPost are both there: keep one');
  }
}
