#!/bin/sh
# boot.sh ROOT CGROUP boots the system in ROOT: systemd is process 1 of namespaces of
# its own, all but the network's. CGROUP, a directory of a cgroup2, is what it has of
# that. Whatever ends unshare ends all of it.
set -eu
echo $$ >"$2/cgroup.procs" # before the namespace: this is its root then
exec unshare --pid --fork --kill-child --mount --propagation private --cgroup --uts --ipc sh -eu -c '
mount --bind "$1" "$1"
cd "$1"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o nosuid,nodev tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
	touch "dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
umount -l /mnt
# Modules and the clock are those of the machine around it.
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	setpriv --bounding-set=-sys_module,-sys_time,-sys_boot /lib/systemd/systemd --system
' sh "$1"
