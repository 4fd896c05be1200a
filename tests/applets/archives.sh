# Archives and compression.
#: tar
mkdir -p d/e; echo one > d/f; echo two > d/e/g; ln -s f d/l; ln d/f d/h; chmod 640 d/e/g; tar cf a.tar d; tar tf a.tar | sort; mkdir x; tar xf a.tar -C x; cat x/d/e/g; readlink x/d/l; stat -c '%a' x/d/e/g; stat -c %h x/d/f; tar tvf a.tar d/e/g | awk '{ print $1, $3 }'; tar xOf a.tar d/f; tar tf none.tar; echo $?
#: tar-compressed
mkdir d; seq 100 > d/n; tar czf a.tgz d; tar tzf a.tgz | sort; tar cjf a.tbz d; tar xjOf a.tbz d/n | md5sum; gunzip -c a.tgz | tar tf - | wc -l; tar cf - d | gzip | gunzip | tar xf - -O | md5sum;
#: gzip
seq 5000 > t; md5sum < t; gzip t; ls; zcat t.gz | md5sum; gunzip t.gz; md5sum < t; gzip -9 -c t | gzip -d | cmp - t; echo $?; echo garbage > b.gz; gunzip b.gz; echo $?; gzip -t b.gz; echo $?
#: bzip2
seq 3000 > t; bzip2 t; ls; bzcat t.bz2 | md5sum; bunzip2 t.bz2; md5sum < t; echo garbage | bunzip2; echo $?
#: xz-decompress
printf '\375\067\172\130\132\000\000\004\346\326\264\106' > bad.xz; xzcat bad.xz; echo $?; echo x | unxz; echo $?
#: lzop-lzma
seq 2000 > t; lzop t && ls t.lzo && lzop -d -c t.lzo | md5sum; echo x | unlzma; echo $?
#: cpio
mkdir d; echo one > d/a; ln -s a d/s; find d | sort | cpio -o -H newc > c.cpio 2>/dev/null; cpio -t < c.cpio 2>/dev/null | sort; mkdir x; cd x; cpio -idm < ../c.cpio 2>/dev/null; cat d/a; readlink d/s
#: ar
echo one > a; echo two > b; ar -t lib.a; printf '!<arch>\na/              0           0     0     644     4         `\none\n' > lib.a; ar t lib.a; ar p lib.a a
#: unzip
printf 'PK\005\006\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000' > empty.zip; unzip -l empty.zip; echo $?; unzip none.zip; echo $?
#: uncompress
echo x | uncompress; echo $?
#: rpm2cpio-dpkg
echo x > bad.rpm; rpm2cpio bad.rpm; echo $?; dpkg-deb -c bad.rpm; echo $?
#: large-archive
mkdir d; i=0; while [ $i -lt 100 ]; do seq $i > d/$i; i=$((i + 1)); done; tar cf - d | gzip -1 > a.tgz; rm -r d; tar xzf a.tgz; cat d/* | md5sum; ls d | wc -l
#: split-by-dd
head -c 100000 /dev/zero | tr '\0' 'q' > t; for i in 0 1 2 3; do dd if=t of=p$i bs=25000 skip=$i count=1 2>/dev/null; done; cat p0 p1 p2 p3 | cmp - t; echo $?
