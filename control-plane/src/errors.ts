// SPDX-License-Identifier: Apache-2.0
// Owns the one error class of the control plane and the one place where its codes become HTTP statuses.

/** Each code and the HTTP status that it becomes. Codes are for ever: programs branch on them. */
export const statusByCode = {
  invalid: 400,
  query_refused: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  too_large: 413,
  unsupported_media_type: 415,
  invalid_policy: 422,
  invalid_filter: 422,
  untrusted_filter: 422,
  invalid_segment: 422,
  archive_changed: 422,
  busy: 503,
  unavailable: 503,
  internal: 500,
  query_timeout: 504,
} as const;

export type ErrorCode = keyof typeof statusByCode;

export interface ErrorDetail {
  /** Where: `spec.kprobes[0].call`, `query.limit`, `content.filters[1].name`. */
  readonly path: string;
  readonly message: string;
}

/** What the control plane refuses or fails at. The message is safe to show: it holds no secret and no payload. */
export class ControlPlaneError extends Error {
  override readonly name = 'ControlPlaneError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: readonly ErrorDetail[] = [],
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }

  get status(): (typeof statusByCode)[ErrorCode] {
    return statusByCode[this.code];
  }

  toBody() {
    return { error: { code: this.code, message: this.message, details: [...this.details] } };
  }
}
