// SPDX-License-Identifier: Apache-2.0
// Owns the last step of a build: what is called from one place only becomes part of its caller. The compiler keeps the
// author's function apart from the entry point, which costs a simple filter a tenth of its time.
import binaryen from 'assemblyscript/binaryen';

/** Bytes beyond which a function stays one of its own. */
const INLINED_BYTES_MAX = 5000;

const { Features } = binaryen;
/** What the compiler makes use of: the optimiser may use no more than filters may. */
const FEATURES =
  Features.MutableGlobals |
  Features.SignExt |
  Features.NontrappingFPToInt |
  Features.BulkMemory |
  Features.BulkMemoryOpt |
  Features.SIMD128;

/** The module with such functions inlined, and its text form. The optimiser is shared: its settings are put back. */
export function inlineOnce(module: Uint8Array): { module: Uint8Array; text: string } {
  const levels = [
    binaryen.getOptimizeLevel(),
    binaryen.getShrinkLevel(),
    binaryen.getOneCallerInlineMaxSize(),
  ];
  const loops = binaryen.getAllowInliningFunctionsWithLoops();
  const parsed = binaryen.readBinary(module);
  try {
    parsed.setFeatures(FEATURES);
    binaryen.setOptimizeLevel(3);
    binaryen.setShrinkLevel(0);
    binaryen.setOneCallerInlineMaxSize(INLINED_BYTES_MAX);
    binaryen.setAllowInliningFunctionsWithLoops(true);
    parsed.runPasses(['inlining-optimizing']);
    return { module: parsed.emitBinary(), text: parsed.emitText() };
  } finally {
    const [optimize = 3, shrink = 0, inlineMax = INLINED_BYTES_MAX] = levels;
    binaryen.setOptimizeLevel(optimize);
    binaryen.setShrinkLevel(shrink);
    binaryen.setOneCallerInlineMaxSize(inlineMax);
    binaryen.setAllowInliningFunctionsWithLoops(loops);
    parsed.dispose();
  }
}
