# Debian's stress-ng with its own checks: each class alone, then several at a time. A run that fails says why.
#packages: stress-ng,dash
#shell: /usr/bin/dash
#limit: 90
#: alone
cat >/tmp/one <<'END'
stress-ng --verify --metrics-brief "$@" >out 2>&1; echo "$*: $? $(grep -c 'fail:' out) $(grep -c 'successful run' out)"; grep -e fail: -e error: out
END
for words in "cpu 1 --cpu-ops 8" "cpu 3 --cpu-ops 12" "switch 2 --switch-ops 2000" "futex 2 --futex-ops 2000" "pthread 1 --pthread-ops 200" "pthread 3 --pthread-ops 300" "clone 1 --clone-ops 40" "fork 2 --fork-ops 100" \
	"affinity 2 --affinity-ops 500" "vfork 2 --vfork-ops 100" "nanosleep 1 --nanosleep-ops 50" "timer 1 --timer-ops 300" "yield 3 --yield-ops 5000" "resched 1 --resched-ops 200" "sem 2 --sem-ops 3000" "mutex 2 --mutex-ops 2000" \
	"sigq 2 --sigq-ops 1000" "signal 2 --signal-ops 3000" "schedpolicy 2 --schedpolicy-ops 300" "mmap 1 --mmap-bytes 4M --mmap-ops 10"; do
	dash /tmp/one --$words -t 5
done
#: policies
for policy in other batch idle fifo rr; do stress-ng --verify --sched $policy --cpu 2 --cpu-ops 6 -t 5 >out 2>&1; echo "$policy: $? $(grep -c fail: out)"; done
#: threads-and-locks
stress-ng --verify --metrics-brief --switch 2 --futex 2 --mutex 2 --sem 1 --pthread 1 --yield 2 --membarrier 1 --affinity 1 --schedpolicy 1 --nice 1 -t 2 >out 2>&1; echo "$? $(grep -c 'successful run' out)"; grep -e fail: -e error: out
#: processes-and-signals
stress-ng --verify --metrics-brief --fork 2 --vfork 1 --clone 1 --daemon 1 --zombie 1 --wait 1 --kill 1 --sigq 1 --signal 1 --sigsuspend 1 --sigrt 1 --sigpending 1 --session 1 --pidfd 1 --prctl 1 -t 2 >out 2>&1; echo "$? $(grep -c 'successful run' out)"; grep -e fail: -e error: out
#: time
stress-ng --verify --metrics-brief --nanosleep 1 --timer 1 --timerfd 1 --itimer 1 --clock 1 --sleep 1 --sleep-max 16 --alarm 1 -t 2 >out 2>&1; echo "$? $(grep -c 'successful run' out)"; grep -e fail: -e error: out
