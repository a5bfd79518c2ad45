// SPDX-License-Identifier: Apache-2.0
// What the rest of the agent uses of the spool.

export { SpoolError, type SpoolErrorCode } from './error.js';
export { type Contents, contentsOf, type ToldLoss } from './lost.js';
export type { Recovery } from './recovery.js';
export type { SealedSegment } from './sealed.js';
export { Spool, type SpoolLossStage, type SpoolOptions, type SpoolStats } from './spool.js';
export { type Uploader, type UploadOptions, uploadSegments } from './upload.js';
