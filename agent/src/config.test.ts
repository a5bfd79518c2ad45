// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from './config.js';

describe('command line', () => {
  it('has defaults for all that it can do without', () => {
    const answer = readConfig([], {});
    expect('config' in answer && answer.config).toMatchObject({
      controlPlane: undefined,
      socketPath: '/run/weir/agent.sock',
      socketOwner: undefined,
      dataFolder: '/var/lib/weir',
      monitor: false,
      spool: true,
      print: 'none',
      actionHosts: [],
    });
  });

  it.each([
    [['--ring-bytes', '5000'], '--ring-bytes must be a power of two'],
    [['--ring-bytes', 'x'], '--ring-bytes must be a whole number from 4096'],
    [['--ancestors', '17'], '--ancestors must be a whole number from 0 to 16'],
    [['--events', 'xml'], '--events must be json or compact'],
    [['--label', 'x'], '--label must be NAME=VALUE'],
    [['--policy', '/no/such/file'], '/no/such/file is not there'],
    [['--control-plane', 'http://x', '--policy', '/etc/hostname'], 'give it, or --policy and --filter'],
    [['--socket-owner', 'me'], '--socket-owner must be a whole number from 0'],
    [['--filter-budget', 'cpu=5'], '--filter-budget must name one of fuelPerEvent'],
    [['--filter-budget', 'averageNs=fast'], '--filter-budget averageNs must be a whole number'],
    [['--filter-limit', 'memory=1GiB'], '--filter-limit memory must be 2MiB to 64MiB, not "1GiB"'],
    [['--action-host', 'http://x'], '--action-host must be a host such as example.org'],
    [['--throttle', 'cgroup=5'], '--throttle cgroup must be EVENTS/TIME, such as 1000/1s'],
    [['--process-allowlist', '{"uid":["root"]}'], '--process-allowlist field uid[0] must be a whole number'],
    [['--process-denylist', '{"uid"'], '--process-denylist must be JSON'],
    [['--nothing'], "Unknown option '--nothing'"],
    [['--token-file', '/no/such/file'], '--token-file /no/such/file cannot be read'],
  ])('refuses %j', (args, says) => {
    expect(() => readConfig(args, {})).toThrow(ConfigError);
    expect(() => readConfig(args, {})).toThrow(says);
  });

  it('takes caps of filters, by field', () => {
    const answer = readConfig(
      ['--filter-budget', 'averageNs=500', '--filter-budget', 'averageFuel=9000'],
      {},
    );
    expect('config' in answer && answer.config.filterBudget).toEqual({ averageNs: 500, averageFuel: 9000 });
  });

  it('takes limits of filter modules', () => {
    const answer = readConfig(['--filter-limit', 'memory=8MiB,table=16'], {});
    expect('config' in answer && answer.config.filterLimits).toEqual({
      memoryBytesMax: 8 * 1024 * 1024,
      tableElementsMax: 16,
    });
  });

  it('takes throttles and filters of processes, each more than once', () => {
    const answer = readConfig(
      [
        ...['--throttle', 'cgroup=5/1s', '--throttle', 'policy=6/1m'],
        ...['--process-denylist', '{"uid":[0]}', '--process-denylist', '{"binary":["/bin/*"]}'],
      ],
      {},
    );
    expect('config' in answer && answer.config).toMatchObject({
      throttles: { cgroup: { events: 5, windowMs: 1000 }, policy: { events: 6, windowMs: 60_000 } },
      narrowing: { allowed: [], denied: [{ uid: [0] }, { binary: ['/bin/*'] }] },
    });
  });

  it('does not repeat a token in what it says', () => {
    try {
      readConfig(['--token', 'secret-token', '--events', 'xml'], {});
      expect.unreachable();
    } catch (error) {
      expect(String(error)).not.toContain('secret-token');
    }
  });
});
