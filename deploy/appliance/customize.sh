#!/usr/bin/env bash
# Run by mmdebstrap on the root file system before it is packed:
#
#   customize.sh ROOT STAGE
#
# STAGE has smtplb's package, and gets the boot loaders.
set -euo pipefail
root=$1 stage=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

cp -a --no-preserve=ownership,timestamps "$here/rootfs/." "$root/"

mkdir "$root/etc/nftables.d"

# Its configuration is made when the appliance is set up.
cp "$stage/smtplb.deb" "$root/smtplb.deb"
chroot "$root" dpkg --install /smtplb.deb >/dev/null
rm "$root/smtplb.deb" "$root/etc/smtplb/smtplb.yaml"

chroot "$root" passwd --quiet --lock root
chroot "$root" systemctl --quiet enable smtplb.service smtplb-setup.service nftables.service keepalived.service \
	systemd-networkd.service systemd-resolved.service systemd-timesyncd.service serial-getty@ttyS0.service
chroot "$root" systemctl --quiet mask e2scrub_reap.service e2scrub_all.timer # for LVM

# Each appliance makes its own.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/var/lib/systemd/random-seed "$root"/var/lib/dbus/machine-id
: >"$root/etc/machine-id"
echo smtplb >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
ln -sf /run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

# Logs and caches of the build say when and where that was.
rm -rf "$root"/var/cache/ldconfig/aux-cache "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/etc/*- \
	"$root"/initrd.img.old "$root"/vmlinuz.old "$root"/var/log/apt "$root"/var/log/*.log "$root"/var/log/[bw]tmp "$root"/var/log/lastlog
find "$root/usr" -name __pycache__ -prune -exec rm -rf {} +

# The boot loaders that UEFI firmware trusts. What is signed is not installed: it
# lies on a partition of its own, and Debian's keys let it start Debian's kernels.
cd "$stage"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq -o APT::Sandbox::User=root download shim-signed grub-efi-amd64-signed
