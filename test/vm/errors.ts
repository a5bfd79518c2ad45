// SPDX-License-Identifier: Apache-2.0
// Owns the one error by which the harness says that a guest cannot be had on
// this machine, as opposed to a test that failed.

export type VmErrorCode =
  | 'UNSUPPORTED_HOST'
  | 'TOOL_MISSING'
  | 'NOT_ROOT'
  | 'APT_SOURCES'
  | 'APT_DOWNLOAD'
  | 'KERNEL_NOT_FOUND'
  | 'BUILD_FAILED'
  | 'BOOT_FAILED';

export class VmError extends Error {
  readonly code: VmErrorCode;

  constructor(code: VmErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VmError';
    this.code = code;
  }
}

/** Tells whether an error means "no guest here" rather than "the guest misbehaved". */
export function isUnavailable(error: unknown): error is VmError {
  return error instanceof VmError && error.code !== 'BUILD_FAILED' && error.code !== 'BOOT_FAILED';
}
