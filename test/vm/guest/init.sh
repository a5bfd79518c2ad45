#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guest's second init, on the work disk: file systems, loopback, network if
# there is a card, then what the kernel command line asks for in weir.mode:
#   run         the runner of scenarios, talking to the host on ttyS1
#   appliance   one command, its output on ttyS1
#   shell       a root shell on the console
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
ln -sf /proc/self/fd /dev/fd
hostname guest
ip link set lo up

mode=shell
for word in $(cat /proc/cmdline); do
	case "$word" in
	weir.mode=*) mode=${word#weir.mode=} ;;
	weir.network=1)
		modprobe -a virtio_pci virtio_net
		ip link set eth0 up
		ip address add 10.0.2.15/24 dev eth0
		ip route add default via 10.0.2.2
		;;
	esac
done

cd /weir || exit 1
case "$mode" in
run)
	stty -F /dev/ttyS1 raw -echo 115200
	node /weir/vm/runner.mjs
	echo "init: the runner ended with $?"
	;;
appliance)
	stty -F /dev/ttyS1 raw -echo 115200
	setsid /bin/bash /weir/vm/appliance.sh </dev/ttyS1 >/dev/ttyS1 2>&1
	echo "init: the appliance ended with $?"
	;;
shell)
	stty -F /dev/ttyS0 sane
	echo "A root shell in the guest ($(uname -r)). The work disk is /weir; 'exit' ends it."
	setsid -c bash --login </dev/ttyS0 >/dev/ttyS0 2>&1
	;;
esac
busybox poweroff -f
