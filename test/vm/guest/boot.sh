#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's init, in the root disk: mounts what every mode needs, finds the work
# disk, and hands over to init.sh on it. There is no initramfs and the kernel does
# not mount /dev, so that at first there is not even a console.
export PATH=/usr/sbin:/usr/bin:/weir/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
# Disks change names from boot to boot and can come up after the root was mounted;
# the serial number is what stays.
find_work_disk() {
	for controller in /sys/class/nvme/*; do
		case "$(cat "$controller/serial")" in
		work*)
			for disk in "$controller"/nvme*n*; do
				[ -b "/dev/${disk##*/}" ] && echo "/dev/${disk##*/}"
			done
			;;
		esac
	done
}
tries=0
while device=$(find_work_disk) && [ -z "$device" ] && [ $tries -lt 100 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
if ! mount "$device" /weir; then
	echo "weir-boot: no work disk among: $(ls /dev/nvme*)"
	busybox poweroff -f
fi
exec /bin/bash /weir/vm/init.sh
