// SPDX-License-Identifier: Apache-2.0
// Owns policies that tests have as objects: no text of theirs is parsed, which takes long where there are thousands of
// selectors, and no field has a place in one.
import type { Policy } from '../policy.js';
import { rewritePublished } from '../published.js';
import { documentSchema } from '../shape.js';

/** The policy that an object says, as its text would be parsed. Throws where it has not the shape of one. */
export function policyOfDocument(document: object): Policy {
  const { kind, metadata, spec } = documentSchema.parse(document);
  return {
    kind,
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    description: '',
    annotations: {},
    ...rewritePublished(spec),
    locate: () => ({ line: 0, column: 0 }),
  };
}
