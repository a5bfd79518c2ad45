// SPDX-License-Identifier: Apache-2.0
// Checks that dependencies between folders, and between the files of one, point one way only.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

/** What each folder may import of the others. What is not listed is refused. */
const allowed = {
  schema: [],
  policy: ['schema'],
  segment: ['schema'],
  native: [],
  'filters/sdk': [],
  'filters/accept': ['schema'],
  'filters/meter': [],
  'filters/host': ['schema', 'filters/accept', 'filters/meter'],
  'filters/compile': ['schema', 'segment', 'filters/sdk', 'filters/accept', 'filters/host', 'filters/meter'],
  agent: ['schema', 'policy', 'segment', 'native', 'filters/accept', 'filters/host', 'control-plane/client'],
  'control-plane': ['schema', 'policy', 'segment', 'filters/accept', 'filters/host'],
  cli: ['schema', 'policy', 'segment', 'filters/compile', 'agent/client', 'control-plane/client'],
};

/**
 * Rooms of `agent/src` and the rooms that each may look into; all of them meet only in the files of `agent/src` itself.
 * Rooms that are not listed (`join`, `pipeline`) are where data passes through and may use those before them.
 */
const agentRooms = {
  identity: [],
  process: ['identity'],
  tamper: [],
  actions: [],
  throttle: [],
  narrowing: [],
  policy: [],
  spool: [],
  export: [],
  metrics: [],
  socket: ['export', 'metrics'],
  sync: ['spool'],
};

const packages = {
  '@weir/schema': 'schema',
  '@weir/policy': 'policy',
  '@weir/segment': 'segment',
  '@weir/native': 'native',
  '@weir/filter-sdk': 'filters/sdk',
  '@weir/filter-accept': 'filters/accept',
  '@weir/filter-meter': 'filters/meter',
  '@weir/filter-host': 'filters/host',
  '@weir/filter-compile': 'filters/compile',
  '@weir/agent': 'agent',
  '@weir/control-plane': 'control-plane',
  '@weir/cli': 'cli',
};

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!['node_modules', 'dist', 'build', 'generated'].includes(entry.name)) yield* sources(path);
    } else if (/\.(ts|mts|mjs)$/.test(entry.name)) yield path;
  }
}

function importsOf(text) {
  const found = [];
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)) found.push(match[1]);
  return found;
}

function target(specifier) {
  const name = specifier.split('/').slice(0, 2).join('/');
  const folder = packages[name];
  if (folder === undefined) return undefined;
  const rest = specifier.slice(name.length);
  return rest === '/client' ? `${folder}/client` : folder;
}

/** @returns {string[]} one line for each import that points the wrong way. */
export function wrongDirections(root) {
  const wrong = [];
  for (const [folder, mayImport] of Object.entries(allowed)) {
    for (const file of sources(resolve(root, folder))) {
      const place = relative(root, file);
      // Tests, and what is made for them, may look at more than the code beside them.
      if (/\.test\.ts$|\/fixtures\.ts$/.test(file)) continue;
      for (const specifier of importsOf(readFileSync(file, 'utf8'))) {
        const to = target(specifier);
        if (to !== undefined && to !== folder && !mayImport.includes(to)) {
          wrong.push(
            `${place} imports ${specifier}: ${folder} may import only ${mayImport.join(', ') || 'nothing of ours'}`,
          );
        }
        if (specifier.startsWith('.')) {
          const path = relative(root, resolve(file, '..', specifier));
          if (!path.startsWith(`${folder}/`))
            wrong.push(`${place} imports ${specifier}, past its own package`);
          const room = (of) => Object.keys(agentRooms).find((name) => of.startsWith(`agent/src/${name}/`));
          const mine = room(place);
          const other = room(path);
          if (
            mine !== undefined &&
            other !== undefined &&
            mine !== other &&
            !agentRooms[mine].includes(other)
          ) {
            wrong.push(
              `${place} imports ${specifier}: ${mine} and ${other} meet only in the agent's entry points`,
            );
          }
        }
      }
    }
  }
  return wrong;
}

/**
 * The circle that a walk along imports closes, if there is one.
 * @param {ReadonlyMap<string, readonly string[]>} imports what each file imports
 * @returns {string[] | undefined}
 */
function findCircle(imports) {
  const done = new Set();
  const way = [];
  const walk = (file) => {
    const start = way.indexOf(file);
    if (start >= 0) return [...way.slice(start), file];
    if (done.has(file)) return undefined;
    way.push(file);
    for (const other of imports.get(file) ?? []) {
      const circle = walk(other);
      if (circle !== undefined) return circle;
    }
    way.pop();
    done.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const circle = walk(file);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

/** @returns {string[]} one line for each package with files that import each other in a circle, be it for types alone. */
export function importCircles(root) {
  const circles = [];
  for (const folder of Object.keys(allowed)) {
    const imports = new Map();
    for (const file of sources(resolve(root, folder))) {
      const own = importsOf(readFileSync(file, 'utf8')).filter((specifier) => specifier.startsWith('.'));
      imports.set(
        relative(root, file),
        // AssemblyScript's have no ending.
        own.map((specifier) =>
          relative(root, resolve(file, '..', `${specifier.replace(/\.[jt]s$/, '')}.ts`)),
        ),
      );
    }
    const circle = findCircle(imports);
    if (circle !== undefined) circles.push(circle.join(' → '));
  }
  return circles;
}
