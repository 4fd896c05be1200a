# Two nodes, two processors each: Debian's numactl, unmodified, and what the kernel shows of nodes.
#packages: numactl
#nodes: 2 cpus: 4
#distance: 0,1,30
#limit: 120
#: conformance
conformance numa/
#: hardware
numactl --hardware | grep -v -e size -e free
#: files
cd /sys/devices/system/node
for file in online possible has_cpu has_memory has_normal_memory has_generic_initiator; do echo "$file $(cat $file)"; done
for node in node0 node1; do echo "$(cat $node/cpulist) $(cat $node/cpumap) $(cat $node/distance)"; done
readlink node1/cpu2 ../cpu/cpu2/node1
awk '{ print $1, $2, $3 }' node1/meminfo | head -3; awk '{ print $1 }' node1/numastat
#: what-a-node-is-used-for
awk '/ (PageTables|SecPageTables|Slab):/ { print $1, $2, $3 }' /sys/devices/system/node/node[01]/meminfo
#: allowed
grep Mems_allowed /proc/self/status
#: show
numactl --show
#: membind
numactl --membind=1 numactl --show
#: interleave
numactl --interleave=all numactl --show
#: preferred
numactl --preferred=1 numactl --show
#: localalloc
numactl --localalloc numactl --show
#: cpunodebind
numactl --cpunodebind=1 numactl --show
numactl --cpunodebind=1 sh -c 'grep Cpus_allowed_list /proc/self/status'
#: wrong-nodes
numactl --membind=2 true
numactl --interleave=5 true
numactl --cpunodebind=2 true
#: memory-is-where-it-is-bound
# Private memory only: that of files is where whoever read them first wanted it.
for node in 0 1; do numactl --membind=$node awk '/heap|stack/ { for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]/) { split($i, part, "="); seen[part[1]] = 1 } } END { for (one in seen) print one }' /proc/self/numa_maps; done
#: memory-is-local
for node in 0 1; do numactl --cpunodebind=$node awk '/heap|stack/ { for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]/) { split($i, part, "="); seen[part[1]] = 1 } } END { for (one in seen) print one }' /proc/self/numa_maps; done
#: policies-in-the-list
numactl --membind=1 awk '{ print $2 }' /proc/self/numa_maps | sort -u
numactl --interleave=0,1 awk '{ print $2 }' /proc/self/numa_maps | sort -u
numactl --preferred=1 awk '{ print $2 }' /proc/self/numa_maps | sort -u
#: migratepages
numactl --membind=0 sleep 100 &
sleep 1
places() { awk '/heap|stack/ { for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]/) { split($i, part, "="); seen[part[1]] = 1 } } END { for (one in seen) print one }' /proc/$1/numa_maps; }
places $!
migratepages $! 0 1; echo $?
places $!
migratepages $! 1 0; echo $?
places $!
kill $!
#: numastat
numastat | awk '{ print $1, NF }'
numastat -p 1 | awk 'NR < 5 { print NF }'
#: out-of-memory-on-a-node
# Who wants more than the node has ends, not the larger one that is bound to the other node, nor the smaller ones beside.
hold() { numactl --membind=$1 dd if=/dev/zero of=/dev/null bs=$(($(awk '/MemTotal/ { print $4 }' /sys/devices/system/node/node$1/meminfo) * $2 / 100))K count=1000000 2>/dev/null & }
hold 0 45; others=$!
for share in 15 15 15 15; do hold 1 $share; others="$others $!"; done
sleep 2
hold 1 110; wait $!; echo $?
for other in $others; do kill $other; wait $other; echo $?; done
