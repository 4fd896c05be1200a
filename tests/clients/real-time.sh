# Debian's rt-tests: what each says of itself, without the figures. Sockets and System V's and POSIX's queues are absent: hackbench has its pipes. `sigwaittest` gives a receiver 10 ms to block SIGUSR2 before it sends it; where an emulated CPU does not run for so long the signal ends the receiver, so it has five tries, and `sigwaittest -f`, which then waits for ever for the dead receiver, is left out. `cyclicdeadline` gives up where a step of its own that takes microseconds takes 6 ms, and has five tries, too.
#packages: rt-tests,dash
#shell: /usr/bin/dash
#limit: 60
#: cyclictest
cyclictest -q -t3 -p 80 -m -i 1000 -l 200 >out 2>err; echo $?; awk '/^T:/ { sub(/\(.*\)/, ""); print $1, $2, $3, $4, ($2 > 0 || $6 == 200) }' out
#: cyclictest-every-cpu
cyclictest -q --smp -p 80 -m -i 1000 -l 100 >out 2>err; echo $?; [ $(grep -c ^T: out) = $(nproc) ]; echo $?
#: cyclictest-histogram
cyclictest -q -h 50 -p 90 -m -i 500 -l 100 >out 2>err; echo $?; grep -c '^0000[0-4][0-9] ' out; awk '/^# Total/ { total = $3 } /^# Histogram Overflows/ { print (total + $4 > 0) }' out
#: cyclictest-policies
for policy in fifo rr other batch idle; do p=1; case $policy in fifo|rr) p=5;; *) p=0;; esac; cyclictest -q --policy $policy -p $p -i 1000 -l 50 >out 2>err; echo "$policy: $? $(awk '/^T:/ { sub(/\(.*\)/, ""); print $1, $2, $3, $4 }' out)"; done
#: cyclictest-clocks-and-sleeps
for way in "-c 0" "-c 1" "-s" "-r" "-a 0" "-d 0" "-S -d 0 -t"; do cyclictest -q $way -p 80 -i 1000 -l 50 >out 2>err; echo "$way: $? $(grep -c ^T:.*C: out | sed 's/[1-9]/threads/')"; done
#: hackbench
hackbench -p -g 1 -l 50 | grep -v Time; hackbench -p -T -g 1 -l 50 | grep -v Time; hackbench -p -g 1 -f 4 -s 4096 -l 20 | grep -v Time; hackbench -p -F -g 1 -f 4 -l 20 | grep -v Time
#: pi-stress
verdict() { echo "$? $(awk '/Total inversion performed/ { print ($4 > 0) }' out)"; }
pi_stress --duration 1 --groups 1 >out 2>&1; verdict; pi_stress --duration 1 --groups 1 --rr --mlockall >out 2>&1; verdict; pi_stress --inversions 200 --groups 1 --uniprocessor >out 2>&1; verdict
#: pi-stress-deadline
pi_stress --duration 1 --groups 1 --sched id=high,policy=deadline,runtime=100000,deadline=200000,period=200000 --sched id=med,policy=fifo,priority=3 --sched id=low,policy=fifo,priority=2 >out 2>&1; echo "$? $(awk '/Total inversion performed/ { print ($4 > 0) }' out)"; grep -o 'SCHED_[A-Z]* [rp][a-z]* [0-9]*' out
#: pip-stress
pip_stress >out 2>&1; echo $?
#: semaphores
ptsematest -q -t2 -p 80 -i 1000 -l 100 >out 2>&1; echo $?; sed -n 's/ID[0-9]*/ID/g; s/CPU[0-9]*/CPU/g; /^#0/p; s/Min.*//; /^#1 ->/p' out
#: signals
signaltest -q -t 4 -p 80 -l 100 >out 2>&1; echo $?; awk '/^T:/ { sub(/\(.*\)/, ""); print $1, $2, $3, $5 }' out
#: signal-waits
for try in 1 2 3 4 5; do sigwaittest -q -t -p 80 -i 1000 -l 100 >out 2>&1; status=$?; [ $status -lt 128 ] && break; done; echo $status; sed -n 's/ID[0-9]*/ID/g; s/CPU[0-9]*/CPU/g; /^#0/p; s/Min.*//; /^#1 ->/p' out
#: cyclicdeadline
for try in 1 2 3 4 5; do cyclicdeadline -q -D 1 -t 1 -i 10000 >out 2>&1; status=$?; grep -q 'Failed to perform' out || break; done; echo $status; awk '/^T:/ { sub(/\(.*\)/, ""); print $1, $2, $3, ($5 > 9) }' out
#: deadline-test
deadline_test -i 20 -t 1 -p 50 >out 2>&1; echo $?; sed -n '/^Setup/,$ s/[0-9][0-9]*/N/gp' out
#: migration
rt-migrate-test -l 3 3 >out 2>&1; echo $?; sed -n 's/pid [0-9]*/pid N/; / Task /p' out
