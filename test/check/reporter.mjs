// SPDX-License-Identifier: Apache-2.0
// Closes a test run: names what was skipped and why, and counts. In CI a skipped test fails the run.

/** @implements {import('vitest/reporters').Reporter} */
export default class ClosingReporter {
  onTestRunEnd(modules) {
    let passed = 0;
    let failed = 0;
    const skipped = [];
    for (const module of modules) {
      if (module.state() === 'failed' && module.errors().length > 0) failed++;
      for (const test of module.children.allTests()) {
        const { state, note } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
        else skipped.push(`${module.relativeModuleId} > ${test.fullName}${note ? `: ${note}` : ''}`);
      }
    }
    for (const line of skipped) console.log(`skipped: ${line}`);
    if (process.env.CI && skipped.length > 0) {
      console.log(`${skipped.length} tests were skipped, and CI skips nothing`);
      process.exitCode = 1;
    }
    console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  }
}
