#!/bin/sh
# A box's firmware: PID 1 of new namespaces, it lays out the root file system and becomes its init. usage: boot.sh ROOTFS FOLDER
#
# FOLDER/card is the box's memory card, an ext4 image that takes what the box writes over the read-only ROOTFS.
# FOLDER/first-boot, if there, is a shell script run in the new root before its first init, and then removed.
set -eu
rootfs=$1 folder=$2

mount --make-rprivate /
mkdir -p "$folder/disk" "$folder/root"
mount -o loop "$folder/card" "$folder/disk"
mkdir -p "$folder/disk/upper" "$folder/disk/work"
mount -t overlay -o "lowerdir=$rootfs,upperdir=$folder/disk/upper,workdir=$folder/disk/work" overlay "$folder/root"
cd "$folder/root"
if [ -e "$folder/first-boot" ]; then
  chroot . /bin/sh -eu < "$folder/first-boot"
  sync -f "$folder/disk"
  rm "$folder/first-boot"
fi

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,size=64m tmpfs run
mount -t tmpfs -o mode=755,size=8m tmpfs dev
for node in null zero full random urandom tty; do
  touch dev/$node
  mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%:*}" "dev/${n#*:}"; done

# The kernel is this machine's: a box may not set it, and each boot has an identity of its own.
cat proc/sys/kernel/random/uuid > run/boot-id
mount --bind -o ro proc/sys proc/sys
mount --bind -o ro run/boot-id proc/sys/kernel/random/boot_id
hostname "$(cat etc/hostname)"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=box TERM=dumb chroot . /sbin/init
