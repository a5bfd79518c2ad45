// SPDX-License-Identifier: Apache-2.0
// Owns the routes of filters.
import { z } from '@hono/zod-openapi';
import * as wire from '../api/wire.js';
import type { Bytes } from '../crypto.js';
import { ControlPlaneError } from '../errors.js';
import { downloadFilter, getFilter, listFilters, uploadFilter } from '../services/filters.js';
import { type App, answers, binary, errors, flag, readBytes, secured } from './environment.js';

const tag = ['filters'];
const key = z.object({ name: wire.name, version: wire.version });

const upload = secured(
  { permission: 'filter.create', bytesMax: wire.bodyBytesMax.filter },
  {
    method: 'post',
    path: '/v1/filters',
    tags: tag,
    summary: 'Upload a filter',
    description:
      'The module is checked, stored under its digest and, unless `release=false`, put into the release in force. Name and version come from its manifest.',
    request: {
      query: z.object({
        release: flag,
        config: z.string().max(65_536).optional().openapi({ description: 'FilterConfig as JSON text' }),
        key: wire.filterKeyId.optional().openapi({ description: 'the key of the signature' }),
        signature: wire.filterSignature.shape.signature.optional(),
      }),
      // Not `required`: the form's validator would then refuse a plain body. The handler refuses an empty one.
      body: {
        required: false,
        content: {
          'application/wasm': { schema: binary('the module') },
          'multipart/form-data': {
            schema: z.object({ module: binary('the module'), config: z.string().optional() }),
          },
        },
      },
    },
    responses: {
      200: answers(wire.uploadedFilter, 'this very version was there already'),
      201: answers(wire.uploadedFilter, 'the filter is stored'),
      ...errors(409, 415, 422),
    },
  },
);

const list = secured(
  { permission: 'filter.read' },
  {
    method: 'get',
    path: '/v1/filters',
    tags: tag,
    summary: 'List filters',
    responses: { 200: answers(wire.filterList, 'all versions of all filters') },
  },
);

const get = secured(
  { permission: 'filter.read' },
  {
    method: 'get',
    path: '/v1/filters/{name}/{version}',
    tags: tag,
    summary: 'Get a filter',
    request: { params: key },
    responses: { 200: answers(wire.filter, 'the filter'), ...errors(404) },
  },
);

const download = secured(
  { permission: 'filter.read' },
  {
    method: 'get',
    path: '/v1/filters/{name}/{version}/module',
    tags: tag,
    summary: "Download a filter's module",
    request: { params: key },
    responses: {
      200: { description: 'the module', content: { 'application/wasm': { schema: binary('the module') } } },
      ...errors(404, 503),
    },
  },
);

function parseConfig(text: string | undefined) {
  if (text === undefined) return undefined;
  const refuse = (message: string) =>
    new ControlPlaneError('invalid', 'The configuration is refused.', [{ path: 'config', message }]);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse('is no JSON');
  }
  const parsed = wire.filterConfig.safeParse(value);
  if (!parsed.success) throw refuse(parsed.error.issues[0]?.message ?? 'must be a JSON object');
  return parsed.data;
}

/** Reads the module from a plain body or from the part `module` of a form. */
async function readModule(request: {
  header(name: string): string | undefined;
  arrayBuffer(): Promise<ArrayBuffer>;
  formData(): Promise<FormData>;
}): Promise<{ module: Bytes; config: string | undefined }> {
  // Nothing is inflated here: a small body could become a large one.
  const encoding = request.header('content-encoding')?.trim().toLowerCase() ?? 'identity';
  if (encoding !== 'identity') {
    throw new ControlPlaneError(
      'unsupported_media_type',
      'Send the module as it is, without a content-encoding: it is not inflated.',
    );
  }
  const type = request.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type === 'application/wasm' || type === 'application/octet-stream') {
    return { module: await readBytes(request), config: undefined };
  }
  if (type !== 'multipart/form-data') {
    throw new ControlPlaneError(
      'unsupported_media_type',
      'Send the module as application/wasm or multipart/form-data.',
    );
  }
  let form: FormData;
  try {
    form = await request.formData();
  } catch (cause) {
    if (cause instanceof ControlPlaneError) throw cause;
    throw new ControlPlaneError('invalid', 'The form cannot be read.', [], { cause });
  }
  const module = form.get('module');
  const config = form.get('config');
  if (module === null || typeof module === 'string') {
    throw new ControlPlaneError('invalid', 'The form lacks the module.', [
      { path: 'module', message: 'must be a file part' },
    ]);
  }
  return {
    module: new Uint8Array(await module.arrayBuffer()),
    config: typeof config === 'string' ? config : undefined,
  };
}

export function filterRoutes(app: App): void {
  app.openapi(upload, async (c) => {
    const { release, config, key, signature } = c.req.valid('query');
    if ((key === undefined) !== (signature === undefined)) {
      throw new ControlPlaneError('invalid', 'A signature goes with its key.', [
        { path: key === undefined ? 'key' : 'signature', message: 'is missing' },
      ]);
    }
    const { module, config: formConfig } = await readModule(c.req);
    const uploaded = await uploadFilter(c.get('services'), c.get('principal'), module, {
      config: parseConfig(config ?? formConfig),
      release: release !== 'false',
      signature: key === undefined || signature === undefined ? undefined : { keyId: key, signature },
    });
    return c.json(uploaded, uploaded.created ? 201 : 200);
  });
  app.openapi(list, async (c) => {
    return c.json({ filters: await listFilters(c.get('services'), c.get('principal')) }, 200);
  });
  app.openapi(get, async (c) => {
    const { name, version } = c.req.valid('param');
    return c.json(await getFilter(c.get('services'), c.get('principal'), name, version), 200);
  });
  app.openapi(download, async (c) => {
    const { name, version } = c.req.valid('param');
    const { digest, module } = await downloadFilter(c.get('services'), c.get('principal'), name, version);
    return c.body(module, 200, { 'content-type': 'application/wasm', etag: `"${digest}"` });
  });
}
