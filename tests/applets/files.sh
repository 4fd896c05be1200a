# Files, folders, permissions, links, devices.
#: touch-ls
touch a b; mkdir d; ls; ls -a; ls -1 d; ls -p; ls -F; ls -ld d | cut -c1-10; ls -l nothing; echo $?
touch -d '2020-02-03 04:05:06' a; ls -l --full-time a 2>/dev/null | awk '{ print $6, $7 }'; stat -c %Y a; touch -r a b; [ a -nt b ]; echo $?; touch -c none; ls none 2>/dev/null; echo $?
#: ls-sorting
touch -d '2020-01-03' a; touch -d '2020-01-01' b; touch -d '2020-01-02' c; ls -t; ls -tr; head -c 300 /dev/zero > a; head -c 100 /dev/zero > b; ls -S; ls -l a | awk '{ print $1, $2, $3, $4, $5 }'; ls -n a | awk '{ print $3, $4 }'
#: ls-recursive
mkdir -p d/e; touch d/f d/e/g; ls -R; ls -d d; ls -i d/f | awk '{ print NF }'; ls -x
#: cp
echo one > a; cp a b; cat b; mkdir -p d/e; echo two > d/e/f; cp -r d d2; cat d2/e/f; ln -s a l; cp l copied; cp -P l kept; ls -l copied kept | cut -c1; chmod 741 a; cp -p a p; stat -c %a p; cp a b d; ls d; cp nothing x; echo $?; cp d x; echo $?
cp -a d d3; ls -R d3
#: mv
echo 1 > a; mv a b; ls; mkdir d; mv b d; ls d; mv d e; ls e; echo 2 > x; echo 3 > y; mv x y; cat y; mv nothing z; echo $?; mkdir -p full/inside other; mv other full/inside; ls full/inside; mv full full/inside; echo $?
#: rm
touch a b c; rm a; ls; rm nothing; echo $?; rm -f nothing; echo $?; mkdir -p d/e/f; touch d/e/g; rm d; echo $?; rm -r d; ls; mkdir e; rmdir e; mkdir -p x/y; rmdir x; echo $?; rmdir -p x/y; ls
#: mkdir
mkdir a; mkdir a; echo $?; mkdir -p a/b/c a/b/c; echo $?; mkdir -m 700 m; stat -c %a m; mkdir n/o; echo $?; touch f; mkdir f/g; echo $?
#: links
echo content > a; ln a b; ls -l a | awk '{ print $2 }'; ln -s a s; cat s; readlink s; rm a; cat b; cat s; echo $?; ln -s loop loop; cat loop; echo $?; ln b b; echo $?; ln -sf b s; cat s; mkdir d; ln d e; echo $?; ln -s ../b d/up; cat d/up; link b hard; unlink hard; ls
#: readlink-realpath
mkdir -p d/e; ln -s d/e l; ln -s l m; readlink m; readlink -f m | sed "s|$PWD|HERE|"; realpath l/../x | sed "s|$PWD|HERE|"; readlink -f none/none; echo $?
#: chmod
touch f; for m in 644 755 4711 1777 u+x,g-r a=r o+w +x u=rwx,go=; do chmod $m f; stat -c '%a %A' f; done; chmod 9 f; echo $?; chmod 644 none; echo $?; mkdir -p d/e; chmod -R 700 d; stat -c %a d/e
#: chown-chgrp
touch f; chown 1:2 f; stat -c '%u %g' f; chown nobody f; stat -c '%U %u' f; chgrp 7 f; stat -c %g f; chmod 6755 f; chown 3 f; stat -c '%u %a' f; ln -s f l; chown -h 9 l; stat -c %u f l; chown nosuchuser f; echo $?
#: permissions-as-user
echo secret > f; chmod 600 f; mkdir d; chmod 700 d; touch d/x; chmod 755 .
su -s /bin/sh nobody -c 'cat f; echo $?; ls d; echo $?; cd d; echo $?; echo x > new; echo $?; rm f; echo $?; kill -0 1; echo $?; chmod 777 f; echo $?; [ -r f ]; echo $?'
#: su-nobody
chmod 755 .; su -s /bin/sh nobody -c 'id; touch x; echo $?' 2>&1
#: sticky-and-setgid
mkdir s; chmod 1777 s; touch s/f; chown 1000 s/f; su -s /bin/sh nobody -c 'rm -f s/f' 2>&1; echo $?; mkdir g; chown 0:55 g; chmod 2755 g; touch g/f; mkdir g/d; stat -c '%g %A' g/f g/d
#: stat
printf 12345 > f; stat -c '%n %s %F %a %h' f; mkdir d; stat -c '%F %a' d; ln -s f l; stat -c '%F %N' l; stat -L -c '%F %s' l; stat -c '%F %t %T' /dev/null /dev/zero; mkfifo p; stat -c %F p; stat none; echo $?
#: stat-filesystem
stat -f -c '%T' . | sed 's/UNKNOWN.*/tmpfs/'; stat -f -c '%S' .; df . | awk 'NR == 2 { print $6, NF }'
#: times
touch -d '2001-02-03 04:05:06' f; stat -c '%X %Y' f; cat f; echo x >> f; [ $(stat -c %Y f) -gt 1000000000 ]; echo $?; touch -t 202212312359.59 g; stat -c %y g | cut -c1-19; date -r g +%F
#: find
mkdir -p a/b c; touch a/x.c a/b/y.c c/z.h; ln -s a l; find . | sort; find . -name '*.c' | sort; find . -type d | sort; find . -type l; find a -maxdepth 1 | sort; find . -name '*.c' -exec echo found {} \; | sort; find . -type f -exec echo {} + | tr ' ' '\n' | sort; find . -empty | sort; find . -newer c/z.h -type f | wc -l; find . -name b -prune -o -type f -print | sort; find nothing; echo $?; find . -perm 644 | sort; find . -mindepth 1 -size 0 -type f
#: find-xargs
mkdir d; for i in 1 2 3; do echo $i > d/f$i; done; find d -type f -print0 | sort -z | xargs -0 cat; find d -type f | xargs rm; ls d | wc -l
#: du
mkdir d; head -c 10000 /dev/zero > d/a; head -c 5000 /dev/zero > d/b; du -s d; du -a d | sort -k2; du -h d | tail -1; dd if=/dev/zero of=s bs=1 count=1 seek=1M 2>/dev/null; ls -l s | awk '{ print $5 }'; du s
#: dd
seq 1000 > t; dd if=t bs=10 count=2 2>/dev/null; echo; dd if=t bs=1 skip=5 count=5 2>/dev/null; dd if=/dev/zero of=z bs=1k count=3 2>&1 | head -2; ls -l z | awk '{ print $5 }'; printf XX | dd of=z bs=1 seek=10 conv=notrunc 2>/dev/null; ls -l z | awk '{ print $5 }'; od -c z | head -2; dd if=none; echo $?; echo hello | dd conv=ucase 2>/dev/null; dd if=/dev/full count=0 2>/dev/null; echo $?; dd if=t bs=1k conv=sync 2>/dev/null | wc -c
#: truncate
truncate -s 100 f; stat -c %s f; truncate -s 10 f; stat -c %s f; truncate -s 1G f; stat -c '%s' f; tail -c 1 f | od -c; fallocate -l 8192 g; stat -c '%s %b' g
#: devices
echo gone > /dev/null; cat /dev/null | wc -c; head -c 4 /dev/zero | od -An -tx1; echo x > /dev/full; echo $?; head -c 16 /dev/urandom | wc -c; head -c 8 /dev/random | wc -c; ls -l /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty | awk '{ print $1, $5, $6, $NF }'
#: mknod
mknod n c 1 3; echo x > n; echo $?; cat n; mknod z c 1 5; head -c 3 z | od -An -tx1; mknod p p; ls -l n p | cut -c1; mknod bad c 240 77; cat bad; echo $?; mknod b b 8 0; ls -l b | awk '{ print $1, $5, $6 }'
#: mkfifo
mkfifo p; echo through > p & cat p; wait; (cat p; echo reader done) & (echo 1; sleep 0.1; echo 2) > p; wait; [ -p p ]; echo $?; timeout 1 cat p; echo $?
#: mktemp
f=$(mktemp); [ -f $f ]; echo $?; stat -c %a $f; rm $f; d=$(mktemp -d ./x.XXXXXX); [ -d $d ]; echo $? ${#d}; mktemp -u nodots; echo $?
#: pwd-cd
mkdir -p a/b; cd a/b; pwd | sed 's|.*/a/b|a/b|'; cd ..; cd - > /dev/null; cd /; pwd; cd /nonexistent; echo $?; cd /etc/passwd; echo $?; cd; pwd
#: deleted-cwd
mkdir gone; cd gone; rmdir ../gone; ls; touch x; echo $?; cd ..; ls -d gone; echo $?
#: unlinked-open-file
echo data > f; exec 3< f; rm f; cat <&3; ls f; exec 3<&-
#: rename-over-open
echo old > a; echo new > b; exec 3< a; mv b a; cat <&3; cat a; exec 3<&-
#: sync-and-fsync
echo x > f; sync; echo $?; dd if=f of=g conv=fsync 2>/dev/null; cat g; fsync f 2>/dev/null; fsfreeze --help 2>&1 | head -1 | wc -l
#: split-install
seq 10 > t; mkdir -p inst; install -m 640 t inst/copied 2>/dev/null || { cp t inst/copied; chmod 640 inst/copied; }; stat -c %a inst/copied; basename /a/b/c.txt .txt; dirname /a/b/c.txt; basename /; dirname file
#: shred-and-wipe
echo secret > f; shred -u f 2>/dev/null; ls f; echo $?
#: run-parts
mkdir d; printf '#!/bin/sh\necho part one\n' > d/one; printf '#!/bin/sh\necho part two\n' > d/two; chmod +x d/one; run-parts d; run-parts --test d
#: long-names
n=$(head -c 255 /dev/zero | tr '\0' a); touch $n; ls | wc -c; touch ${n}a; echo $? | sed 's/.*/status &/'; p=.; i=0; while [ $i -lt 60 ]; do mkdir $p/d; p=$p/d; i=$((i + 1)); done; find . -name d | wc -l; rm -r d; ls | wc -l
#: many-files
i=0; mkdir m; while [ $i -lt 500 ]; do : > m/f$i; i=$((i + 1)); done; ls m | wc -l; ls m | sort | md5sum; rm -r m; ls
#: big-file
dd if=/dev/zero of=big bs=64k count=160 2>/dev/null; ls -l big | awk '{ print $5 }'; md5sum < big; echo end >> big; tail -c 4 big
#: trailing-slashes
touch f; mkdir d; ls f/; echo $?; cat d; echo $?; touch d/; echo $?; touch none/; echo $?; rm d/; echo $?; rmdir d/; echo $?; ln -s d dl; mkdir d; ls -d dl/; echo x > ''; echo $?
#: xattr-like-cp
echo x > f; chmod 4755 f; cp f g; stat -c %a g; cp -a f h; stat -c %a h; tar cf - f | tar xf - -O
