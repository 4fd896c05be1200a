# What util-linux's chrt and taskset and Debian's schedtool say, and what the kernel then says of the thread in /proc.
#packages: util-linux,bsdutils,coreutils,schedtool,dash
#shell: /usr/bin/dash
#limit: 30
#: chrt-ranges
chrt -m; chrt --max | grep -c SCHED
#: chrt-policies
for way in "-o 0" "-b 0" "-i 0" "-f 1" "-f 50" "-f 99" "-r 1" "-r 99"; do chrt $way chrt -p 0 | sed 's/pid [0-9]*/pid N/'; echo "$way: $?"; done
#: chrt-bad-priorities
for way in "-o 1" "-b 1" "-i 1" "-f 0" "-f 100" "-r 0" "-r 100" "-f -1" "-d 1"; do chrt $way true >out 2>&1; echo "$way: $? $(sed 's/pid [0-9]*/pid N/' out)"; done
#: chrt-deadline
chrt -d -T 5000000 -D 20000000 -P 50000000 0 chrt -p 0 | sed 's/pid [0-9]*/pid N/'
chrt -d -T 10000000 -D 20000000 -P 20000000 0 dash -c 'awk "/^policy|^prio|^dl.runtime|^dl.deadline/ { print }" /proc/self/sched 2>/dev/null; cut -d" " -f18,40,41 /proc/self/stat'
#: chrt-deadline-refused
for way in "-T 1 -D 20000000 -P 50000000" "-T 500 -D 20000000 -P 20000000" "-T 30000000 -D 20000000 -P 50000000" "-T 10000000 -D 60000000 -P 50000000" "-T 1024 -D 1024 -P 1024"; do
	chrt -d $way 0 true >out 2>&1; echo "$way: $? $(sed 's/pid [0-9]*/pid N/' out)"
