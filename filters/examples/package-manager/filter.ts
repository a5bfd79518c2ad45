// SPDX-License-Identifier: Apache-2.0
// Marks package managers that install something in a running container: images are built elsewhere, so it is somebody
// who brings tools along, or an image that changes behind its digest. MITRE ATT&CK T1105, T1072.
import { alert, Bytes, Config, Event, keep, Severity, TextList, Verdict } from '@weir/filter-sdk';

const systems = new TextList([
  'apt',
  'apt-get',
  'aptitude',
  'dpkg',
  'apk',
  'yum',
  'dnf',
  'microdnf',
  'rpm',
  'zypper',
  'pacman',
  'snap',
  'brew',
  'nix-env',
  'opkg',
]);
const languages = new TextList([
  'pip',
  'pip2',
  'pip3',
  'pipx',
  'uv',
  'npm',
  'pnpm',
  'yarn',
  'gem',
  'cargo',
  'go',
  'composer',
  'conda',
  'easy_install',
]);
const verbs = new TextList([
  'install',
  'add',
  'i',
  'ci',
  'upgrade',
  'update',
  'dist-upgrade',
  'localinstall',
  'reinstall',
  '-i',
  '--install',
  '-U',
  '-Uvh',
  '-ivh',
  '-S',
  '-Sy',
  '-Syu',
  'in',
  'get',
]);
let namespaces = new TextList([]);
let images = new TextList([]);

export function configure(config: Config): void {
  namespaces = config.texts('ignoredNamespaces', namespaces);
  images = config.texts('ignoredImages', images);
}

export function filter(event: Event): Verdict {
  const process = event.process;
  const pod = event.pod;
  if (!process.inContainer || namespaces.has(pod.namespace) || images.matches(pod.image)) return keep();
  let name = process.binary.name;
  const list = process.arguments;
  // `python3 /usr/bin/pip install`, `python3 -m pip install`, `node /usr/bin/npm install`
  if (name.startsWith('python')) name = list.first.equals('-m') ? list.at(1) : list.first.name;
  else if (name.equals('node'))
    name = list.first.name.startsWith('npm') ? list.first.name.slice(0, 3) : list.first.name;
  const isSystem = systems.has(name);
  if ((!isSystem && !languages.has(name)) || !installs(event)) return keep();
  const severity = isSystem ? Severity.high : Severity.medium;
  alert(severity, 'software is installed in a running container')
    .label('manager', name)
    .label('image', pod.image);
  return keep()
    .severity(severity)
    .label('manager', name)
    .label('what', what(list.raw))
    .labelText('attack', 'T1105');
}

function installs(event: Event): bool {
  const list = event.process.arguments;
  for (let one = list.first; list.holds(one); one = list.after(one)) if (verbs.has(one)) return true;
  return false;
}

function what(raw: Bytes): Bytes {
  return raw.slice(0, 256);
}
