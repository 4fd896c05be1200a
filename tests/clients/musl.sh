# Programs with musl's C library and its threads: compiled on the machine itself, by tcc, once static and once with musl as the dynamic linker. On 64-bit Arm tcc cannot link a static one.
#packages: tcc,musl,dash
#alone: musl-dev
#shell: /usr/bin/dash
#limit: 60
#: static
machine=$(uname -m); library=/usr/lib/$machine-linux-musl; tcc="tcc -nostdlib -nostdinc -I/usr/include/$machine-linux-musl"
$tcc -static -o threads $library/crt1.o $library/crti.o /files/threads.c $library/libc.a $library/crtn.o $(ls /usr/lib/*/tcc/libtcc1.a | head -1); echo $?; ./threads; echo $?
#: dynamic
machine=$(uname -m); library=/usr/lib/$machine-linux-musl; tcc="tcc -nostdlib -nostdinc -I/usr/include/$machine-linux-musl"
$tcc -o threads $library/crt1.o $library/crti.o /files/threads.c /lib/$machine-linux-musl/libc.so $library/crtn.o $(ls /usr/lib/*/tcc/libtcc1.a | head -1); echo $?
/lib/ld-musl-$machine.so.1 ./threads; echo $?
