// SPDX-License-Identifier: Apache-2.0
// Owns the text form of metrics (Prometheus exposition format 0.0.4).

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  /** Samples, by their labels. */
  readonly samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

function escapeText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

export function metricsText(metrics: readonly Metric[]): string {
  const lines: string[] = [];
  for (const { name, help, type, samples } of metrics) {
    if (samples.length === 0) continue;
    lines.push(`# HELP ${name} ${help.replaceAll('\n', ' ')}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeText(text)}"`);
      lines.push(`${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** A metric with one sample and no label. */
export function single(name: string, type: Metric['type'], help: string, value: number): Metric {
  return { name, help, type, samples: [[{}, value]] };
}

/** A metric with one label. */
export function labelled(
  name: string,
  type: Metric['type'],
  help: string,
  label: string,
  values: Readonly<Record<string, number>>,
): Metric {
  return {
    name,
    help,
    type,
    samples: Object.entries(values).map(([text, value]) => [{ [label]: text }, value]),
  };
}
