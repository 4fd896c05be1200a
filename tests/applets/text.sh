# Working on text.
#: awk-fields
printf 'alice 30 paris\nbob 25 rome\ncarol 35 oslo\n' > t
awk '{ s += $2; n++ } END { printf "%d %.2f\n", s, s / n }' t; awk '$2 > 26 { print NR ": " $1, $NF }' t; awk -F: 'NR <= 1 { print $1, NF }' /etc/passwd
#: awk-language
awk 'BEGIN { for (i = 1; i <= 5; i++) a[i] = i * i; for (i = 5; i > 0; i--) printf "%d ", a[i]; print length("hello"), substr("hello", 2, 3), index("hello", "l"), toupper("abc") }'
awk 'function f(n) { return n < 2 ? n : f(n-1) + f(n-2) } BEGIN { print f(15); x = "a-b-c"; n = split(x, p, "-"); print n, p[3]; gsub(/-/, "+", x); print x; print match("foobar", /o+/), RSTART, RLENGTH }'
awk 'BEGIN { while (("echo one; echo two" | getline line) > 0) print "got " line; print "to sort" | "sort"; close("sort"); exit 3 }'; echo $?
#: sed-basics
seq 10 > t; sed -n '2,4p' t; sed '5,$d' t; sed 's/1/X/g;s/0$/zero/' t; sed -n '$=' t; sed '/3/,/6/{s/^/> /}' t | head -7
#: sed-advanced
printf 'a\nb\nc\n' > t; sed 'N;s/\n/+/' t; sed -n 'H;${x;s/\n/,/g;p}' t; sed '1!G;h;$!d' t; sed -e '2i\' -e 'inserted' -e '2a\' -e 'appended' t; sed 's/\(.\)/[\1]/;y/abc/xyz/' t; sed -E 's/(a|b)+/<&>/' t; sed -i 's/b/B/' t; cat t
#: grep
printf 'apple\nBanana\ncherry\napricot\n' > t; grep ap t; grep -i b t; grep -v a t; grep -c a t; grep -n ch t; grep -E '^(a|c)' t; grep -o 'r[a-z]' t; grep -q none t; echo $?; grep -l apple t none; echo $?; grep -w apple t; grep -A1 Banana t
mkdir -p d/e; echo needle > d/e/f; grep -r needle d; grep -F 'a.p' t; echo $?
#: egrep-fgrep
printf 'a+b\naab\n' | egrep 'a+b'; printf 'a+b\naab\n' | fgrep 'a+b'
#: sort
printf 'b 2\na 10\nc 1\na 9\n' > t; sort t; sort -k2n t; sort -r t; sort -k1,1 -k2,2nr t; sort -u -k1,1 t; printf '3\n1\n2\n' | sort -n -o t2; cat t2; sort -c t2; echo $?; printf 'a:3\nb:1\n' | sort -t: -k2
#: uniq
printf 'a\na\nb\nc\nc\nc\n' > t; uniq t; uniq -c t; uniq -d t; uniq -u t; printf 'x 1\ny 1\nz 2\n' | uniq -f 1
#: tr
echo 'Hello World' | tr a-z A-Z; echo hello | tr -d l; echo aabbcc | tr -s a-c; echo abc | tr abc xyz; echo 'a1b2' | tr -cd 0-9; echo; echo tab | tr '[:lower:]' '[:upper:]'
#: cut
printf 'a:b:c\nd:e:f\n' > t; cut -d: -f2 t; cut -d: -f1,3 t; cut -c1-3 t; cut -d: -f2- t; cut -b2 t; cut -d, -f1 -s t
#: paste
printf '1\n2\n3\n' > a; printf 'x\ny\n' > b; paste a b; paste -d, a b; paste -s a
#: head-tail
seq 20 > t; head -n 3 t; tail -n 2 t; head -c 5 t; tail -c 4 t; tail -n +19 t; head -n -18 t; tail -n 1 t t2 2>&1
#: tail-follow
echo start > t; (sleep 1; echo appended >> t; sleep 1) & timeout 4 tail -f -s 1 t; echo $?
#: wc
printf 'one two\nthree\n' > t; wc t; wc -l < t; wc -w < t; wc -c < t; wc -L < t; printf 'no newline' | wc -l; wc t t
#: cat-options
printf 'a\tb\n\n\nc\001\n' > t; cat -n t; cat -A t; cat -b t; cat -v t; cat t - < t | wc -l; cat nothing; echo $?
#: tac-rev
seq 3 | tac; printf 'abc\ndef\n' | rev; printf 'no newline' | tac; echo
#: nl
printf 'a\n\nb\n' | nl; printf 'a\nb\n' | nl -s: -w2
#: fold-expand
echo 'a long line of words to be folded' | fold -w 10; echo 'a long line of words' | fold -s -w 8; printf 'a\tb\n' | expand; printf 'a\tb\n' | expand -t4; printf '        x\n' | unexpand | od -c
#: cmp-diff
seq 5 > a; sed 's/3/three/' a > b; cmp a b; echo $?; cmp -s a a; echo $?; diff a b; echo $?; diff -u a b | grep -v '^[-+][-+]'; diff -q a b; mkdir x y; cp a x/f; cp b y/f; echo only > x/o; diff -r x y | grep -v '^[-+][-+]'
#: patch
seq 5 > a; cp a b; sed 's/2/two/;s/4/four/' a > c; diff -u a c > p; patch b < p; cat b; patch -R b < p; cmp a b; echo $?; echo garbage | patch b; echo $?
#: ed
printf 'one\ntwo\n' > t; printf '1p\n$a\nthree\n.\n1d\nw\nq\n' | ed t; cat t
#: od-hexdump-xxd
printf 'Hello\000\377World' > t; od -c t; od -x t; od -An -tu1 t; hexdump -C t; hexdump t; xxd t; xxd -p t; printf '48656c6c6f' | xxd -r -p; echo; od -A d -t x4 -N 8 t
#: strings
printf 'abc\000longer string\001\002xy\000another one' > t; strings t; strings -n 10 t; busybox strings /bin/busybox | grep -c 'BusyBox v1'
#: base64-uuencode
echo 'some text to encode' > t; base64 t; base64 t | base64 -d; uuencode t name; uuencode t out | uudecode; cat out; uuencode -m t name | tail -2
#: checksums
printf 'checksum me' > t; md5sum t; sha1sum t; sha256sum t; sha512sum t; sha3sum t; crc32 t 2>/dev/null || cksum t; md5sum t > s; md5sum -c s; echo bad >> t; md5sum -c s; echo $?
#: seq-factor
seq 3; seq 2 5; seq 1 3 10; seq 5 -2 1; seq -w 8 11; seq -s, 4; factor 360 97 1000000007
#: bc
echo '2^64; 10/3; scale=5; 10/3; sqrt(2); (1+2)*3' | bc; echo 'define f(n) { if (n < 2) return 1; return n * f(n - 1); } f(25)' | bc; echo 'ibase=16; FF' | bc; echo 'for (i = 0; i < 3; i++) i' | bc
#: dc
echo '2 3 + p 10 * p 3 / p 5 k 2 v p' | dc; dc -e '1 2 3 f c 7 p'
#: expr
expr 1 + 2; expr 7 % 4; expr abc : 'a\(.\)'; expr length hello; expr substr hello 2 3; expr index hello l; expr 3 \> 2; expr 0; echo $?
#: dos2unix
printf 'a\r\nb\r\n' > t; dos2unix t; od -c t; unix2dos t; od -c t
#: shuf-tee
seq 100 | shuf | sort -n | md5sum; echo data | tee a b | tr a-z A-Z; cat a b; echo more | tee -a a > /dev/null; cat a
#: xargs
seq 6 | xargs -n 2 echo; printf 'a b\nc\n' | xargs echo; printf 'x\0y z\0' | xargs -0 -n1 echo; seq 3 | xargs -I{} echo 'item {}'; echo | xargs -r echo none; seq 3 | xargs sh -c 'exit 1'; echo $?; seq 3000 | xargs echo | wc -w
#: yes-sleep
yes | head -2; yes word | head -1; sleep 0; sleep 0.01; usleep 1000; echo $?
#: more-less
seq 5 > t; more t < /dev/null; less -F t < /dev/null | head -5
#: ascii-ts
ascii | head -3; echo x | ts +fixed 2>/dev/null; echo $?
#: getopt
getopt ab:c -a -b value rest; getopt -o x -l long: -- --long=1 -x arg
#: cal
cal 2 2024; cal -y 1999 | head -10; cal 9 1752
