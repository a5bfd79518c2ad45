// SPDX-License-Identifier: Apache-2.0
// Owns what `policy check` says of the kernel that it runs on: by the names of its functions, which include those of
// modules, and by its types, which do not.
import { type Btf, factsOfBtf, type KernelFacts } from '@weir/policy';

/**
 * @param functions the kernel's functions by name, and whether a module has them; undefined where they are not told
 * @param types the kernel's own types; undefined where there are none
 */
export function runningFacts(
  functions: ReadonlyMap<string, boolean> | undefined,
  types: Btf | undefined,
  release: string,
): KernelFacts {
  const byTypes = types === undefined ? { release } : factsOfBtf(types, release);
  if (functions === undefined) return byTypes;
  // Hooked is what has a type. Entries of calls without arguments have none on some kernels, and are hooked all the same.
  const hasFunction = (name: string) =>
    functions.has(name) &&
    (types === undefined ||
      functions.get(name) === true ||
      name.startsWith('__x64_sys_') ||
      types.hasFunction(name));
  const { argumentProblem } = byTypes;
  return {
    ...byTypes,
    // LSM hooks and their like that a kernel keeps out of its list of names.
    hasFunction: (name) => hasFunction(name) || (types?.hasFunction(name) ?? false),
    names: {
      systemCalls: () => [...functions.keys()].filter((name) => name.startsWith('__x64_sys_')),
      functions: () => [...functions.keys()],
      canHook: hasFunction,
    },
    ...(argumentProblem === undefined
      ? {}
      : {
          // Types of modules are not looked at.
          argumentProblem: (call, argument) =>
            functions.get(call.symbol) === true ? undefined : argumentProblem(call, argument),
        }),
  };
}
