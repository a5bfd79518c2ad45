#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Entry of `weir probe`: prints, as JSON, what this kernel and this process can do. It loads tiny programs, attaches
// none, and needs the rights of the agent.
import { probe, whyNothingLoads } from '@weir/native';

process.stdout.write(`${JSON.stringify({ ...probe(), nothingLoadsBecause: whyNothingLoads() ?? null })}\n`);
