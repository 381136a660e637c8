#!/bin/busybox sh
# Before the disk: the modules that it takes, then the disk.
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
while read -r module; do
    /bin/busybox insmod "/modules/$module.ko" || echo "@@ trouble: module $module"
done < /modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 500 ]; do
    /bin/busybox usleep 20000
    tries=$((tries + 1))
done
if ! /bin/busybox mount -t ext4 /dev/vda /root; then
    echo "@@ trouble: no disk"
    /bin/busybox poweroff -f
fi
/bin/busybox umount /proc /sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /vm/init
