# Processes, signals, time limits, users.
#: ps
ps | head -1; ps | awk '$1 == 1 { print $1, $2 }'; sleep 9 & sleep 0.3; ps -o pid,ppid,comm | awk -v p=$! -v me=$$ '$1 == p { print ($2 == me), $3 }'; kill $!
#: ps-columns
ps -o pid,user,stat,args | awk -v me=$$ '$1 == me { print $2, $4 }' | sed 's|/.*/|/|'
#: kill-and-killall
sleep 30 & kill $!; wait $! 2>/dev/null; echo $?; sleep 31 & sleep 31 & sleep 0.2; killall sleep; wait; echo killed; kill -0 $$; echo $?; kill 999999; echo $?; killall nosuchprogram; echo $?
#: kill-signals
for s in HUP KILL USR1 ALRM TERM; do sh -c 'sleep 30 & wait' & p=$!; kill -$s $p; wait $p 2>/dev/null; echo "$s $?"; done; killall sleep 2>/dev/null; true
#: stop-and-continue
sleep 1 & p=$!; kill -STOP $p; sleep 0.2; ps -o pid,stat | awk -v p=$p '$1 == p { print substr($2, 1, 1) }'; kill -CONT $p; wait $p; echo $?
#: timeout
timeout 1 sleep 10; echo $?; timeout 5 true; echo $?; timeout 5 sh -c 'exit 4'; echo $?; timeout -s KILL 1 sleep 10; echo $?; timeout 1 nosuch; echo $?
#: ignored-hangup
(trap '' HUP; exec sleep 5) & p=$!; sleep 0.3; kill -HUP $p; sleep 0.2; kill -0 $p; echo $?; kill $p; wait $p 2>/dev/null; echo $?
#: nice
sleep 3 & renice -n 7 -p $! > /dev/null; ps -o pid,nice | awk -v p=$! '$1 == p { print $2 }'; kill $!
#: env
env -i A=1 B=2 env; A=x env | grep '^A='; env -u PATH /bin/busybox env | grep -c '^PATH='; printenv HOME 2>/dev/null || echo "$HOME"; env nosuch; echo $?
#: id-whoami
id; id -u; id -g; id -un; whoami; groups; id nobody; id nosuchuser; echo $?; logname 2>&1 | wc -l
#: setsid
setsid sh -c 'ps -o pid,sid | awk -v p=$$ "\$1 == p { print (\$1 == \$2) }"'; setsid true; echo $?
#: wait-for-orphans
(sh -c 'sleep 0.5; echo orphan done > f' &) ; sleep 1; cat f
#: orphan-parent
sh -c '(sleep 0.5; exec cut -d" " -f4 /proc/self/stat > f) & exit'; sleep 1.5; cat f
#: zombies
sh -c '(exit 3) & exec sleep 1' & sleep 0.4; ps -o stat,comm | awk '/^Z/ { print "zombie" }'; wait; sleep 0.2; ps -o stat,comm | grep -c '^Z'
#: pidof-pgrep
sleep 77 & p=$!; sleep 0.2; [ "$(pidof sleep)" = $p ]; echo $?; kill $p; wait $p 2>/dev/null; pidof nosuchprogram; echo $?
#: exit-codes
sh -c 'exit 0'; echo $?; sh -c 'exit 255'; echo $?; sh -c 'exit 256'; echo $?; sh -c 'exit -1'; echo $?
#: time-command
time true 2> t; wc -l < t; busybox time -f '%x' sh -c 'exit 3' 2>&1
#: watch-like-loop
i=0; while [ $i -lt 3 ]; do sleep 0.1; i=$((i + 1)); done; echo $i
#: start-stop-daemon
start-stop-daemon -S -b -m -p pid -x /bin/sleep -- 20; sleep 0.3; kill -0 $(cat pid); echo $?; start-stop-daemon -K -p pid > /dev/null; echo $?; sleep 0.2; kill -0 $(cat pid) 2>/dev/null; echo $?
#: chroot
mkdir -p r/bin; cp /bin/busybox r/bin/; chroot r /bin/busybox sh -c 'pwd; echo /*; cd ..; pwd'; chroot r /bin/nosuch; echo $?; chroot none /x; echo $?
#: chroot-script
mkdir -p r/bin r/etc; cp /bin/busybox r/bin/sh; echo inside > r/etc/file; chroot r /bin/sh -c 'while read l; do echo $l; done < /etc/file; : > /new; echo $?'; ls r
#: proc-self
cat /proc/self/comm; tr '\0' ' ' < /proc/self/cmdline; echo; readlink /proc/self/exe; [ "$(readlink /proc/self/cwd)" = "$PWD" ]; echo $?; grep -c . /proc/self/status | sed 's/[0-9]*/lines/'; awk '/^(Name|Uid|Threads):/' /proc/self/status; ls /proc/self/fd | head -3
#: proc-fd
exec 5> f; readlink /proc/$$/fd/5 | sed 's|.*/||'; echo via > /proc/self/fd/5; cat f; exec 5>&-; ls /proc/$$/fd | grep -c '^5$'
#: proc-environ-maps
A=visible sh -c 'tr "\0" "\n" < /proc/$$/environ | grep ^A='; grep -c stack /proc/self/maps; awk '$6 == "[heap]" { print $2 }' /proc/self/maps; grep -q 'r-xp.*busybox' /proc/self/maps; echo $?
#: proc-stat
sh -c 'cut -d" " -f2,3 /proc/$$/stat'; awk '{ print NF }' /proc/self/stat; awk '{ print NF }' /proc/self/statm; cat /proc/self/oom_score_adj; readlink /proc/self/root
#: limits-of-memory
(ulimit -v 20000; sh -c 'x=$(head -c 60000000 /dev/zero | tr "\0" a); echo ${#x}' 2>&1 | sed 's/.*emory.*/out of memory/' | tail -1)
#: many-signals
trap 'n=$((n + 1))' USR1; n=0; i=0; while [ $i -lt 20 ]; do kill -USR1 $$; i=$((i + 1)); done; echo $n
#: pipe-capacity
(sleep 0.5; wc -c) < /dev/null; head -c 200000 /dev/zero | (sleep 0.5; wc -c)
#: sigpipe-status
sh -c 'trap "" PIPE; (echo a; sleep 0.2; echo b) | true; echo ok' 2>/dev/null
#: cpu-burn-preempted
(i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo burned) & (i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo burned) & wait
#: taskset-chrt-ionice
taskset 1 sh -c 'taskset -p $$' | sed 's/pid [0-9]*/pid/'; taskset 1 true; echo $?; ionice -p $$ 2>&1 | wc -l
#: setpriv
setpriv -d 2>/dev/null | head -3; setpriv --nnp sh -c 'grep NoNewPrivs /proc/self/status'
