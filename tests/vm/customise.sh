#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# Run by mmdebstrap on the new root file system ($1), with the keys in $2: a host as Ansible meets one.
set -eu
root=$1 keys=$2

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 ansible
install -d -m 0700 -o 1000 -g 1000 "$root/home/ansible/.ssh"
install -m 0600 -o 1000 -g 1000 "$keys/key.pub" "$root/home/ansible/.ssh/authorized_keys"
printf 'ansible ALL=(ALL:ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/ansible"
chmod 0440 "$root/etc/sudoers.d/ansible"
rm -f "$root"/etc/ssh/ssh_host_*
install -m 0600 "$keys/host_key" "$root/etc/ssh/ssh_host_ed25519_key"
printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nPermitRootLogin no\nUseDNS no\n' \
    >"$root/etc/ssh/sshd_config.d/vm.conf"

# QEMU's user-mode network always gives this address; it reaches nothing (restrict=on).
cat >"$root/etc/systemd/network/eth.network" <<'CONF'
[Match]
Name=e*
[Network]
Address=10.0.2.15/24
CONF
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s /lib/systemd/system/systemd-networkd.service \
    "$root/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
mkdir -p "$root/var/log/journal" "$root/etc/systemd/journald.conf.d"
# The log is on disk soon after it was written, for a power cut.
printf '[Journal]\nStorage=persistent\nSyncIntervalSec=5s\n' >"$root/etc/systemd/journald.conf.d/vm.conf"
printf '/dev/vda / ext4 rw,relatime 0 1\n' >"$root/etc/fstab"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
    systemd-timesyncd.service systemd-networkd-wait-online.service getty@tty1.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
printf 'vm\n' >"$root/etc/hostname"
printf '127.0.0.1 localhost vm\n' >"$root/etc/hosts"
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/resolv.conf"
