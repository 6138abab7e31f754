#!/usr/bin/env bash
# Builds the appliance out of Debian's packages and smtplb's:
#
#   build.sh SMTPLB-PACKAGE [DIRECTORY]
#
# leaves in DIRECTORY, bin/appliance, smtplb-appliance.{raw,qcow2,vmdk,ova}, and
# the lists of its packages and of its files with their sums. ROOTFS_ONLY=1 leaves
# the lists alone. It needs root, for a chroot. It takes nothing from the network
# but Debian's packages.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=$(readlink -f "$1")
out=${2:-bin/appliance}
export PATH="$PATH:/usr/sbin:/sbin"
export LC_ALL=C.UTF-8 TZ=UTC
umask 022
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH

suite=trixie
# No machine has two of these disks, so they may be the same in all.
disk_id=5f1d7a52-8f0e-4d6e-9a3b-736d74706c62
root_id=$(sed -n 's/^UUID=\([^ ]*\) .*/\1/p' "$here/rootfs/etc/fstab")
esp_serial=736d7470
# The disk, in sectors: a BIOS finds GRUB's second stage on the first partition,
# UEFI its loader on the second, and both Debian on the third.
sectors=$((4 * 1024 * 1024 * 2))
bios=2048 esp=4096 esp_size=98304 root_start=102400

[[ $(id -u) -eq 0 ]] || { echo "appliance: needs root, for the chroot that Debian's packages are installed in" >&2; exit 1; }

mkdir -p "$out"
out=$(cd "$out" && pwd)
name=$out/smtplb-appliance
rm -f "$name".{raw,qcow2,vmdk,ova} "$out"/{packages,files}.txt # a build that fails leaves none

# In memory where there is plenty: to install packages is to wait for a disk.
if [[ -z ${TMPDIR:-} ]] && mountpoint -q /dev/shm && [[ $(df --output=avail -k /dev/shm | tail -1) -gt $((4 << 20)) ]] &&
	[[ $(awk '/^MemAvailable/ {print $2}' /proc/meminfo) -gt $((6 << 20)) ]]; then
	export TMPDIR=/dev/shm
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

root_file_system() {
	local stage=$work/stage
	mkdir "$stage" "$work/root"
	cp "$package" "$stage/smtplb.deb"
	echo "appliance: Debian $suite" >&2
	STAGE=$stage HERE=$here OUT=$out mmdebstrap --quiet --mode=root --variant=minbase --format=tar \
		--dpkgopt="$here/dpkg.cfg" --aptopt='APT::Install-Recommends "false"' \
		--include="$(sed 's/#.*//' "$here/packages" | xargs | tr ' ' ,)" \
		--essential-hook='mkdir -p "$1/etc/initramfs-tools" && cp -r "$HERE/rootfs/etc/initramfs-tools/." "$1/etc/initramfs-tools/"' \
		--customize-hook='"$HERE/customize.sh" "$1" "$STAGE"' \
		--customize-hook='chroot "$1" dpkg-query -W -f "\${Package} \${Version}\n" >"$OUT/packages.txt"' \
		"$suite" "$work/rootfs.tar"
	tar -C "$work/root" --numeric-owner --xattrs --xattrs-include='*' -xpf "$work/rootfs.tar"
	(cd "$work/root" && { find . -type f -print0 | sort -z | xargs -0 sha256sum && find . ! -type f -printf '%y %p %l\n' | sort; }) >"$out/files.txt"
}

# partitions writes the table and Debian. GRUB cannot read the two features.
partitions() { # DISK
	truncate -s $((sectors * 512)) "$1"
	sfdisk --quiet "$1" <<-END
		label: gpt
		label-id: $disk_id
		unit: sectors
		start=$bios, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=${disk_id%?}1
		start=$esp, size=$esp_size, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=${disk_id%?}2
		start=$root_start, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=${disk_id%?}3
	END
	mkfs.ext4 -q -F -L smtplb -U "$root_id" -m 1 -O ^metadata_csum_seed,^orphan_file \
		-E "offset=$((root_start * 512)),hash_seed=$root_id,root_owner=0:0" -J size=32 \
		-d "$work/root" "$1" "$(((sectors - 2048 - root_start) / 2))k"
}

