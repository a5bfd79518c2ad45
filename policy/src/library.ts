// SPDX-License-Identifier: Apache-2.0
// Owns what the ready policies of policy/library say of themselves in their annotations, and the table of them in
// that folder's README.
import { hooksOf } from './hooks.js';
import type { Policy } from './policy.js';
import { expandSelectors } from './selectors.js';

/** What a policy is for; the table is in this order. */
export const libraryCategories = [
  'process',
  'privileges',
  'files',
  'network',
  'system calls',
  'containers',
  'miners',
] as const;
export const librarySeverities = ['low', 'medium', 'high', 'critical'] as const;
/** At which calls of a node a policy costs something: those of the most frequent of its hooks. */
export const libraryCosts = [
  'rare',
  'each process',
  'each change of a name',
  'each connection',
  'each file opened',
  'each datagram',
  'each read and write',
] as const;

export interface LibraryEntry {
  readonly name: string;
  /** What it is for, in a few words. */
  readonly title: string;
  readonly description: string;
  readonly category: (typeof libraryCategories)[number];
  /** Ids of MITRE ATT&CK techniques. */
  readonly attack: readonly string[];
  readonly severity: (typeof librarySeverities)[number];
  readonly cost: (typeof libraryCosts)[number];
  /** Whether it only reports. */
  readonly reports: boolean;
}

/** What a policy of the library says of itself, or which annotation is missing or wrong. */
export function libraryEntry(policy: Policy): LibraryEntry | string {
  const { annotations, name, description } = policy;
  const word = <Word extends string>(key: string, allowed: readonly Word[]): Word | undefined =>
    allowed.find((other) => other === annotations[key]);
  const title = annotations.title ?? '';
  const attack = (annotations.attack ?? '').split(', ');
  const category = word('category', libraryCategories);
  const severity = word('severity', librarySeverities);
  const cost = word('cost', libraryCosts);
  if (title === '' || title.includes('|')) return 'annotations.title: wants a few words';
  if (description === '') return 'annotations.description: wants a sentence';
  if (!attack.every((id) => /^T\d{4}(\.\d{3})?$/.test(id)))
    return 'annotations.attack: wants ids of techniques, such as "T1611, T1055.008"';
  if (category === undefined) return `annotations.category: wants one of ${libraryCategories.join(', ')}`;
  if (severity === undefined) return `annotations.severity: wants one of ${librarySeverities.join(', ')}`;
  if (cost === undefined) return `annotations.cost: wants one of ${libraryCosts.join(', ')}`;
  const reports = hooksOf(policy).every(({ fields, path }) =>
    expandSelectors(policy, fields, path).every(({ matchActions }) =>
      matchActions.every(({ item }) => item.action === 'Post'),
    ),
  );
  return { name, title, description, category, attack, severity, cost, reports };
}

/** In the order of their categories, and of their names within one. */
export function sortLibrary(entries: readonly LibraryEntry[]): LibraryEntry[] {
  const place = ({ category }: LibraryEntry) => libraryCategories.indexOf(category);
  return [...entries].sort((a, b) => place(a) - place(b) || (a.name < b.name ? -1 : 1));
}

/** The table of the library's README, in Markdown. */
export function libraryTable(entries: readonly LibraryEntry[]): string {
  const rows = sortLibrary(entries).map(
    ({ name, title, category, attack, severity, cost, reports }) =>
      `| ${category} | [\`${name}\`](${name}.yaml) | ${title} | ${attack.join(', ')} | ${severity} | ${cost} | ${reports ? 'reports' : 'denies and kills'} |`,
  );
  return [
    '| | policy | tells of | ATT&CK | severity | costs at | does |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}
