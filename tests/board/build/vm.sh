#!/bin/sh
# An arm64 virtual machine: kernel, initial RAM disk, and a disk image of ARM64, which arm64.sh made. usage: vm.sh TARGET ARM64
. "$(dirname "$0")/debian.sh"
model=$2

unpack arm64 linux-image-cloud-arm64,busybox-static
version=$(basename "$target"/lib/modules/*)
initrd=$target/initrd.d
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/mnt"
cp "$target/bin/busybox" "$initrd/bin/"
cd "$target"
for module in virtio virtio_ring virtio_mmio virtio_blk virtio_net net_failover failover sch_netem; do
  cp --parents "$(find lib/modules -name $module.ko)" "$initrd"
done
chroot "$initrd" /bin/busybox depmod "$version"

cat > "$initrd/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin:/usr/bin:/sbin:/usr/sbin
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in virtio_mmio virtio_blk virtio_net sch_netem; do $b modprobe $module; done
$b ip link set lo up
$b ip address add 10.0.2.15/24 dev eth0
$b ip link set eth0 up
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 /dev/vda /mnt
if [ -e /first-boot ]; then
  $b chroot /mnt /bin/sh -eu < /first-boot
  $b sync
fi
$b umount /sys /proc
$b mount --move /dev /mnt/dev
exec $b switch_root /mnt /sbin/init
INIT
chmod +x "$initrd/init"
(cd "$initrd" && find . | cpio --quiet -o -H newc | gzip -1) > initrd
mv "boot/vmlinuz-$version" vmlinuz
truncate -s 2G disk
mke2fs -q -t ext4 -m 0 -d "$model" disk
find . -mindepth 1 -maxdepth 1 ! -name initrd ! -name vmlinuz ! -name disk -exec rm -r {} +
