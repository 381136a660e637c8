#!/bin/bash
# PID 1 of the machine: what an installed system would have mounted, then the steps, then off.
# Lines that begin with @@ are for whoever booted it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=xterm SHOW='--show-output --color never --test-threads 3' PROPTEST_CASES=8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# What systemd hands on to everybody's sessions.
echo '+cpu +memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
ln -sf /proc/self/fd /dev/fd
ip link set lo up
hostname vm
chmod 1777 /tmp /var/tmp
mkdir -p /run/user/0 /run/user/1000 /home/agent
chown -R 1000:1000 /run/user/1000 /home/agent
chmod 700 /run/user/0 /run/user/1000

power_off() {
    echo o > /proc/sysrq-trigger
    sleep 30
}

# The whole machine ends in time, also where nobody is left who would end it.
(sleep "$(cat /vm/patience)"; echo "@@ trouble: the machine's time is over"; power_off) &

# NAME USER SECONDS COMMAND
step() {
    local name=$1 user=$2 seconds=$3 command=$4 run=() id=0 home=/root
    if [ "$user" = ordinary ]; then
        id=1000 home=/home/agent
        run=(setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all --)
    fi
    local began=$SECONDS
    echo "@@ begin $name"
    (
        cd "$(cat /vm/repository)" || exit 125
        # Both kernels take programs for their security hooks: a test that finds otherwise fails.
        export AGENTBOX_EXPECTS=kernel-gate
        export HOME=$home XDG_RUNTIME_DIR=/run/user/$id AGENTBOX_BIN=/usr/local/bin/agentbox
        exec setsid --wait "${run[@]}" timeout --kill-after=5 "$seconds" bash -c "$command"
    ) < /dev/null 2>&1
    echo "@@ end $name $? after $((SECONDS - began)) s"
}

echo "@@ booted $(uname -r) lsm=$(cat /sys/kernel/security/lsm)"
. /vm/steps
echo "@@ done"
power_off
