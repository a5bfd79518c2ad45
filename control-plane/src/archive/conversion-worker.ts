// SPDX-License-Identifier: Apache-2.0
// Owns the inside of the conversion thread: one request after the other.
import { parentPort } from 'node:worker_threads';
import { readSegment, SegmentError } from '@weir/segment';
import type { ConversionAnswer, ConversionRequest } from './conversion-thread.js';
import { Converter } from './convert.js';
import { ArchiveError } from './error.js';

let converter: Converter | undefined;

async function run(request: ConversionRequest): Promise<unknown> {
  if (request.task === 'merge') {
    converter ??= await Converter.open();
    return await converter.merge(request.paths, request.dedupe, request.path);
  }
  const segment = readSegment(request.bytes);
  if (request.task === 'verify') return segment.header;
  converter ??= await Converter.open();
  return await converter.convert(segment, request.origin, request.folder);
}

async function answer(request: ConversionRequest): Promise<ConversionAnswer> {
  try {
    return { id: request.id, value: await run(request) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code =
      error instanceof SegmentError
        ? 'invalid-segment'
        : error instanceof ArchiveError
          ? error.code
          : undefined;
    return { id: request.id, error: { code, message } };
  }
}

let turn: Promise<void> = Promise.resolve();
parentPort?.on('message', (request: ConversionRequest) => {
  turn = turn.then(async () => parentPort?.postMessage(await answer(request)));
});
