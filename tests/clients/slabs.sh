# Debian's slabtop, unmodified.
#packages: procps
#limit: 30
#: slabtop
slabtop -o > slabs; echo $?; sed -n 7p slabs; wc -l < slabs | awk '{ print ($1 > 18) }'
awk 'NR > 7 && $8 ~ /^kmalloc-(128|256|512|1k|2k|4k)$/ && $1 >= $2 && $5 * $6 >= $1 { print $8, $4 }' slabs | sort
for order in a b c l v n o p s u; do slabtop -o -s $order | sed -n 7p | wc -w; done
#: slabinfo
stat -c '%A %U %G %s' /proc/slabinfo; su -s /bin/sh nobody -c 'cat /proc/slabinfo; echo $?; slabtop -o 2>&1 | head -2' 2>&1; echo x 2>&1 > /proc/slabinfo; sed -n '1,2p' /proc/slabinfo
