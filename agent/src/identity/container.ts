// SPDX-License-Identifier: Apache-2.0
// Owns how a container's id is read from the name of its cgroup.
// Hot: once an exec; it looks at bytes in place and makes nothing.

/** Length of a container id in hexadecimal digits. */
export const CONTAINER_ID_LENGTH = 64;

function isHex(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66);
}

const prefixes = ['docker-', 'cri-containerd-', 'crio-', 'libpod-', 'containerd-', 'nerdctl-'].map((text) =>
  Uint8Array.from(Buffer.from(text)),
);
const scope = Uint8Array.from(Buffer.from('.scope'));

function same(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let index = 0; index < text.length; index++) {
    if (bytes[at + index] !== text[index]) return false;
  }
  return true;
}

/**
 * Finds a container id in a cgroup name: `<64 hex>`, or `<runtime>-<64 hex>.scope` for the runtimes known.
 * @returns where it begins in `bytes`, -1 where the name is none of a container.
 */
export function containerIdAt(bytes: Uint8Array, offset: number, length: number): number {
  if (length < CONTAINER_ID_LENGTH) return -1;
  let at = -1;
  if (length === CONTAINER_ID_LENGTH) {
    at = offset;
  } else if (same(bytes, offset + length - scope.length, scope)) {
    const before = length - scope.length - CONTAINER_ID_LENGTH;
    for (const prefix of prefixes) {
      if (prefix.length === before && same(bytes, offset, prefix)) at = offset + before;
    }
  }
  if (at < 0) return -1;
  for (let index = 0; index < CONTAINER_ID_LENGTH; index++) {
    if (!isHex(bytes[at + index] as number)) return -1;
  }
  return at;
}
