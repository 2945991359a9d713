#!/bin/sh
# A board's root file system for this machine's processor. usage: amd64.sh TARGET
. "$(dirname "$0")/debian.sh"

debian amd64 minbase systemd-sysv,dbus,dbus-user-session,libpam-systemd,sudo,python3,libstdc++6,openssh-server,procps,iproute2
chroot "$target" sh -eu <<'CONFIGURE'
useradd --create-home --shell /bin/bash --groups adm,sudo,plugdev,video pi
echo pi:raspberry | chpasswd
echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pi
chmod 440 /etc/sudoers.d/pi

# Keys are kept outside the home folders, which some tests take away.
cat > /etc/ssh/sshd_config.d/board.conf <<SSHD
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys/%u
UseDNS no
SSHD
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/ssh/authorized_keys /var/log/journal

printf 'board\n' > /etc/hostname
printf '127.0.0.1 localhost board\n' > /etc/hosts
: > /etc/fstab
: > /etc/resolv.conf
: > /etc/machine-id

# What would speak to hardware, to the network or to the kernel that the boxes share.
for unit in getty@tty1.service console-getty.service serial-getty@ttyAMA0.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-firstboot.service \
  systemd-modules-load.service sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount; do
  ln -sf /dev/null /etc/systemd/system/$unit
done

# qemu-user does not know the clone() that a unit with credentials is started with; these would have none anyway.
for unit in systemd-sysusers systemd-tmpfiles-setup systemd-tmpfiles-setup-dev; do
  mkdir /etc/systemd/system/$unit.service.d
  printf '[Service]\nLoadCredential=\n' > /etc/systemd/system/$unit.service.d/no-credentials.conf
done

# The init of a box without systemd. A shell that waits takes in orphans, as an init must.
cat > /usr/local/sbin/plain-init <<'INIT'
#!/bin/sh
mkdir -p /run/sshd
/usr/sbin/sshd -D &
while :; do wait; sleep 1; done
INIT
chmod +x /usr/local/sbin/plain-init
CONFIGURE
