// SPDX-License-Identifier: Apache-2.0
// The public names of the control plane.
export { type AppOptions, createApp } from './app.js';
export { ControlPlaneError, type ErrorCode, statusByCode } from './errors.js';
export { type Config, parseConfig } from './node/config.js';
export { openApiText } from './node/openapi.js';
export { type Server, startServer } from './node/serve.js';
