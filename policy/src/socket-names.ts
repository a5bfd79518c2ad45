// SPDX-License-Identifier: Apache-2.0
// Owns the names of what sockets are: families, protocols, states of TCP, with the numbers that the kernel has for them.

const families =
  'UNSPEC UNIX INET AX25 IPX APPLETALK NETROM BRIDGE ATMPVC X25 INET6 ROSE DECNET NETBEUI SECURITY KEY NETLINK PACKET ASH ECONET ATMSVC RDS SNA IRDA PPPOX WANPIPE LLC IB MPLS CAN TIPC BLUETOOTH IUCV RXRPC ISDN PHONET IEEE802154 CAIF ALG NFC VSOCK KCM QIPCRTR SMC XDP MCTP';
const states =
  ' ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING NEW_SYN_RECV';
const protocols: Readonly<Record<string, number>> = {
  IP: 0,
  ICMP: 1,
  IGMP: 2,
  IPIP: 4,
  TCP: 6,
  EGP: 8,
  PUP: 12,
  UDP: 17,
  IDP: 22,
  TP: 29,
  DCCP: 33,
  IPV6: 41,
  RSVP: 46,
  GRE: 47,
  ESP: 50,
  AH: 51,
  ICMPV6: 58,
  MTP: 92,
  BEETPH: 94,
  ENCAP: 98,
  PIM: 103,
  COMP: 108,
  L2TP: 115,
  SCTP: 132,
  UDPLITE: 136,
  MPLS: 137,
  ETHERNET: 143,
  RAW: 255,
  MPTCP: 262,
};

function numbered(names: string, prefix: string): Map<string, number> {
  return new Map(
    names.split(' ').flatMap((name, number) => (name === '' ? [] : [[`${prefix}${name}`, number] as const])),
  );
}

/** By operator: the names that its values may have. */
export const socketNames: Readonly<Record<'Family' | 'State' | 'Protocol', ReadonlyMap<string, number>>> = {
  Family: numbered(families, 'AF_').set('AF_LOCAL', 1),
  State: numbered(states, 'TCP_'),
  Protocol: new Map(Object.entries(protocols).map(([name, number]) => [`IPPROTO_${name}`, number])),
};

/** The number of a family, protocol or state; undefined where it is not known. */
export function socketNumber(operator: string, text: string): bigint | undefined {
  if (operator !== 'Family' && operator !== 'State' && operator !== 'Protocol') return undefined;
  const number = socketNames[operator].get(text.toUpperCase());
  return number === undefined ? undefined : BigInt(number);
}
