// SPDX-License-Identifier: Apache-2.0
// Owns the guess at what a misspelt name was meant to be.

/** Bounds the work: names in policies are short, hostile text is not. */
const nameLengthMax = 64;

function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/** Returns the candidate nearest to a name, or undefined where none is near enough to be meant. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > nameLengthMax) return undefined;
  const wanted = name.toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const found = distance(wanted, candidate.toLowerCase());
    if (found < bestDistance) {
      best = candidate;
      bestDistance = found;
    }
  }
  return best;
}

/** Names a few of the allowed names, the likeliest first, for the end of a message. */
export function suggestion(name: string, candidates: readonly string[]): string {
  const guess = nearest(name, candidates);
  if (guess !== undefined) return `did you mean ${guess}?`;
  return candidates.length <= 24
    ? `allowed: ${candidates.join(', ')}`
    : `allowed: ${candidates.slice(0, 24).join(', ')} and ${candidates.length - 24} more`;
}

/** Text from outside, cut and with its control characters escaped, fit to stand in a message. */
export function quote(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return JSON.stringify(cut).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
