// SPDX-License-Identifier: Apache-2.0
// Owns the OpenAPI document as text. Routes are registered without being called, so no service is needed.
import { createApp, openApiInfo } from '../app.js';
import type { Services } from '../services/context.js';

/** Gives the document as it is served, in the form in which it is committed: `control-plane/generated/openapi.json`. */
export function openApiText(): string {
  const app = createApp({ services: {} as Services });
  return `${JSON.stringify(app.getOpenAPI31Document(openApiInfo), undefined, 2)}\n`;
}
