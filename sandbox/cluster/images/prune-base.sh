#!/bin/sh
# Leaves in a new root what a server's binary needs, its shared libraries, and nothing else: no shell, no package
# manager, nothing of this machine such as its resolv.conf.
set -eu
cd "$1"
rm -rf dev proc sys run var
find . ! -type d ! \( -path './usr/lib*' -name '*.so*' ! -path './usr/lib/*/*/*' \) \
  ! -path ./usr/sbin/nginx ! -path ./lib ! -path ./lib64 -delete
find . -depth -type d -empty ! -path ./tmp -delete
mkdir -p etc
# The pod's own names first, which kubelet writes to /etc/hosts.
echo 'hosts: files dns' >etc/nsswitch.conf
