# What can be seen, reached and changed from inside of a sandbox. Prints what is the same on every
# host that can isolate. Run by the driver alone and in a session.
section() { echo; echo "== $1"; }
section identity
echo "uid $(id -u) gid $(id -g) groups $(id -G)"
for map in uid gid; do
    # Where the range begins depends on which sandbox of the host it is.
    read -r inside outside size < /proc/self/${map}_map
    if [ "$outside" -ge 65536 ]; then outside='a range of its own'; fi
    echo "$map map $inside is $outside, $size ids"
done
echo "setgroups $(cat /proc/self/setgroups)"
grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status

section mounts
while read -r _ _ _ root point options rest; do
    type=${rest#*- }; type=${type%% *}
    case $point in
        # Depend on how the host lays out its folders, and on what its kernel has to hide: that
        # is asked for below.
        /var/lib/dpkg | /var/lib/rpm | /bin | /sbin | /lib*) continue ;;
        /proc/sys) ;;
        /proc/* | /sys/*) continue ;;
        /run/mistle | /opt/mistle/*) type=host ;;
    esac
    echo "$point $type $options"
done < /proc/self/mountinfo | sed 's/,relatime//' | sort

section 'top level'
for path in /*; do
    case $path in /lib* | /bin | /sbin) ;; *) echo "$path" ;; esac
done

section 'exposed in /proc and /sys'
for path in /proc/kcore /proc/kmsg /proc/keys /proc/key-users /proc/kallsyms /proc/modules \
    /proc/cmdline /proc/iomem /proc/slabinfo /proc/vmallocinfo /proc/kpagecount /proc/timer_list /proc/sched_debug \
    /proc/sysrq-trigger /proc/acpi /proc/scsi /sys/firmware /sys/class/dmi /sys/kernel/debug \
    /sys/kernel/security /sys/kernel/tracing /sys/fs/bpf /sys/fs/cgroup
do
    content=$(if [ -d $path ]; then ls -A $path; else head -c 1 $path | tr '\0' '.'; fi 2> /dev/null)
    if [ -n "$content" ]; then echo "$path can be read"; fi
done
find /proc/sys -type f -writable 2> /dev/null | sed 's/^/writable /'
find /proc -maxdepth 1 -type f -writable 2> /dev/null | sort | sed 's/^/writable /' | grep -vE ' /proc/(kcore|kmsg|keys|key-users|kallsyms|modules|cmdline|iomem|ioports|slabinfo|vmallocinfo|kpage[a-z]*|timer_list|sched_debug|interrupts|latency_stats|sysrq-trigger)$'
find /sys -type f -writable 2> /dev/null | head -5 | sed 's/^/writable /'
echo 1 2> /dev/null > /proc/sys/vm/drop_caches && echo 'caches can be dropped'
echo core 2> /dev/null > /proc/sys/kernel/core_pattern && echo 'the handler of core files can be set'

section devices
cd /dev
for name in * pts/*; do
    # How the probe was started.
    case $name in std*) continue ;; esac
    if [ -c $name ] || [ -b $name ]; then echo "$name $(stat -c '%F %t:%T %a' $name)"; fi
done | sort
cd /
head -c 1 /dev/random > /dev/null && echo 'random works'
mknod /tmp/disk b 254 0 2> /dev/null && echo 'device nodes can be made'
mknod /tmp/memory c 1 1 2> /dev/null && echo 'device nodes can be made'

section cgroup
cat /proc/self/cgroup | cut -d: -f3 | sort -u
mkdir -p /tmp/cgroup
mount -t cgroup2 none /tmp/cgroup 2> /dev/null && echo 'version 2 can be mounted'
mount -t cgroup -o memory none /tmp/cgroup 2> /dev/null && echo 'version 1 can be mounted'
find / -name memory.max -o -name memory.limit_in_bytes 2> /dev/null

section privileges
try() { if "$@" > /dev/null 2>&1; then echo "allowed: $*"; else echo "denied: $*"; fi; }
try mount -t tmpfs none /mnt
try mount --bind /etc /mnt
try mount -o remount,rw /proc/sys
try umount /proc/kcore
try umount /run/mistle
try unshare -U true
try unshare -Ur true
try unshare -m true
try unshare -n true
try unshare -p true
try hostname other
try dmesg
try swapon /tmp/none
try modprobe dummy
try chroot / true
try nsenter -t 1 -m true
try sh -c 'ulimit -n 1000000'
try touch /run/mistle/file
try mknod /tmp/device c 1 5
try chown 70000 /tmp
try setpriv --reuid 65534 --clear-groups cat /root
try sh -c 'echo -1000 > /proc/self/oom_score_adj'

section 'system calls'
# With arguments that the kernel itself finds wrong before it asks for a privilege, where there are
# such: what is refused then was refused by a filter.
perl -e '
    my @calls = (
        ["mount", 165, -1, -1, -1, 0, -1],
        ["umount2", 166, -1, 0xffff],
        ["pivot_root", 155, -1, -1],
        ["unshare, of the user namespace", 272, 0x10000001],
        ["unshare, of the mount namespace", 272, 0x00020001],
        ["unshare, of the network namespace", 272, 0x40000001],
        ["setns", 308, -1, 0],
        ["fsopen", 430, -1, 0],
        ["move_mount", 429, -1, -1, -1, -1, 0],
        ["name_to_handle_at", 303, -1, -1, -1, -1, 0xffff],
        ["keyctl", 250, 9999, 0, 0, 0, 0],
        ["add_key", 248, -1, -1, -1, 0, 0],
        ["reboot", 169, 0, 0, 0, 0],
        ["swapon", 167, -1, 0],
        ["acct", 163, -1],
        ["clock_settime", 227, 0, -1],
        ["sethostname", 170, -1, 1],
        ["syslog", 103, 2, -1, 1],
        ["clone3", 435, 0, 0],
        ["socket, raw", 41, 2, 3, 1],
        ["socket, Unix", 41, 1, 1, 0],
        ["ptrace, of process 1", 101, 0x4206, 1, 0, 0],
    );
    for (@calls) {
        my ($name, $number, @arguments) = @$_;
        my $answer = syscall($number, @arguments);
        my $why = $answer != -1 ? "allowed" : $! == 1 ? "refused" : $! == 38 ? "unknown" : "reaches the kernel";
        print "$name: $why\n";
    }
'

section network
sed 's/:.*//' /proc/net/dev | tail -n +3 | tr -d ' '
tail -n +2 /proc/net/route
for address in 169.254.169.254/80 1.1.1.1/443 10.0.0.1/22 127.0.0.1/22; do
    echo "$address: $(bash -c "exec 3<> /dev/tcp/$address" 2>&1 | sed 's/.*: //' | tail -1)"
done
getent hosts localhost > /dev/null && echo 'localhost is known'
getent hosts example.org > /dev/null && echo 'example.org is known'

section sockets
find / -type s 2> /dev/null | sed -E 's/[0-9a-f]{64}/NAME/' | sort
# The server's ends of the two links are listed here too, with what the server calls them.
awk 'NR > 1 && NF > 7 { print $8 }' /proc/net/unix | sed -E 's/[0-9a-f]{64}/NAME/' | sort -u | sed 's/^/listed /'

section accounts
grep -vE '^[^:]*:[*!]+:' /etc/shadow
grep -E '^(root|nobody):' /etc/passwd | cut -d: -f1-4 | sort
awk -F: '$3 >= 1000 && $3 != 65534' /etc/passwd