done
#: chrt-deadline-may-not-fork
chrt -d -T 5000000 -D 20000000 -P 50000000 0 dash -c 'true; (true); echo $?' 2>&1; chrt -R -d -T 5000000 -D 20000000 -P 50000000 0 dash -c '(chrt -p 0; true); echo $?' 2>&1 | sed 's/pid [0-9]*/pid N/'
#: chrt-reset-on-fork
chrt -R -f 10 dash -c 'chrt -p $$; chrt -p 0; chrt -f 5 true; echo $?' | sed 's/pid [0-9]*/pid N/'
chrt -R -r 10 nice -n 3 dash -c 'dash -c "chrt -p 0; nice; chrt -R -o 0 chrt -p 0"' | sed 's/pid [0-9]*/pid N/'
nice -n -5 chrt -R -b 0 dash -c 'nice; chrt -p $$; dash -c "nice; chrt -p 0"' | sed 's/pid [0-9]*/pid N/'
#: chrt-of-another
exec 2>&1; sleep 20 & other=$!; {
chrt -p $other; chrt -f -p 7 $other; chrt -p $other; chrt -r -p 9 $other; chrt -p $other; cut -d' ' -f18,40,41 /proc/$other/stat
chrt -b -p 0 $other; chrt -p $other; chrt -d -T 1000000 -D 10000000 -P 10000000 -p 0 $other; chrt -p $other; cut -d' ' -f18,40,41 /proc/$other/stat; chrt -o -p 0 $other; chrt -p $other
kill $other; wait $other 2>/dev/null; chrt -p $other 2>&1; echo $?; } | sed 's/pid [0-9]*/pid N/'
#: chrt-of-all-threads
taskset 1 chrt -v -f 3 true | sed 's/pid [0-9]*/pid N/'; sleep 20 & other=$!; chrt -a -f -p 4 $other; chrt -a -p $other | sed 's/pid [0-9]*/pid N/'; chrt -a -v -r -p 5 $other | sed 's/pid [0-9]*/pid N/'; kill $other
#: chrt-without-privilege
chmod 777 .
setpriv --reuid 1000 --regid 1000 --clear-groups dash -c 'for way in "-o 0" "-b 0" "-i 0" "-f 1" "-r 1" "-R -o 0"; do chrt $way true 2>err; echo "$way: $? $(sed "s/pid [0-9]*/pid N/" err)"; done; chrt -i 0 chrt -o 0 true 2>&1 | sed "s/pid [0-9]*/pid N/"; chrt -R -o 0 chrt -o 0 true 2>&1 | sed "s/pid [0-9]*/pid N/"' </dev/null
(ulimit -r 5; setpriv --reuid 1000 --regid 1000 --clear-groups dash -c 'for n in 1 5 6; do chrt -f $n true 2>err; echo "$n: $? $(sed "s/pid [0-9]*/pid N/" err)"; done; chrt -f 1 chrt -f 0 true 2>&1')
chrt -f 1 setpriv --reuid 1000 --regid 1000 --clear-groups dash -c 'chrt -p $$; chrt -f 1 true; echo $?; chrt -f 2 true; echo $?' 2>&1 | sed 's/pid [0-9]*/pid N/'
#: taskset-masks
for mask in 1 0x1 f 0xff ffffffff 0 2000000000000000 10000000000000000 x; do taskset $mask taskset -p $$ >out 2>err; echo "$mask: $? $(sed 's/pid [0-9]*/pid N/' err)"; done
taskset 1 dash -c 'taskset -p $$; taskset -cp $$; grep Cpus_allowed_list /proc/self/status; nproc' | sed 's/pid [0-9]*/pid N/'
#: taskset-lists
for list in 0 0-0 0,0 0-63 0-3:1 0-62:2 999 1-0 a; do taskset -c $list dash -c 'grep -c "Cpus_allowed_list:.0" /proc/self/status' >out 2>err; echo "$list: $? $(cat out) $(sed 's/pid [0-9]*/pid N/' err)"; done
#: taskset-each-cpu
last=$(($(nproc) - 1)); seq 0 $last | while read cpu; do [ "$(taskset -c $cpu dash -c "cut -d' ' -f39 /proc/self/stat; taskset -cp \$\$ | sed 's/.*: //'" | tr '\n' ' ')" = "$cpu $cpu " ] || echo "CPU $cpu: wrong"; done; echo all
taskset -c 0-$last taskset -cp $$ | sed 's/pid [0-9]*/pid N/' | grep -c "list: 0"; taskset -c $((last + 1)) true 2>/dev/null; echo $?
#: taskset-of-another
sleep 20 & other=$!; taskset -p 1 $other >out; tail -1 out | sed 's/pid [0-9]*/pid N/'; taskset -acp 0 $other | tail -1 | sed 's/pid [0-9]*/pid N/'; taskset -ap $other | sed 's/pid [0-9]*/pid N/'
setpriv --reuid 1000 --regid 1000 --clear-groups taskset -p 1 $other 2>&1 >/dev/null | sed 's/pid [0-9]*/pid N/'; setpriv --reuid 1000 --regid 1000 --clear-groups taskset -p $other 2>&1 | sed 's/pid [0-9]*/pid N/'
kill $other; wait $other 2>/dev/null; taskset -p 1 $other 2>&1 | sed 's/pid [0-9]*/pid N/'
#: schedtool-queries
taskset 1 schedtool -r; taskset 1 dash -c 'schedtool $$; true' | sed 's/PID *[0-9]*/PID N/'
#: schedtool-policies
for way in "-N" "-B" "-D" "-F -p 5" "-R -p 99" "-F -p 0" "-R -p 100" "-N -n 5" "-n -7" "-B -n 19"; do taskset 1 schedtool $way -e dash -c 'schedtool $$' >out 2>&1; echo "$way: $? $(sed 's/PID *[0-9]*/PID N/' out)"; done
#: schedtool-affinity
schedtool -a 0x1 -e dash -c 'schedtool $$' | sed 's/PID *[0-9]*/PID N/'; schedtool -a 0 -e dash -c 'schedtool $$' 2>&1 | sed 's/PID *[0-9]*/PID N/'
sleep 20 & other=$!; taskset 1 schedtool -v -R -p 20 -n -3 -a 0x1 $other 2>&1 | sed 's/PID *[0-9]*/PID N/'; schedtool $other | sed 's/PID *[0-9]*/PID N/'; kill $other; schedtool 999999 2>&1; echo $?
#: nice-and-renice
nice -n 5 dash -c 'nice; nice -n 30 nice; nice -n -30 nice; cut -d" " -f18,19 /proc/self/stat'; sleep 20 & other=$!; renice -n 4 -p $other | sed 's/^[0-9]*/N/'; renice -n -25 $other | sed 's/^[0-9]*/N/'; cut -d" " -f18,19 /proc/$other/stat
setpriv --reuid 1000 --regid 1000 --clear-groups dash -c 'nice -n -1 nice 2>&1; renice -n 1 -p $$ | sed "s/^[0-9]*/N/"; renice -n 0 -p $$ 2>&1 | sed "s/ [0-9]* / N /"; nice'; kill $other
