// SPDX-License-Identifier: Apache-2.0
// Owns how links in a policy's paths are followed. The kernel tells a file by its real path: `/bin/su` is
// `/usr/bin/su` where /bin is a link, and `/var/run/...` is `/run/...`. Where links are is a host's matter, so the
// reader of links is passed in; a value is added to, never replaced, for a container may be laid out otherwise.
import { typeInfo } from './names.js';
import type { Policy } from './policy.js';
import { findArgument } from './selectors.js';
import type { Argument, ArgumentTerm, BinaryTerm, Kprobe, Macro } from './shape.js';

/** Returns the real path of an existing file or folder, undefined where there is none. */
export type RealPath = (path: string) => string | undefined;

/** A value of a policy that names a path through a link. */
export interface FollowedLink {
  readonly path: string;
  readonly from: string;
  readonly to: string;
}

/** Follows the links in the longest part of a path that exists; undefined where there are none. */
export function followLinks(path: string, realPath: RealPath): string | undefined {
  // What /proc says of links is about who asks: this process, not the one that a policy will see.
  if (!path.startsWith('/') || path.length < 2 || /^\/proc(\/|$)/.test(path)) return undefined;
  const trailing = path.endsWith('/') ? '/' : '';
  const parts = path
    .slice(1)
    .split('/')
    .filter((part) => part !== '');
  for (let count = parts.length; count > 0; count--) {
    const real = realPath(`/${parts.slice(0, count).join('/')}`);
    if (real === undefined) continue;
    const rest = parts
      .slice(count)
      .map((part) => `/${part}`)
      .join('');
    const result = `${real === '/' ? '' : real}${rest}${trailing}`;
    return result === path || result === '' || /^\/proc(\/|$)/.test(real) ? undefined : result;
  }
  return undefined;
}

function withLinks(
  values: readonly string[],
  path: string,
  realPath: RealPath,
  followed: FollowedLink[],
): string[] {
  const all = new Set(values);
  values.forEach((from, index) => {
    const to = followLinks(from, realPath);
    if (to === undefined) return;
    all.add(to);
    followed.push({ path: `${path}.values[${index}]`, from, to });
  });
  return [...all];
}

const pathOperators = new Set(['Equal', 'NotEqual', 'In', 'NotIn', 'Prefix', 'NotPrefix']);

/**
 * Adds to each path in a policy's terms the one that its links lead to on this host.
 * The result plans and matches as a policy that named both.
 */
export function resolveLinks(
  policy: Policy,
  realPath: RealPath,
): { policy: Policy; followed: FollowedLink[] } {
  const followed: FollowedLink[] = [];
  const argumentTerms = (
    terms: readonly ArgumentTerm[],
    args: readonly Argument[] | null,
    path: string,
  ): ArgumentTerm[] =>
    terms.map((term, index) => {
      const found = args === null ? { position: -1 } : findArgument(args, term);
      const type = 'position' in found ? args?.[found.position]?.type : undefined;
      // A macro does not know its hook: values that begin with "/" are paths there, whatever else they may be.
      const isPath = args === null || typeInfo(type ?? '')?.family === 'path';
      if (!isPath || !pathOperators.has(term.operator)) return term;
      return { ...term, values: withLinks(term.values, `${path}.matchArgs[${index}]`, realPath, followed) };
    });
  const binaryTerms = (terms: readonly BinaryTerm[], path: string): BinaryTerm[] =>
    terms.map((term, index) =>
      pathOperators.has(term.operator)
        ? { ...term, values: withLinks(term.values, `${path}[${index}]`, realPath, followed) }
        : term,
    );
  const parts = <Part extends Macro>(part: Part, args: readonly Argument[] | null, path: string): Part => ({
    ...part,
    ...(part.matchArgs === undefined ? {} : { matchArgs: argumentTerms(part.matchArgs, args, path) }),
    ...(part.matchBinaries === undefined
      ? {}
      : { matchBinaries: binaryTerms(part.matchBinaries, `${path}.matchBinaries`) }),
    ...(part.matchParentBinaries === undefined
      ? {}
      : { matchParentBinaries: binaryTerms(part.matchParentBinaries, `${path}.matchParentBinaries`) }),
  });
  const { spec } = policy;
  const hooks = <Hook extends { readonly args?: Kprobe['args']; readonly selectors?: Kprobe['selectors'] }>(
    list: readonly Hook[] | undefined,
    part: string,
  ) =>
    list?.map((hook, index) => ({
      ...hook,
      selectors: hook.selectors?.map((selector, position) =>
        parts(selector, hook.args ?? [], `spec.${part}[${index}].selectors[${position}]`),
      ),
    }));
  const kprobes = hooks(spec.kprobes, 'kprobes');
  const fentries = hooks(spec.fentries, 'fentries');
  const lsmhooks = hooks(spec.lsmhooks, 'lsmhooks');
  const tracepoints = hooks(spec.tracepoints, 'tracepoints');
  const macros = Object.fromEntries(
    Object.entries(spec.selectorsMacros ?? {}).map(([name, macro]) => [
      name,
      parts(macro, null, `spec.selectorsMacros.${name}`),
    ]),
  );
  return {
    policy: {
      ...policy,
      spec: {
        ...spec,
        ...(kprobes === undefined ? {} : { kprobes }),
        ...(fentries === undefined ? {} : { fentries }),
        ...(lsmhooks === undefined ? {} : { lsmhooks }),
        ...(tracepoints === undefined ? {} : { tracepoints }),
        ...(spec.selectorsMacros === undefined ? {} : { selectorsMacros: macros }),
      },
    },
    followed,
  };
}
