# The shell itself: ash with functions, expansions, here-documents, pipes, traps, jobs.
#: arithmetic
echo $((1 + 2 * 3)) $((7 / 2)) $((7 % 3)) $((1 << 10)) $((0x1f)) $((5 > 3 ? 10 : 20))
i=5; echo $((i += 2)) $((i++)) $i $((~0)) $((-7 / 2))
#: functions-and-locals
greet() { local name=$1; echo "hello $name ($#)"; return 3; }
name=outer; greet world again; echo "$? $name"
fact() { if [ "$1" -le 1 ]; then echo 1; else echo $(($1 * $(fact $(($1 - 1))))); fi; }
fact 10
#: parameter-expansion
x=/usr/local/lib/file.tar.gz
echo ${x##*/} ${x%/*} ${x%%.*} ${x#*/} ${#x} ${x%.gz}
unset y; echo ${y:-default} ${y:=set} $y ${y:+alternative} ${x:5:5} ${x/local/other}
(echo ${nothing:?is not set}) ; echo status $?
#: here-documents
who=world
cat <<END
hello $who $((2 + 3)) $(echo sub)
END
cat <<'END'
hello $who literally \n
END
cat <<-END
	tabs are stripped
	END
#: here-document-large
i=0; { while [ $i -lt 3000 ]; do echo "line number $i of a long here document"; i=$((i + 1)); done; } > big
sh -c "cat <<END
$(cat big)
END" | md5sum
#: pipelines-and-status
true | false; echo $?
false | true; echo $?
! true; echo $?
set -o pipefail; false | true; echo $?
echo a b c | tr ' ' '\n' | sort -r | head -2 | wc -l
#: loops-and-case
for f in one two three; do case $f in t*) echo "t: $f";; one|uno) echo first;; esac; done
i=0; while :; do i=$((i + 1)); [ $i -eq 3 ] && continue; [ $i -gt 5 ] && break; echo $i; done
until [ $i -eq 0 ]; do i=$((i - 1)); done; echo $i
#: redirections
echo out > f; echo more >> f; cat < f; cat nothing 2>&1 | wc -l
{ echo a; echo b >&2; } 2> err > out; cat out; cat err
exec 3> three; echo to three >&3; exec 3>&-; cat three
exec 4< f; read line <&4; echo "got $line"; read line <&4; echo "got $line"; exec 4<&-
echo x >&9; echo $?
set -C; echo y > f; echo $?
#: command-substitution
echo "$(echo "nested $(echo deep "$(echo deeper)")")"
x=`echo old style`; echo "$x"
y=$(false); echo $?
#: subshells-and-groups
x=1; (x=2; echo $x); echo $x; { x=3; }; echo $x
(exit 7); echo $?
(cd / && pwd); pwd | sed 's/.*/still here/'
#: traps
trap 'echo on exit' EXIT
trap 'echo got USR1' USR1
kill -USR1 $$
trap '' TERM; kill -TERM $$; echo survived
trap - USR1
(trap 'echo sub exit' EXIT; exit 4); echo $?
#: trap-interrupts-wait
trap 'echo alarmed' USR2
(sleep 1; kill -USR2 $$) &
sleep 5 & s=$!
wait $s; echo "wait gave $?"
kill $s; wait $s 2>/dev/null; echo $?
#: background-and-wait
(sleep 1; exit 5) & a=$!
(exit 6) & b=$!
wait $b; echo $?; wait $a; echo $?; wait; echo $?
wait 99999; echo $?
#: jobs-in-scripts
set -m
sleep 30 &
jobs | sed 's/  */ /g'
kill %1; wait %1 2>/dev/null; echo $?
sh -c 'kill -STOP $$; echo continued' & sleep 1; jobs | sed 's/  */ /g'
fg %1 > /dev/null 2>&1 || kill -CONT $!
wait; echo done
#: process-groups
set -m
sh -c 'ps -o pid,pgid,sid,comm | awk -v p=$$ "\$1 == p { print (\$1 == \$2) }"' &
wait
set +m
sh -c 'ps -o pid,pgid,comm | awk -v p=$$ "\$1 == p { print (\$1 == \$2) }"' & wait
#: read-options
printf 'a:b:c\n' | { IFS=: read x y z; echo "$x-$y-$z"; }
printf 'one two three\n' | { read first rest; echo "$first|$rest"; }
printf 'back\\slash\n' | { read -r line; echo "$line"; }
printf 'abcdef' | { read -n 3 x; echo $x; }
read -t 1 x < /dev/zero; echo $?
#: globbing
touch a1 a2 b1 .hidden 'sp ace'; mkdir d; touch d/x
echo *; echo a?; echo [ab]1; echo .h*; echo d/*; echo nomatch*; set -f; echo *
#: quoting
echo 'single $x' "double $((1+1))" back\\slash "a\"b" $'tab\there'
printf '%s\n' "a  b" a\ \ b "$*"
set -- "1 2" 3; for w in "$@"; do echo "<$w>"; done; for w in $@; do echo "<$w>"; done
#: test-operators
touch f; mkdir d; ln -s f l; : > empty; echo x > full
for t in "-f f" "-d d" "-h l" "-s empty" "-s full" "-e none" "-r f" "-x f" "-n x" "-z x" "1 -lt 2" "a = b"; do test $t; echo "$t $?"; done
[ f -nt none ]; echo $?; [[ abc == a* ]]; echo $?; [ ! -e none -a -f f ]; echo $?
#: getopts
parse() { OPTIND=1; while getopts ab:c o; do echo "$o=$OPTARG"; done; shift $((OPTIND - 1)); echo "rest $*"; }
parse -a -b value -c rest1 rest2; parse -ab joined; parse -x 2>&1
#: eval-and-dot
cmd='echo evaluated $((3 * 3))'; eval "$cmd"
echo 'sourced=yes; echo in file $1' > lib.sh; . ./lib.sh; echo $sourced
#: set-options
set -e; (false; echo not reached); echo $?
#: set-nounset
sh -u -c 'echo $undefined; echo not reached'; echo $?
#: errexit-script
sh -e -c 'echo before; false; echo after'; echo $?
#: xtrace
sh -xc 'a=1; echo $a; [ $a = 1 ]' 2>&1
#: exec-replaces
sh -c 'exec echo replaced; echo not reached'; sh -c 'exec /nonexistent; echo x'; echo $?
#: command-not-found
nonexistent-command; echo $?; ./f; echo $?; touch f; ./f; echo $?; mkdir d; ./d; echo $?
#: script-with-interpreter
printf '#!/bin/sh\necho "script $0 $*"\nexit 9\n' > s; chmod +x s; ./s a b; echo $?
printf '#!/usr/bin/awk -f\nBEGIN { print "awk script" }\n' > a; chmod +x a; ./a
printf '#!/nonexistent/interpreter\n' > n; chmod +x n; ./n; echo $?
printf 'echo no interpreter line\n' > p; chmod +x p; ./p
#: ulimit
ulimit -n 64; ulimit -n; ulimit -c 0; ulimit -c; (ulimit -f 1; dd if=/dev/zero of=f bs=1k count=4 2>/dev/null; echo $?); ls -l f 2>/dev/null | awk '{ print $5 }'
#: umask
umask 027; umask; touch f; mkdir d; ls -ld f d | cut -c1-10; umask -S
#: environment-of-children
export A=exported; B=not; sh -c 'echo "$A,$B"'; C=only sh -c 'echo $C'; echo "[$C]"; env -i X=1 /bin/busybox env
#: pipe-broken
yes | head -3; (yes; echo "status $?" >&2) 2>&1 | head -2
#: many-processes
i=0; while [ $i -lt 50 ]; do (exit $((i % 7))) & i=$((i + 1)); done; wait; echo all
i=0; s=0; while [ $i -lt 40 ]; do s=$((s + $(echo $i))); i=$((i + 1)); done; echo $s
#: deep-pipeline
seq 1000 | cat | cat | cat | cat | cat | cat | cat | cat | cat | cat | cat | cat | tail -1
#: command-builtins
type echo cd ls | sed 's/ is .*builtin/ is builtin/'; command -v sh; alias ll='ls -l'; alias ll; unalias ll; alias ll; echo $?
#: kill-list
kill -l 9; kill -l 15; kill -l TERM; kill -l | head -3
#: times-and-colon
: ignored; times | wc -l; true && echo and || echo or; false || echo or
#: nested-functions-and-return
outer() { inner() { return $1; }; inner 5; echo $?; }; outer; inner 6; echo $?
f() { for i in 1 2 3; do [ $i = 2 ] && return 8; echo $i; done; }; f; echo $?
#: signals-exit-status
sh -c 'kill -9 $$'; echo $?; sh -c 'kill -TERM $$'; echo $?; sh -c 'kill -SEGV $$' 2>/dev/null; echo $?
#: heredoc-in-loop
while read a b; do echo "$b $a"; done <<END
1 one
2 two
END
#: printf-builtin
printf '%d %5d|%-5d|%05d %x %o %c %s %%\n' 1 2 3 4 255 8 char string; printf '%s-' a b c; echo; printf '%.3f %e %g\n' 3.14159 12345.678 0.0001; printf '\101\x42\n'
#: echo-options
echo -n no newline; echo; echo -e 'a\tb\nc\\d'; echo -E 'a\tb'
