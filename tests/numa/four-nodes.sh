# Four nodes at different distances; three processors, so that node 3 has none.
#packages: numactl
#nodes: 4 cpus: 3
#distance: 0,1,15
#distance: 2,3,12
#distance: 1,2,40
#limit: 120
#: conformance
conformance numa/
#: hardware
numactl --hardware | grep -v -e size -e free
#: files
cd /sys/devices/system/node
for file in online possible has_cpu has_memory has_normal_memory; do echo "$file $(cat $file)"; done
for node in node0 node1 node2 node3; do echo "$(cat $node/cpulist) $(cat $node/cpumap) $(cat $node/distance)"; done
#: show
numactl --interleave=1-3 numactl --show
numactl --membind=2,3 numactl --show
numactl --membind=!1 numactl --show
numactl --interleave=+0 numactl --show
#: memory-is-where-it-is-bound
for node in 0 1 2 3; do numactl --membind=$node awk '/heap|stack/ { for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]/) { split($i, part, "="); seen[part[1]] = 1 } } END { for (one in seen) print one }' /proc/self/numa_maps; done
#: the-nearest-of-those-allowed
# From processor 0, of 1 and 3: 1; from processor 2, of 0 and 3: 3.
near() { taskset $1 numactl --membind=$2 awk '/heap|stack/ { for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]/) { split($i, part, "="); seen[part[1]] = 1 } } END { for (one in seen) print one }' /proc/self/numa_maps; }
near 1 1,3
near 4 0,3
