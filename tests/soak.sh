# The soak: mixed loads, one after the other, for $1 seconds of the machine's clock; afterwards the machine has the memory that it had before.
# Each round is one mixture of stress-ng's classes, with its own checks, beside pipes of busybox's programs that come and go on every CPU.
# What a CPU keeps for itself goes back when it goes off line: memory is counted with the first CPU alone.

round() {
	number=$((number + 1))
	case $((number % 5)) in
	1) mixture="--switch 2 --futex 2 --mutex 2 --sem 2 --pthread 2 --yield 2 --membarrier 1" ;;
	2) mixture="--fork 2 --vfork 2 --clone 1 --daemon 1 --zombie 1 --wait 1 --session 1 --pidfd 1 --prctl 1" ;;
	3) mixture="--mmap 2 --mmap-bytes 8M --brk 1 --brk-ops 20000 --vm 2 --vm-bytes 16M --fork 1 --pipe 2 --poll 1 --tee 1" ;;
	4) mixture="--kill 1 --sigq 2 --signal 2 --sigsuspend 1 --sigrt 1 --sigpending 1 --nanosleep 1 --timer 1 --timerfd 1 --itimer 1 --clock 1" ;;
	0) mixture="--cpu 4 --affinity 2 --schedpolicy 2 --nice 1 --switch 2 --sleep 1 --sleep-max 16 --zombie 1" ;;
	esac
	for cpu in 1 2 4 8 10 20 40 80; do
		for turn in 1 2; do taskset $cpu sh -c 'seq 200 | sort -rn | head -1'; taskset ff sh -c 'seq 200 | sort -rn | head -1'; done
	done >/tmp/soak.pipes 2>&1 &
	if stress-ng --verify --temp-path /tmp $mixture -t $1 >/tmp/soak.log 2>&1 && ! grep -q fail: /tmp/soak.log; then
		wait $!
		[ "$(sort -u /tmp/soak.pipes)" = 200 ] || { echo "soak: wrong sums in round $number"; sort /tmp/soak.pipes | uniq -c; exit 1; }
	else
		echo "soak: round $number failed: $mixture"
		cat /tmp/soak.log
		exit 1
	fi
	rm -f /tmp/soak.log /tmp/soak.pipes
}

# Sets all CPUs but the first.
others() {
	for file in /sys/devices/system/cpu/cpu[1-9]*/online; do echo $1 >$file || exit 1; done
}

free() {
	sleep 1
	others 0
	sleep 0.5
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^MemFree/ { print $2 }' /proc/meminfo
	others 1
}

number=0
# Each mixture once: caches grow to what they need, and programs are read.
for each in 1 2 3 4 5; do round 1; done
before=$(free)
end=$(($(cut -d. -f1 /proc/uptime) + $1))
start=$number
while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do
	round $((1 + $1 / 60 < 10 ? 1 + $1 / 60 : 10))
	[ $(($number % 20)) = 0 ] && echo "soak: round $number"
done
after=$(free)
echo "soak: $((number - start)) rounds, KiB free before $before after $after"
echo "soak: done"
