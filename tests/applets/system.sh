# The system: mounts, clocks, names, tables in /proc.
#: uname
uname -s; uname -m; uname -n; uname -o; uname -r | grep -c '^[0-9]*\.[0-9]'; arch
#: hostname
hostname; hostname changed; hostname; cat /proc/sys/kernel/hostname; hostname ashlar; hostname -s
#: date
date -u -d @0; date -u -d @1700000000 '+%F %T %A %j %U'; date -u -d '2024-02-29 12:00:00' +%s; TZ=CET-1 date -d @0 +%H; [ $(date +%s) -gt 1700000000 ]; echo $?; date -d nonsense; echo $?; date -u -s '2030-01-02 03:04:05' > /dev/null; date -u +%F
#: uptime-sleep
a=$(cut -d. -f1 /proc/uptime); sleep 1.1; b=$(cut -d. -f1 /proc/uptime); [ $b -gt $a ]; echo $?; uptime | grep -c 'load average'
#: mount-tmpfs
mkdir m; mount -t tmpfs -o size=1m t m; echo inside > m/f; cat m/f; mount | grep "$PWD/m " | awk '{ print $3 == ENVIRON["PWD"] "/m", $5 }'; dd if=/dev/zero of=m/big bs=64k count=32 2>/dev/null; echo $?; umount m; ls m; umount m; echo $?
#: mount-options
mkdir m; mount -t tmpfs -o ro t m; touch m/x; echo $?; mount -o remount,rw m; touch m/x; echo $?; mount -o remount,noexec m; cp /bin/busybox m/; m/busybox true; echo $?; umount m
#: mount-bind
mkdir a b; echo from a > a/f; mount --bind a b; cat b/f; echo via b > b/g; cat a/g; umount b; ls b; mount --bind none b; echo $?
#: mount-errors
mount -t nosuchfs x /mnt; echo $?; mount -t tmpfs t /nonexistent; echo $?; umount /nonexistent; echo $?; umount /tmp/case 2>/dev/null; echo $?
#: mount-busy-and-lazy
mkdir m; mount -t tmpfs t m; exec 3> m/f; umount m; echo $?; umount -l m; echo $?; ls m; exec 3>&-
#: mountpoint-listing
mount | awk '$5 == "proc" || $5 == "sysfs" || $5 == "devtmpfs" || $5 == "devpts" { print $3, $5 }' | sort; grep -c . /proc/self/mountinfo | sed 's/[0-9]*/some/'; awk '$2 == "/proc" { print $3 }' /proc/mounts
#: df
df -h /tmp | head -1; df /proc | awk 'NR == 2 { print $2, $6 }'; df -T /tmp | awk 'NR == 2 { print $2, $7 }'; df -i /tmp | head -1
#: free
free | awk 'NR == 1 { print $1, $2 } NR == 2 { print $1, ($2 > 10000), ($2 > $3) }'; free -m | wc -l
#: meminfo
awk '/^(MemTotal|MemFree|Buffers|Cached|SwapTotal):/ { print $1, $3 }' /proc/meminfo
#: proc-files
for f in version uptime loadavg stat meminfo cpuinfo mounts filesystems cmdline; do [ -n "$(head -c 9 /proc/$f)" ]; echo "$f $?"; done; grep -c ^processor /proc/cpuinfo; awk '{ print NF }' /proc/loadavg; awk 'NR == 1 { print $1 }' /proc/stat; grep -c tmpfs /proc/filesystems
#: proc-cmdline
grep -o 'console=[a-zA-Z0-9]*' /proc/cmdline | head -1
#: sysctl
sysctl -n kernel.ostype; sysctl kernel.hostname; cat /proc/sys/kernel/ostype; sysctl -w kernel.hostname=x > /dev/null; hostname; hostname ashlar; [ $(cat /proc/sys/kernel/pid_max) -ge 32768 ]; echo $?; sysctl -n nosuch.thing; echo $?
#: dmesg
dmesg | wc -l | awk '{ print ($1 > 5) }'; dmesg -n 1; echo $?; echo 'test message' > /dev/kmsg; dmesg | grep -c 'test message'
#: logger-syslogd
logger -s -t tag message 2>&1 | sed 's/.*tag/tag/'; klogd --help 2>&1 | head -1 | cut -c1-7
#: vmstat-like
awk '/^(pgfault|nr_free_pages) / { print $1, ($2 >= 0) }' /proc/vmstat | sort
#: top-batch
top -b -n 1 | head -4 | awk '{ print $1 }'; top -b -n 1 | grep -c 'top -b'
#: nproc-who
nproc; who | wc -l; w 2>/dev/null | wc -l; tty; echo $?; last 2>/dev/null | head -1 | wc -l
#: hostid-ipcalc
hostid | wc -c; ipcalc -n 192.168.1.7/24; ipcalc -b 10.0.0.1 255.255.255.0
#: losetup-swap
losetup -a 2>/dev/null | wc -l; swapon -s 2>/dev/null | head -1 | cut -c1-8; cat /proc/swaps | head -1 | cut -c1-8
#: crypt
mkpasswd -m md5 -S abcdefgh password; mkpasswd -m sha512 -S saltsalt secret; cryptpw --help 2>&1 | head -1 | wc -l
#: stty-not-a-tty
stty < /dev/null; echo $?; tty < /dev/null; echo $?
#: stty-tty
stty -a < /dev/console | head -1 | cut -d' ' -f1,2; stty size < /dev/console | awk '{ print NF }'
#: pivot-and-switch
pivot_root /nonexistent /x; echo $?; switch_root /mnt /sbin/init > /dev/null 2>&1; echo $?
#: insmod-errors
insmod nosuch.ko; echo $?; lsmod | head -1 | cut -c1-6; modprobe nosuch 2>/dev/null; echo $?
#: hwclock
hwclock -r > /dev/null 2>&1; echo $? | sed 's/[01]/answered/'
#: network-absent
ifconfig lo > /dev/null 2>&1; echo $? | sed 's/[0-9]*/answered/'; ping -c 1 -W 1 127.0.0.1 > /dev/null 2>&1; echo $? | sed 's/[0-9]*/answered/'; nc -w 1 127.0.0.1 9 < /dev/null > /dev/null 2>&1; echo $? | sed 's/[0-9]*/answered/'
#: reboot-help
reboot --help 2>&1 | grep -c reboot; poweroff --help 2>&1 | grep -c poweroff; halt --help 2>&1 | grep -c halt
#: dd-from-console-nonblocking
stty -F /dev/console -a > /dev/null; echo $?; [ -c /dev/console ]; echo $?; ls -l /dev/console /dev/ptmx | awk '{ print $1, $5, $6 }'
#: devpts
ls -ld /dev/pts | cut -c1-4; [ -c /dev/ptmx ]; echo $?; script -q -c 'tty' /dev/null 2>/dev/null | grep -c pts
#: sysfs-root
ls /sys | grep -E '^(class|devices|kernel|block|bus|fs)$'; [ -d /sys/class ]; echo $?
#: mdev-devmem
mdev --help 2>&1 | head -1 | cut -c1-7; devmem 2>&1 | head -1 | cut -c1-7
#: blockdev-absent
blockdev --getsize /dev/null; echo $?; fdisk -l 2>/dev/null | wc -l
