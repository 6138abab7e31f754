#!/usr/bin/env bash
# Installs the Debian packages that the appliance is built and tested with. Does
# nothing where they are there.
set -euo pipefail

export PATH="$PATH:/usr/sbin:/sbin"

# a program or a file, and the Debian package that brings it
needed=(mmdebstrap:mmdebstrap qemu-img:qemu-utils qemu-system-x86_64:qemu-system-x86 /usr/share/seabios/bios-256k.bin:seabios
	/usr/share/OVMF/OVMF_CODE.fd:ovmf grub-mkimage:grub-common /usr/lib/grub/i386-pc/boot.img:grub-pc-bin mkfs.ext4:e2fsprogs mkfs.vfat:dosfstools
	mcopy:mtools sfdisk:fdisk genisoimage:genisoimage ip:iproute2)

missing() {
	local entry
	for entry in "${needed[@]}"; do
		if [[ $entry == /* ]]; then
			[[ -e ${entry%:*} ]] || echo "${entry##*:}"
		else
			command -v "${entry%%:*}" >/dev/null || echo "${entry##*:}"
		fi
	done
}

mapfile -t packages < <(missing)
[[ ${#packages[@]} -eq 0 ]] && exit 0
if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
	echo "appliance: missing; on Debian: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
	exit 1
fi
echo "appliance: installing ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq </dev/null || true # perhaps the lists here are good enough
apt-get install -qq -y --no-install-recommends --no-remove "${packages[@]}" </dev/null >&2
mapfile -t packages < <(missing)
[[ ${#packages[@]} -eq 0 ]] || { echo "appliance: still missing after the installation: ${packages[*]}" >&2; exit 1; }