number() { perl -e 'print pack($ARGV[0], $ARGV[1])' "$1" "$2"; } # Q<: of 8 bytes, S<: of 2

patch() { dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none; } # FILE OFFSET <BYTES

# boot_bios has boot.img in the first sector load core.img from the first partition.
# The places of the numbers are in GRUB's boot.S and diskboot.S.
boot_bios() { # DISK
	local grub=/usr/lib/grub/i386-pc boot=$work/boot.img core=$work/core.img size
	grub-mkimage -O i386-pc -d "$grub" -p '(hd0,gpt2)/EFI/debian' -o "$core" \
		biosdisk part_gpt fat ext2 normal configfile linux serial terminal search search_fs_uuid echo test
	size=$((($(stat -c %s "$core") + 511) / 512))
	[[ $size -le 2048 ]] || { echo "appliance: GRUB's core.img has $size sectors, more than its partition" >&2; exit 1; }
	cp "$grub/boot.img" "$boot"
	number 'Q<' $bios | patch "$boot" 0x5c
	printf '\x90\x90' | patch "$boot" 0x66
	number 'Q<' $((bios + 1)) | patch "$core" 0x1f4
	number 'S<' $((size - 1)) | patch "$core" 0x1fc
	dd if="$boot" of="$1" bs=440 count=1 conv=notrunc status=none
	dd if="$core" of="$1" bs=512 seek=$bios conv=notrunc status=none
}

# boot_uefi has the loaders that firmware with Secure Boot takes. Both ways read
# the same grub.cfg.
boot_uefi() { # DISK
	local fs=$work/esp loaders=$work/stage/loaders deb
	for deb in "$work"/stage/*signed*.deb; do dpkg-deb -x "$deb" "$loaders"; done
	sed "s/@ROOT@/$root_id/g" "$here/grub.cfg" >"$work/grub.cfg"
	truncate -s $((esp_size * 512)) "$fs"
	mkfs.vfat -F 32 -s 1 -i "$esp_serial" -n SMTPLB-EFI --invariant "$fs" >/dev/null
	find "$loaders" "$work/grub.cfg" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	mmd -i "$fs" ::EFI ::EFI/BOOT ::EFI/debian
	mcopy -m -i "$fs" "$loaders/usr/lib/shim/shimx64.efi.signed" ::EFI/BOOT/BOOTX64.EFI
	mcopy -m -i "$fs" "$loaders/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" ::EFI/BOOT/grubx64.efi
	mcopy -m -i "$fs" "$work/grub.cfg" ::EFI/debian/grub.cfg
	dd if="$fs" of="$1" bs=512 seek=$esp conv=notrunc,sparse status=none
}

# others are the formats of hypervisors: KVM, Proxmox and OpenStack; VMware and
# VirtualBox.
others() {
	qemu-img convert -c -O qcow2 -o compression_type=zstd "$name.raw" "$name.qcow2"
	qemu-img convert -O vmdk -o subformat=streamOptimized "$name.raw" "$name.vmdk"
	sed -e "s/@SIZE@/$(stat -c %s "$name.vmdk")/" -e "s/@CAPACITY@/$(stat -c %s "$name.raw")/" "$here/smtplb.ovf" >"$work/smtplb-appliance.ovf"
	ln -s "$name.vmdk" "$work/smtplb-appliance-disk1.vmdk"
	tar -C "$work" --dereference --format=ustar --owner=0 --group=0 --mtime="@$SOURCE_DATE_EPOCH" \
		-cf "$name.ova" smtplb-appliance.ovf smtplb-appliance-disk1.vmdk # the description comes first
}

root_file_system
[[ -z ${ROOTFS_ONLY:-} ]] || exit 0
disk=$work/disk.raw
partitions "$disk"
boot_bios "$disk"
boot_uefi "$disk"
cp --sparse=always "$disk" "$name.raw"
others
ls -hs "$out" >&2
